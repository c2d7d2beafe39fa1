"""May two turns of one user be under way at once?"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.errors import OutOfTime, Refused, Unavailable
from reference_agent.parts.metrics import Metrics
from reference_agent.session_store import SessionStore
from reference_agent.settings import Settings


class TurnOrder(Protocol):
    """Puts the turns of one user in order."""

    def turn_of(self, user_id: str, deadline: Deadline) -> AbstractAsyncContextManager[None]:
        """Wait for the user's turn; it lasts as long as the context.

        Raises:
            Refused: too many of this user's turns wait already.
            OutOfTime: it did not come before the deadline.
        """
        ...


class DocumentedTurnOrder:
    """No order: the second request of a user meets the first one's thread in the middle of a run."""

    @asynccontextmanager
    async def turn_of(self, user_id: str, deadline: Deadline) -> AsyncIterator[None]:
        yield


class _Line:
    """The turns of one user that are under way, or wait, in this process."""

    __slots__ = ("count", "ended")

    def __init__(self) -> None:
        self.count = 0
        self.ended = asyncio.Event()


_LEASE_S = 1.5
"""When a process dies in a turn, its user waits no longer than that; a process that stands still for as long loses its
turn to whoever waits for it."""
_RENEW_S = 0.5
_LOOK_AGAIN_S = 0.05


class HardenedTurnOrder:
    """One after the other, over all replicas, first come, first served; few may wait, none longer than the deadline.

    The order is kept in the session store. A turn is a lease there, renewed while it lasts: one that was lost ends, as
    somebody else's has begun. Whoever waits asks again and again, and at once when a turn of this process has ended.
    How many may wait counts per process.
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, session_store: SessionStore, metrics: Metrics) -> None:
        self._waiting_turns = settings.waiting_turns
        self._clock = clock
        self._store = session_store
        self._lines: dict[str, _Line] = {}
        metrics.watch("turns_waiting", lambda: sum(line.count - 1 for line in self._lines.values()))

    @asynccontextmanager
    async def turn_of(self, user_id: str, deadline: Deadline) -> AsyncIterator[None]:
        line = self._lines.setdefault(user_id, _Line())
        if line.count > self._waiting_turns:
            raise Refused(429, "one_at_a_time", 1.0)
        line.count += 1
        holder = uuid.uuid4().hex
        store_answers = True
        try:
            try:
                try:
                    await self._until_it_is_ours(user_id, holder, line, deadline)
                except Unavailable:
                    store_answers = False
                    raise
                async with self._kept(user_id, holder):
                    yield
            finally:
                # A store that is down cannot be told; what it holds of ours runs out by itself.
                if store_answers:
                    with contextlib.suppress(Unavailable):
                        await self._store.end_turn(user_id, holder)
                line.ended.set()
                line.ended = asyncio.Event()
        finally:
            line.count -= 1
            if line.count == 0:
                # Only users with a turn under way are remembered.
                self._lines.pop(user_id, None)

    async def _until_it_is_ours(self, user_id: str, holder: str, line: _Line, deadline: Deadline) -> None:
        while True:
            ended = line.ended
            now = self._clock.wall()
            if await self._store.begin_turn(user_id, holder, now, now + _LEASE_S):
                return
            if deadline.remaining_s() == 0:
                raise OutOfTime(_EARLIER)
            one_ended = asyncio.create_task(ended.wait())
            time_to_ask = asyncio.create_task(self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s())))
            try:
                await asyncio.wait((one_ended, time_to_ask), return_when=asyncio.FIRST_COMPLETED)
            finally:
                one_ended.cancel()
                time_to_ask.cancel()

    @asynccontextmanager
    async def _kept(self, user_id: str, holder: str) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as scope:
            renewing = asyncio.create_task(self._renew(user_id, holder, scope))
            try:
                yield
            finally:
                renewing.cancel()
                if scope.expired():
                    raise OutOfTime(_LOST)

    async def _renew(self, user_id: str, holder: str, scope: asyncio.Timeout) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)  # a lease runs by everybody's clock, also where this process has its own
            now = self._clock.wall()
            with contextlib.suppress(Unavailable):
                if not await self._store.keep_turn(user_id, holder, now, now + _LEASE_S):
                    scope.reschedule(asyncio.get_running_loop().time())
                    return


_LOST = "its turn, which was lost to somebody else while this process stood still"
_EARLIER = "an earlier message of the same user"

VARIANTS = {
    "documented": DocumentedTurnOrder,
    "proposed": DocumentedTurnOrder,  # nothing was proposed
    "hardened": HardenedTurnOrder,
}
