"""How is a turn told while it is played? Server-sent events: what the reply goes on with, which tools it waits for,
and how it ended."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reference_agent.duty import left_alone
from reference_agent.parts.failures import Failures
from reference_agent.presence import hung_up
from reference_agent.server_sent import MEDIA_TYPE, STILL_THERE, STREAM_HEADERS, event

T = TypeVar("T")


def result_of(turn: asyncio.Task[T]) -> T:
    """Return what a turn came to, or raise what it raised.

    Raises:
        Refused: it was cancelled because the process is about to end.
    """
    if turn.cancelled():
        raise left_alone()
    return turn.result()


class Told:
    """What there is to tell of a turn, in order; it is the turn's reader."""

    def __init__(self) -> None:
        self.anything = False
        """Whether there ever was anything."""
        self.over = False
        self._waiting: deque[bytes] = deque()
        self._news = asyncio.Event()

    async def reads(self, piece: str) -> None:
        """`delta`: the reply goes on with `text`."""
        self._tell("delta", {"text": piece})

    async def begins_again(self) -> None:
        """`restart`: what `delta` has told so far does not count any more."""
        self._tell("restart", {})

    async def waits_for(self, tool: str) -> None:
        """`tool`: `name` is asked."""
        self._tell("tool", {"name": tool})

    def is_over(self, turn: asyncio.Task[Any]) -> None:
        """Nothing will be added any more."""
        self.over = True
        self._news.set()

    async def something(self) -> None:
        """Return as soon as there is something to tell, or never will be."""
        await self._news.wait()

    def take(self) -> bytes:
        """Return what has not been told yet."""
        self._news.clear()
        if self.over:
            self._news.set()
        told = b"".join(self._waiting)
        self._waiting.clear()
        return told

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        self.anything = True
        self._waiting.append(event(name, data))
        self._news.set()


class EventStream(Response):
    """Tells a turn as it goes, and how it ended: `done` with the whole `reply`, or `error` as a plain turn has it.

    A reader who leaves cancels the turn. While there is nothing to tell, a comment keeps the line open.
    """

    media_type = MEDIA_TYPE

    def __init__(self, turn: asyncio.Task[str], told: Told, failures: Failures, heartbeat_s: float) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["content-length"]
        self._turn = turn
        self._told = told
        self._failures = failures
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = asyncio.create_task(hung_up(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not self._told.over:
                told = self._told.take() or STILL_THERE
                await send({"type": "http.response.body", "body": told, "more_body": True})
                something = asyncio.create_task(self._told.something())
                await asyncio.wait({something, left}, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                something.cancel()
                if left.done():
                    return
            last = self._told.take() + self._end()
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            left.cancel()
            self._turn.cancel()
            await asyncio.wait({self._turn})
            if not self._turn.cancelled():
                self._turn.exception()  # so that nobody complains that it was not looked at

    def _end(self) -> bytes:
        try:
            return event("done", {"reply": result_of(self._turn)})
        except Exception as failure:
            answer = self._failures.answer(failure)
            if answer is None:
                raise
            return event("error", {"status": answer.status_code, **json.loads(bytes(answer.body))})
