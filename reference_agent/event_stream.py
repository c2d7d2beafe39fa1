"""How is a turn told while it is played? Server-sent events: what the reply goes on with, which tools it waits for,
and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reference_agent.duty import Duty
from reference_agent.parts.failures import Failures
from reference_agent.presence import Presence, when_it_waits
from reference_agent.reading import Reader
from reference_agent.server_sent import MEDIA_TYPE, STILL_THERE, STREAM_HEADERS, event

_HEADERS = [
    *((name.lower().encode(), value.encode()) for name, value in STREAM_HEADERS.items()),
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
]


class EventStream(Response):
    """Plays a turn, and tells it as it goes, and how it ended: `done` with the whole `reply`, or `error` as plain.

    What fails before there is anything to tell is answered as it is for a plain turn; while there is nothing, a comment
    keeps the line open. A reader who leaves ends the turn. It is played in its request's own task, as every turn is, so
    that whoever is refused costs no other one (a third of what a refusal took).

    Args:
        play: plays it for a reader, and returns the reply.
        duty: of the process.
        failures: how they are answered.
        heartbeat_s: seconds between signs of life.
    """

    def __init__(
        self, play: Callable[[Reader], Coroutine[Any, Any, str]], duty: Duty, failures: Failures, heartbeat_s: float
    ) -> None:
        self._play = play
        self._duty = duty
        self._failures = failures
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        told = _Told(send, self._heartbeat_s)
        try:
            try:
                presence = Presence(self._duty, receive)
                reply = await when_it_waits(presence, when_it_waits(told, self._play(told)))
            except Exception as failure:
                answer = self._failures.answer(failure)
                if answer is None:
                    raise
                if not told.anything:
                    await answer(scope, receive, send)
                    return
                if isinstance(failure, ClientDisconnect):
                    return
                end = event("error", {"status": answer.status_code, **json.loads(bytes(answer.body))})
            else:
                end = event("done", {"reply": reply})
            await told.end(end)
        finally:
            told.give_up()


class _Told:
    """What there is to tell of a turn, in order; it is the turn's reader.

    As a context it tells it while the turn is played. It is entered when the turn first waits: before, there is nobody
    who could.
    """

    def __init__(self, send: Send, heartbeat_s: float) -> None:
        self.anything = False
        """Whether anything has been told, or is to be."""
        self._send = send
        self._heartbeat_s = heartbeat_s
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._has_begun = False
        self._is_over = False
        self._telling: asyncio.Task[None] | None = None

    async def reads(self, piece: str) -> None:
        """`delta`: the reply goes on with `text`."""
        self._add("delta", {"text": piece})

    async def begins_again(self) -> None:
        """`restart`: what `delta` has told so far does not count any more."""
        self._add("restart", {})

    async def waits_for(self, tool: str) -> None:
        """`tool`: `name` is asked."""
        self._add("tool", {"name": tool})

    def __enter__(self) -> None:
        self._telling = asyncio.create_task(self._tell_all())

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._news.set()

    async def end(self, last: bytes) -> None:
        """Tell what has not been told yet, and this."""
        if self._telling is not None:
            await self._telling
        await self._tell(self._take() + last, more=False)

    def give_up(self) -> None:
        """Tell nothing any more."""
        if self._telling is not None:
            self._telling.cancel()

    def _add(self, name: str, data: dict[str, Any]) -> None:
        self.anything = True
        self._waiting.append(event(name, data))
        self._news.set()

    async def _tell_all(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat_s):
                    await self._news.wait()
            if self._is_over:
                return
            self.anything = True
            self._news.clear()
            await self._tell(self._take() or STILL_THERE, more=True)

    def _take(self) -> bytes:
        taken = b"".join(self._waiting)
        self._waiting.clear()
        return taken

    async def _tell(self, told: bytes, *, more: bool) -> None:
        if not self._has_begun:
            self._has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send({"type": "http.response.body", "body": told, "more_body": more})
