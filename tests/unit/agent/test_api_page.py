"""Is what the page about the API says of talking, reading, erasure and health true? Every status, reached for real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from agent_stage import settings
from fastapi import FastAPI

from reference_agent.app import create_app
from reference_agent.caller import Hints
from reference_agent.compose import Composition
from reference_agent.errors import HandledFailure, OutOfTime, Refused, Unavailable
from reference_agent.parts.audio import Speech
from reference_agent.turn import Answer

_SAID = {"user_id": "tama", "message": "やあ"}


class Turns:
    """Turns that end the way a test says."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.left: list[str] = []

    async def answer(self, user_id: object, message: object, hints: Hints) -> Answer:
        self._end(user_id)
        return Answer("やあにゃん", Speech(_wav()))

    async def write(self, user_id: object, message: object, hints: Hints, reader: Any) -> str:
        self._end(user_id)
        await reader.reads("やあにゃん")
        return "やあにゃん"

    async def erase(self, user_id: str) -> list[str]:
        self._end(user_id)
        return self.left

    def _end(self, user_id: object) -> None:
        if self.failure is not None:
            raise self.failure


async def _wav() -> AsyncIterator[bytes]:
    yield b"RIFF"


class Page:
    """The hardened agent, with turns that end the way a test says."""

    def __init__(self) -> None:
        composition = Composition(settings(profile="hardened", engine="chat", session_store="memory"), {})
        self.turns = Turns()
        composition._built["turn"] = self.turns
        composition.get("erasure").erase = self.turns.erase
        self.duty = composition.get("duty")
        self.app: FastAPI = create_app(composition)
        self.composition = composition

    async def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
            return await client.request(method, path, **options)


_RAISED: dict[int, Exception] = {
    422: Refused(422, "user_id_missing", plainly="user_id must be a text that is not empty."),
    429: Refused(429, "rate_limited", 1.0),
    500: KeyError("a mistake of ours"),
    502: HandledFailure("failed"),
    503: Unavailable("openai", "down", never_arrived=True),
    504: OutOfTime("the model"),
}
_SENT: dict[int, dict[str, Any]] = {
    200: {"json": _SAID},
    400: {"content": b"{"},
    413: {"content": b" " * 70_000},
}


async def _reach(page: Page, method: str, path: str, status: int) -> httpx2.Response:
    """Return an answer with that status."""
    page.turns.failure = _RAISED.get(status)
    if path == "/users/{user_id}":
        page.turns.left = ["conversation"] if status == 202 else []
        return await page.ask(method, "/users/tama")
    if path == "/status":
        page.duty.is_leaving = status == 503
        return await page.ask(method, path)
    return await page.ask(method, path, **({} if method == "GET" else _SENT.get(status, {"json": _SAID})))


_MINE = ("/chat-agent", "/chat-agent/stream", "/users/{user_id}", "/status", "/health", "/metrics")


@pytest.mark.parametrize("path", _MINE)
async def test_every_status_is_reached_and_looks_like_its_example(path: str) -> None:
    page = Page()
    for method, operation in page.app.openapi()["paths"][path].items():
        assert operation["responses"]
        for status, documented in operation["responses"].items():
            answer = await _reach(page, method.upper(), path, int(status))
            assert answer.status_code == int(status), answer.text
            _looks_like(answer, documented)
    await page.composition.close()


def _looks_like(answer: httpx2.Response, documented: dict[str, Any]) -> None:
    media_type = answer.headers["content-type"].partition(";")[0]
    if "content" in documented:
        assert media_type in documented["content"]
        example = documented["content"][media_type].get("example")
        if media_type == "application/json" and example is not None:
            assert _shape(answer.json()) == _shape(example)
            said, documented_error = answer.json().get("error"), example.get("error")
            if said is not None and said["code"] == documented_error["code"]:
                assert said == documented_error, "to the letter"
        elif media_type == "text/event-stream":
            told = [line for line in answer.text.splitlines() if line.startswith("event:")]
            assert set(told) <= {line for line in example.splitlines() if line.startswith("event:")}
    for header in documented.get("headers", {}):
        assert header in answer.headers


def _shape(document: Any) -> Any:
    if isinstance(document, dict):
        return {name: None if name in ("upstreams", "versions") else _shape(value) for name, value in document.items()}
    return type(document)


@pytest.mark.parametrize("path", ["/chat-agent", "/chat-agent/stream"])
def test_every_answer_to_what_is_said_is_on_the_page_with_an_example(path: str) -> None:
    responses = Page().app.openapi()["paths"][path]["post"]["responses"]
    assert set(map(int, responses)) == {200, *_SENT, *_RAISED}
    for status, answer in responses.items():
        assert "example" in json.dumps(answer), status


async def test_the_page_itself_is_served() -> None:
    page = Page()
    assert (await page.ask("GET", "/docs")).status_code == 200
    assert (await page.ask("GET", "/openapi.json")).json()["info"]["title"]
    await page.composition.close()


@pytest.mark.parametrize("path", ["/chat-agent", "/chat-agent/stream"])
async def test_who_goes_straight_to_an_endpoint_finds_what_the_framework_would_show(path: str) -> None:
    page = Page()
    assert (await page.ask("GET", path)).status_code == 405
    assert (await page.ask("POST", f"{path}/", json=_SAID)).status_code == 307
    assert (await page.ask("POST", f"{path}?a=b", json=_SAID)).status_code == 200
    await page.composition.close()
