"""How is the end of a run waited for, and what becomes of a run that nobody waits for any more?"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, TypeVar

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Generation
from reference_agent.errors import Gone, OutOfTime, Unavailable
from reference_agent.parts.logging import Logging

T = TypeVar("T")


class Polling(Protocol):
    """Watches over a generation."""

    ends_orphans: bool
    """Whether a run whose process has died is ended by whoever finds it in the way."""
    carries_through: bool
    """Whether a call that starts a run goes on, to be told which run it is, when nobody waits for its answer."""
    leaving: asyncio.Event
    """Set when the process ends: there is no time left to wait for anything."""

    async def until(self, look: Callable[[], Awaitable[T]], done: Callable[[T], bool], deadline: Deadline) -> T:
        """Look again and again until it is done.

        Raises:
            OutOfTime: the deadline passed before.
        """
        ...

    def watching(self, generation: Generation) -> AbstractAsyncContextManager[None]:
        """Return the context in which a generation lives."""
        ...

    async def over_in(self, conversation: str) -> None:
        """Return when nothing is being ended in a conversation any more.

        Raises:
            Unavailable: it takes too long to wait for it now.
        """
        ...

    async def close(self) -> None:
        """Let go, when the process ends."""
        ...


class DocumentedPolling:
    """Once a second, for ever; what is left open stays open, and costs."""

    ends_orphans = False
    carries_through = False

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.leaving = asyncio.Event()

    async def until(self, look: Callable[[], Awaitable[T]], done: Callable[[T], bool], deadline: Deadline) -> T:
        while True:
            seen = await look()
            if done(seen):
                return seen
            await self._clock.sleep(1)

    @asynccontextmanager
    async def watching(self, generation: Generation) -> AsyncIterator[None]:
        yield

    async def over_in(self, conversation: str) -> None:
        pass

    async def close(self) -> None:
        pass


_FIRST_LOOK_S = 0.05
_SLOWEST_LOOK_S = 0.5
_BACKOFF = 1.4
_END_S = 1.0  # an ending that takes longer goes on behind the caller's back
_CLOSE_S = 3.0  # when the process ends, this long for what still has to be ended upstream
_TRY_AGAIN_S = (0.1, 0.5)  # first and longest pause after an attempt to end what could not be ended
_LISTENING = 200  # answers that are listened for behind everybody's back, at most: each holds a connection
_AT_ONCE = 16  # repeats under way at once, when they come to something


class _Repeats:
    """Lets the repeats of a whole process through, so that they are no storm, however many wait.

    While they come to nothing there is one at a time, and a pause after it; each that succeeds lets twice as many go at
    once. So there are never more repeats in vain than pauses that have passed and as many again as have succeeded, and
    what an outage has left open is ended as fast as the upstream takes it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._line: deque[asyncio.Future[None]] = deque()
        self._at_once = 1
        self._under_way = 0
        self._pause_s = _TRY_AGAIN_S[0]

    async def let(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """Make one attempt when it is its turn, first come, first served; return whether it succeeded."""
        turn = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        self._call_next()
        try:
            await turn
            succeeded = await attempt()
            if succeeded:
                self._at_once = min(self._at_once * 2, _AT_ONCE)
                self._pause_s = _TRY_AGAIN_S[0]
            else:
                self._at_once = 1
                pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, _TRY_AGAIN_S[1])
                await self._clock.sleep(pause_s)
            return succeeded
        finally:
            if not turn.cancelled():  # its turn had come
                self._under_way -= 1
                self._call_next()

    def _call_next(self) -> None:
        while self._line and self._under_way < self._at_once:
            turn = self._line.popleft()
            if not turn.done():  # not of one that was cancelled while it waited
                self._under_way += 1
                turn.set_result(None)


class HardenedPolling:
    """Backs off, gives up at the deadline, and leaves nothing running: on the way out, an open run is ended.

    On every way out: an answer too late, an error, a caller who hung up, while the run was being started above all.
    Where it cannot be ended at once (the upstream is slow, or down) somebody keeps trying in the background, for the
    runs of all users together about twice a second (`_Repeats`); the conversation's next turn waits for that first, and
    so does its deletion. A turn that nobody waits for stays under way meanwhile: for the user's next turn on another
    replica, and for the end of this process.

    Nobody waits for what has not even been said to have begun, after a while; but it is listened for, to be ended and
    paid for when it comes after all.
    """

    needs_loop = True
    ends_orphans = True
    carries_through = True

    def __init__(self, clock: Clock, logging: Logging) -> None:
        self._clock = clock
        self._logging = logging
        self._endings: dict[str, asyncio.Task[None]] = {}
        self._repeats = _Repeats(clock)
        self._listening: set[asyncio.Task[None]] = set()
        self.leaving = asyncio.Event()

    async def until(self, look: Callable[[], Awaitable[T]], done: Callable[[T], bool], deadline: Deadline) -> T:
        pause_s = _FIRST_LOOK_S
        while True:
            left_s = deadline.remaining_s()
            if left_s <= 0:
                msg = "the model"
                raise OutOfTime(msg)
            await self._clock.sleep(min(pause_s, left_s))
            seen = await look()
            if done(seen):
                return seen
            pause_s = min(pause_s * _BACKOFF, _SLOWEST_LOOK_S)

    @asynccontextmanager
    async def watching(self, generation: Generation) -> AsyncIterator[None]:
        await self.over_in(generation.conversation)
        nobody_waits = False
        try:
            yield
        except asyncio.CancelledError:
            nobody_waits = True
            raise
        finally:
            if generation.is_open():
                ending = self._begin_to_end(generation)
                if nobody_waits:
                    await asyncio.wait({ending}, timeout=_END_S)
            elif generation.is_unheard():
                self._listen(generation)

    async def over_in(self, conversation: str) -> None:
        unfinished = self._endings.get(conversation)
        if unfinished is not None:
            await asyncio.wait({unfinished}, timeout=_END_S)
            if not unfinished.done():
                upstream = "openai"
                raise Unavailable(upstream, "an earlier run could not be ended yet", never_arrived=True)

    def _begin_to_end(self, generation: Generation) -> asyncio.Task[None]:
        # A task of its own: the caller may be gone, and this coroutine cancelled, before it is through.
        ending = asyncio.create_task(self._end(generation))
        self._endings[generation.conversation] = ending
        ending.add_done_callback(lambda _: self._endings.pop(generation.conversation, None))
        return ending

    async def close(self) -> None:
        self.leaving.set()
        loop = asyncio.get_running_loop()
        until = loop.time() + _CLOSE_S
        # What ends may leave something to be listened for.
        while (left := {*self._endings.values(), *self._listening}) and (left_s := until - loop.time()) > 0:
            await asyncio.wait(left, timeout=left_s)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_END_S)  # for their figures

    async def _end(self, generation: Generation) -> None:
        await self._tried(generation, generation.end)
        if generation.is_unheard():
            self._listen(generation)

    def _listen(self, generation: Generation) -> None:
        patiently = len(self._listening) < _LISTENING
        listening = asyncio.create_task(self._tried(generation, lambda: generation.hear_out(patiently=patiently)))
        self._listening.add(listening)
        listening.add_done_callback(self._listening.discard)

    async def _tried(self, generation: Generation, end: Callable[[], Awaitable[None]]) -> None:
        """End it, after as many attempts as it takes; when there is no time left for them, it is written off."""

        async def attempt() -> bool:
            return await self._is_over(end)

        try:
            if not await attempt():
                await self._clock.sleep(_TRY_AGAIN_S[0])
                while not await self._repeats.let(attempt):
                    pass
        except asyncio.CancelledError:
            await generation.write_off()
            raise

    async def _is_over(self, end: Callable[[], Awaitable[None]]) -> bool:
        """Make one attempt to end a generation; return False when another one may do better."""
        try:
            await end()
        except (Unavailable, OutOfTime):
            return False
        except Gone:
            pass
        except Exception as bug:
            self._logging.bug("run_not_ended", bug)
        return True


VARIANTS = {
    "documented": DocumentedPolling,
    "proposed": DocumentedPolling,  # nothing was proposed
    "hardened": HardenedPolling,
}
