"""What does a caller see of a turn, over HTTP?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from agent_stage import KeptLog, documented_failures, hardened_failures, settings
from fastapi import FastAPI

from reference_agent.caller import Hints
from reference_agent.duty import Duty
from reference_agent.errors import BlockedOnLoop, Refused
from reference_agent.parts.audio import Speech
from reference_agent.parts.handler import DocumentedHandler, HardenedHandler, ProposedHandler
from reference_agent.server_sent import STILL_THERE
from reference_agent.turn import Answer
from reference_agent.wire import run_without_loop


class PlayedTurn:
    def __init__(self, play: Callable[[object, object], Any]) -> None:
        self._play = play

    async def answer(self, user_id: object, message: object, hints: Hints = Hints()) -> Answer:  # noqa: B008
        answer = self._play(user_id, message)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def write(self, user_id: object, message: object, hints: Hints, reader: Any) -> str:
        return (await self.answer(user_id, message, hints)).reply


def _says(user_id: object, message: object) -> Answer:
    return Answer(f"「{message}」にゃん", Speech(iter([b"RIFF", b"..."])))


async def _asynchronous() -> AsyncIterator[bytes]:
    yield b"RIFF"
    yield b"..."


def _client(handler: Callable[..., Any], play: Callable[[object, object], Any]) -> httpx2.AsyncClient:
    app = FastAPI()
    if handler is DocumentedHandler:
        DocumentedHandler(PlayedTurn(play), documented_failures()).install(app)  # type: ignore[arg-type]
    else:
        turn: Any = PlayedTurn(play)
        HardenedHandler(settings(), turn, hardened_failures(KeptLog()), Duty(settings())).install(app)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://agent")


_BOTH = pytest.mark.parametrize("handler", [DocumentedHandler, HardenedHandler])


@_BOTH
async def test_the_contract(handler: Callable[..., Any]) -> None:
    async with _client(handler, _says) as client:
        response = await client.post("/chat-agent", json={"user_id": "u", "message": "안녕😀 #%&"})
        assert (response.status_code, response.headers["content-type"], response.content) == (
            200,
            "audio/wav",
            b"RIFF...",
        )
        assert unquote(response.headers["X-GPT-Reply"]) == "「안녕😀 #%&」にゃん"


async def test_documented_one_ends_in_a_plain_500() -> None:
    def fail(*_: object) -> Answer:
        raise ConnectionError

    async with _client(DocumentedHandler, fail) as client:
        response = await client.post("/chat-agent", json={"user_id": "u", "message": "hi"})
    assert (response.status_code, response.text) == (500, "Internal Server Error")


async def test_hardened_one_streams_and_does_without_speech() -> None:
    async with _client(HardenedHandler, lambda *_: Answer("にゃん", Speech(_asynchronous()))) as client:
        assert (await client.post("/chat-agent", json={"user_id": "u", "message": "hi"})).content == b"RIFF..."
    async with _client(HardenedHandler, lambda *_: Answer("にゃん", None)) as client:
        response = await client.post("/chat-agent", json={"user_id": "u", "message": "hi"})
    assert response.status_code == 200
    assert response.json() == {"reply": "にゃん", "audio": None}
    assert unquote(response.headers["X-GPT-Reply"]) == "にゃん"


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 422), (b'"\xff"', 400), (b" " * 70_000, 413), (b"[" * 60_000, 400)]
    + [
        (json.dumps({"user_id": "u", "message": "hi"}).encode(other), 400)
        for other in ("utf-16", "utf-16-le", "utf-32")
    ],
)
async def test_hardened_one_refuses_what_is_no_request(body: bytes, status: int) -> None:
    async with _client(HardenedHandler, _says) as client:
        response = await client.post("/chat-agent", content=body)
    assert response.status_code == status
    assert response.json()["error"]["code"]


async def test_a_byte_order_mark_of_utf_8_does_no_harm() -> None:
    async with _client(HardenedHandler, _says) as client:
        body = json.dumps({"user_id": "u", "message": "hi"}).encode("utf-8-sig")
        assert (await client.post("/chat-agent", content=body)).status_code == 200


async def test_hardened_one_passes_refusals_on() -> None:
    def refuse(*_: object) -> Answer:
        raise Refused(429, "busy", 3.0)

    async with _client(HardenedHandler, refuse) as client:
        response = await client.post("/chat-agent", json={"user_id": "u", "message": "hi"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")


async def test_who_is_refused_a_stream_costs_no_task() -> None:
    tasks: list[int] = []

    def refuse(*_: object) -> Answer:
        tasks.append(len(asyncio.all_tasks()))
        raise Refused(429, "busy", 3.0)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        tasks.append(len(asyncio.all_tasks()))
        sent.append(message)

    await _serve(_hardened(refuse), "/chat-agent/stream", send)
    assert [one.get("status") for one in sent] == [429, None]
    assert set(tasks) == {len(asyncio.all_tasks())}


async def test_a_stream_says_that_it_is_there_and_ends_with_what_went_wrong() -> None:
    may_end = asyncio.Event()

    async def fail_in_the_end() -> Answer:
        await may_end.wait()
        raise Refused(503, "shutting_down", 1.0)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))
        if message.get("body") == STILL_THERE:
            may_end.set()

    await asyncio.wait_for(
        _serve(_hardened(lambda *_: fail_in_the_end(), heartbeat_s=0.001), "/chat-agent/stream", send), 5
    )
    assert sent[0]["status"] == 200
    assert sent[-1]["body"].startswith(b"event: error")
    assert json.loads(sent[-1]["body"].partition(b"data: ")[2])["error"]["code"] == "shutting_down"
    assert not sent[-1]["more_body"]


async def test_what_was_told_is_on_the_stream_although_its_turn_never_waited() -> None:
    class Reads(PlayedTurn):
        async def write(self, user_id: object, message: object, hints: Hints, reader: Any) -> str:
            await reader.reads("にゃ")
            await reader.reads("ん")
            return "にゃん"

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    app = FastAPI()
    turn: Any = Reads(_says)
    HardenedHandler(settings(), turn, hardened_failures(KeptLog()), Duty(settings())).install(app)
    await _serve(app, "/chat-agent/stream", send)
    body = b"".join(one.get("body", b"") for one in sent).decode()
    assert [line.partition(": ")[2] for line in body.splitlines() if line.startswith("event")] == [
        "delta",
        "delta",
        "done",
    ]


def _hardened(play: Callable[[object, object], Any], **given: Any) -> FastAPI:
    app = FastAPI()
    turn: Any = PlayedTurn(play)
    HardenedHandler(settings(**given), turn, hardened_failures(KeptLog()), Duty(settings())).install(app)
    return app


async def _serve(app: FastAPI, path: str, send: Callable[[Any], Any]) -> None:
    """Play one request of somebody who stays, in this very task."""
    body = json.dumps({"user_id": "u", "message": "hi"}).encode()
    arriving = [{"type": "http.request", "body": body}]

    async def receive() -> Any:
        if not arriving:
            await asyncio.Event().wait()
        return arriving.pop()

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "http_version": "1.1"}
    scope |= {
        "headers": [(b"content-type", b"application/json")],
        "raw_path": path.encode(),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)


_BUSY_JA = "いまとても混んでいるにゃん。すこし後で話しかけてにゃん"
_BUSY_KO = "지금 너무 바빠요にゃん. 조금 뒤에 다시 말해 줘요にゃん"
_BUSY_EN = "I am very busyにゃん. Try again soonにゃん"


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        ({"message": "こんにちは"}, {}, _BUSY_JA),
        ({"message": "안녕하세요"}, {}, _BUSY_KO),
        ({"message": "hello there"}, {}, _BUSY_EN),
        ({"message": "123"}, {}, _BUSY_JA),
        ({"message": "こんにちは"}, {"Accept-Language": "ko-KR,ko;q=0.9"}, _BUSY_JA),
        ({"message": "hello there"}, {"Accept-Language": "ko-KR,ko;q=0.9"}, _BUSY_KO),
        (
            {"message": "hi", "profile": {"language": "ko"}},
            {"Accept-Language": "en"},
            _BUSY_KO,
        ),
        ({"message": "hi", "language": "tlh"}, {}, _BUSY_EN),
        ({"message": None}, {"Accept-Language": "en"}, _BUSY_EN),
    ],
)
@pytest.mark.parametrize("path", ["/chat-agent", "/chat-agent/stream"])
async def test_a_refusal_is_in_the_callers_language(
    body: dict[str, Any], headers: dict[str, str], words: str, path: str
) -> None:
    def refuse(*_: object) -> Answer:
        raise Refused(429, "busy", 3.0)

    async with _client(HardenedHandler, refuse) as client:
        response = await client.post(path, json={"user_id": "u", **body}, headers=headers)
    assert response.json()["error"] == {"code": "busy", "message": words, "retry_after_s": 3.0}


async def test_what_is_wrong_before_anything_was_read_is_in_the_language_of_the_header() -> None:
    def fail(*_: object) -> Answer:
        raise ZeroDivisionError

    async with _client(HardenedHandler, fail) as client:
        response = await client.post("/chat-agent", json={"user_id": "u"}, headers={"Accept-Language": "ko"})
        assert response.json()["error"]["message"].startswith("뭔가 이상해요")
        plain = await client.post("/chat-agent", content=b"{", headers={"Accept-Language": "ko"})
    assert plain.json()["error"]["message"] == "The request is not JSON in UTF-8.", "that is for who wrote the program"


async def test_hardened_one_ends_the_turn_when_the_caller_hangs_up() -> None:
    ended = asyncio.Event()

    async def hang() -> Answer:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    app = FastAPI()
    turn: Any = PlayedTurn(lambda *_: hang())
    HardenedHandler(settings(), turn, hardened_failures(KeptLog()), Duty(settings())).install(app)
    body = json.dumps({"user_id": "u", "message": "hi"}).encode()
    messages: list[dict[str, Any]] = [{"type": "http.request", "body": body}, {"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/chat-agent",
        "raw_path": b"/chat-agent",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("agent", 80),
        "client": ("127.0.0.1", 1),
    }
    await app(scope, receive, send)
    assert ended.is_set()


def test_a_turn_without_a_loop_says_so_when_it_needs_one() -> None:
    class Pause:
        def __await__(self) -> Iterator[None]:
            yield

    async def waits() -> None:
        await Pause()

    async def does_not() -> str:
        return "done"

    assert run_without_loop(does_not()) == "done"
    with pytest.raises(BlockedOnLoop):
        run_without_loop(waits())


async def test_proposed_one_plays_on_for_a_caller_who_has_left() -> None:
    """The hole: whoever hangs up changes nothing; the turn goes on, and costs."""
    begun, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow() -> Answer:
        begun.set()
        await may_end.wait()
        ended.set()
        return _says("u", "m")

    app = FastAPI()
    turn: Any = PlayedTurn(lambda *_: slow())
    ProposedHandler(turn, documented_failures()).install(app)
    body = json.dumps({"user_id": "u", "message": "m"}).encode()
    arriving = iter([{"type": "http.request", "body": body}])
    scope = {"type": "http", "method": "POST", "path": "/chat-agent", "query_string": b"", "http_version": "1.1"}
    scope |= {"headers": [(b"content-type", b"application/json")], "raw_path": b"/chat-agent"}

    async def receive() -> Any:
        return next(arriving, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        pass

    served = asyncio.create_task(app(scope, receive, send))
    await begun.wait()
    await asyncio.sleep(0)
    assert not served.done()
    may_end.set()
    await asyncio.wait_for(ended.wait(), 5)
    await asyncio.wait_for(served, 5)
