"""Is there still somebody for whom a turn is played, and somebody to play it?"""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from reference_agent.duty import Duty, left_alone


async def hung_up(receive: Receive) -> None:
    """Return when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Presence:
    """The context in which a turn is played in its request's own task, for as long as its caller stays.

    Nobody is watched before the turn waits for something: most who are refused never make it wait. The request has to
    be read to its end before.

    Raises:
        ClientDisconnect: the caller has hung up; the turn was cancelled.
        Refused: the process is about to end: nothing was begun, or the turn was cancelled.
    """

    def __init__(self, duty: Duty, receive: Receive) -> None:
        self._duty = duty
        self._receive = receive
        self._turn: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ended_by: Exception | None = None
        self._over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._duty.is_leaving:
            raise left_alone()
        self._task = task
        self._cancelling = task.cancelling()
        self._begin = asyncio.get_running_loop().call_soon(self._watch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        self._begin.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)
        # As asyncio.timeout does it: only our own cancellation is ours to turn into something else.
        if self._ended_by is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._ended_by from None

    def _watch(self) -> None:
        self._turn = self._duty.attend()
        self._turn.add_done_callback(self._cut_off)
        self._watching = asyncio.create_task(hung_up(self._receive))
        self._watching.add_done_callback(self._left)

    def _left(self, watching: asyncio.Task[None]) -> None:
        if not watching.cancelled():
            watching.exception()  # whatever it is, nobody can be told any more
            self._end(ClientDisconnect())

    def _cut_off(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self._end(left_alone())

    def _end(self, why: Exception) -> None:
        if self._ended_by is None and not self._over:
            self._ended_by = why
            self._task.cancel()
