"""Is what the page about the API says of talking, jobs, erasure and health true? Every status, reached for real."""

from __future__ import annotations

import asyncio
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
from reference_agent.job_store import Accepted, Job, KeyTaken, NoRoom, box_of
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

    def __init__(self, **given: Any) -> None:
        quick = {"profile": "hardened", "engine": "chat", "session_store": "memory", "body_s": 0.01}
        composition = Composition(settings(**quick | given), {})
        self.turns = Turns()
        composition._built["turn"] = self.turns
        composition.get("erasure").erase = self.turns.erase
        composition.get("health")._model_has_answered = True  # once, as it does before anybody is sent here
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


async def _half_sent() -> AsyncIterator[bytes]:
    yield b"{"
    await asyncio.Event().wait()


_SENT: dict[int, dict[str, Any]] = {
    200: {"json": _SAID},
    400: {"content": b"{"},
    413: {"content": b" " * 70_000},
}


def _sent(status: int) -> dict[str, Any]:
    """Return what is sent to be answered with that status."""
    return {"content": _half_sent()} if status == 408 else _SENT.get(status, {"json": _SAID})


async def _reach(page: Page, method: str, path: str, status: int) -> httpx2.Response:
    """Return an answer with that status."""
    page.turns.failure = _RAISED.get(status)
    if path == "/users/{user_id}":
        page.turns.left = ["conversation"] if status == 202 else []
        return await page.ask(method, "/users/tama")
    if path == "/status":
        page.duty.is_leaving = status == 503
        return await page.ask(method, path)
    return await page.ask(method, path, **({} if method == "GET" else _sent(status)))


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


class Queue:
    """A queue with one job, which is done, or whatever a status takes."""

    def __init__(self, status: int = 200) -> None:
        self.status = status

    async def accept(self, *_: Any, **__: Any) -> Accepted | NoRoom | KeyTaken:
        refused: dict[int, NoRoom | KeyTaken] = {422: KeyTaken(), 429: NoRoom(of_user=False, oldest_s=1.0)}
        return refused.get(self.status) or Accepted("j1", is_new=True, knock=False)

    async def job(self, id_: str, user_id: str) -> Job | None:
        if self.status == 503:
            raise Unavailable("jobs", "down", never_arrived=True)
        if self.status == 500:
            raise KeyError(id_)
        state: Any = "waiting" if self.status == 202 else "done"
        job = Job(id_, box_of(user_id), user_id, state, 0.0, 1, reply="いまは正午だにゃん", media_type="audio/wav")
        return None if self.status == 404 else job

    async def audio(self, id_: str) -> bytes:
        return b"RIFF"

    async def close(self) -> None:
        pass


async def test_every_status_of_jobs_is_reached_and_looks_like_its_example() -> None:
    page = Page(redis_url="redis://127.0.0.1:9/0")
    jobs, queue = page.composition.get("jobs"), Queue()
    await jobs._store.close()
    jobs._store = page.composition._built["job_store"] = queue
    paths = page.app.openapi()["paths"]
    mine = {path: page_of for path, page_of in paths.items() if path.startswith("/jobs")}
    assert len(mine) == 4
    for path, page_of in mine.items():
        for method, operation in page_of.items():
            assert operation["description"]
            for status, documented in operation["responses"].items():
                queue.status = int(status)
                jobs._streams = 500 if status == "429" else 0
                whose = {} if status == "422" else {"user_id": "tama"}
                sent = {"params": whose} if method == "get" else _sent(int(status))
                answer = await page.ask(method.upper(), path.format(job_id="j1"), **sent)
                assert answer.status_code == int(status), (path, answer.text)
                _looks_like(answer, documented)
                assert status == "200" or "example" in json.dumps(documented), (path, status)
    assert {"202", "400", "408", "413", "422", "429", "500", "503"} == set(mine["/jobs"]["post"]["responses"])
    of_events = mine["/jobs/{job_id}/events"]["get"]["responses"]
    assert {"200", "404", "422", "429", "500", "503"} == set(of_events)
    await page.composition.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/nowhere", 404, "no_such_path"), ("GET", "/chat-agent", 405, "method_not_allowed")],
)
async def test_what_the_framework_refuses_looks_like_all_else(method: str, path: str, status: int, code: str) -> None:
    page = Page()
    answer = await page.ask(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers.get("Allow") == ("POST" if status == 405 else None)
    await page.composition.close()


@pytest.mark.parametrize("path", ["/health", "/status"])
async def test_a_balancer_may_ask_by_head(path: str) -> None:
    page = Page()
    assert (await page.ask("HEAD", path)).status_code == 200
    assert "head" not in page.app.openapi()["paths"][path]
    await page.composition.close()


async def test_a_body_that_does_not_come_is_not_waited_for_and_its_connection_ends() -> None:
    page = Page()
    for path in ("/chat-agent", "/chat-agent/stream"):
        answer = await page.ask("POST", path, content=_half_sent())
        assert (answer.status_code, answer.json()["error"]["code"]) == (408, "body_too_slow")
        assert answer.headers["Connection"] == "close"
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
    assert set(map(int, responses)) == {200, 408, *_SENT, *_RAISED}
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
