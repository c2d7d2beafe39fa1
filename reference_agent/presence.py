"""Is there still somebody for whom a request is read and its turn played, and somebody to do it?"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from reference_agent.duty import Duty, left_alone
from reference_agent.errors import Refused

T = TypeVar("T")


@types.coroutine
def when_it_waits(
    watch: AbstractContextManager[object], work: Coroutine[Any, Any, T] | Generator[Any, Any, T]
) -> Generator[Any, Any, T]:
    """Return what the work returns; the watch begins when, and only if, the work has to wait for something.

    Most requests are refused before they ever do, and need no watch.

    Args:
        watch: a context; it may end the task that waits within it.
        work: a coroutine that has not begun, or another one of these.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        at_once: T = done.value
        return at_once
    with watch:
        try:
            # What `await` does, which does not take a coroutine in the middle.
            while True:
                try:
                    answer = yield waits_for
                except BaseException as thrown:
                    waits_for = work.throw(thrown)
                else:
                    waits_for = work.send(answer)
        except StopIteration as done:
            in_the_end: T = done.value
            return in_the_end


async def hung_up(receive: Receive) -> None:
    """Return when the caller has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Endable:
    """A context that something else than its own task may end, for a reason, which is raised where it ends."""

    _ended_by: Exception | None = None
    _over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._watch()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over = True
        self._look_away()
        # As asyncio.timeout does it: only our own cancellation is ours to turn into something else.
        if self._ended_by is not None and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._ended_by from None

    def _watch(self) -> None:
        raise NotImplementedError

    def _look_away(self) -> None:
        raise NotImplementedError

    def _end(self, why: Exception) -> None:
        if self._ended_by is None and not self._over:
            self._ended_by = why
            self._task.cancel()


class Arrival(_Endable):
    """The context in which the body of a request is read, for as long as there is patience.

    Args:
        duty: tells when the process is about to end: what is not all there by then will not be worked on.
        within_s: seconds in which it has to be there.

    Raises:
        Refused: it was not there in time, or the process is about to end.
    """

    def __init__(self, duty: Duty, within_s: float) -> None:
        self._duty = duty
        self._within_s = within_s
        self._patience: asyncio.Task[bool] | None = None

    def _watch(self) -> None:
        self._patience = asyncio.create_task(self._duty.pause(self._within_s))
        self._patience.add_done_callback(self._lost)

    def _look_away(self) -> None:
        if self._patience is not None:
            self._patience.cancel()

    def _lost(self, patience: asyncio.Task[bool]) -> None:
        if not patience.cancelled():
            plainly = "The request was not all there in time."
            self._end(left_alone() if patience.result() else Refused(408, "body_too_slow", plainly=plainly))


class Presence(_Endable):
    """The context in which a turn is played in its request's own task, for as long as its caller stays.

    The request has to be read to its end before.

    Raises:
        ClientDisconnect: the caller has hung up; the turn was cancelled.
        Refused: the process is about to end: nothing may be begun (it is made for nothing then), or the turn was
            cancelled.
    """

    def __init__(self, duty: Duty, receive: Receive) -> None:
        if duty.is_leaving:
            raise left_alone()
        self._duty = duty
        self._receive = receive
        self._turn: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def _watch(self) -> None:
        self._turn = self._duty.attend()
        self._turn.add_done_callback(self._cut_off)
        self._watching = asyncio.create_task(hung_up(self._receive))
        self._watching.add_done_callback(self._left)

    def _look_away(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def _left(self, watching: asyncio.Task[None]) -> None:
        if not watching.cancelled():
            watching.exception()  # whatever it is, nobody can be told any more
            self._end(ClientDisconnect())

    def _cut_off(self, turn: asyncio.Future[None]) -> None:
        if turn.cancelled():
            self._end(left_alone())
