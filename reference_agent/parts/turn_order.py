"""May two turns of one user be under way at once?"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.errors import OutOfTime, Refused
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
    __slots__ = ("count", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.count = 0


_LEASE_S = 0.5  # beyond the deadline: when a process dies in a turn, its user waits no longer than that
_LOOK_AGAIN_S = 0.03


class HardenedTurnOrder:
    """One after the other, over all replicas; few may wait, and none longer than the deadline.

    Within a process first come, first served; between processes by a lock in the session store, which is only ever
    contended for by the first in line of each process.
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, session_store: SessionStore) -> None:
        self._waiting_turns = settings.waiting_turns
        self._clock = clock
        self._store = session_store
        self._process = uuid.uuid4().hex
        self._lines: dict[str, _Line] = {}

    @asynccontextmanager
    async def turn_of(self, user_id: str, deadline: Deadline) -> AsyncIterator[None]:
        line = self._lines.setdefault(user_id, _Line())
        if line.count > self._waiting_turns:
            raise Refused(429, "one_at_a_time", "ひとつずつ話してにゃん", 1.0)
        line.count += 1
        try:
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    await line.lock.acquire()
            except TimeoutError:
                raise OutOfTime(_EARLIER) from None
            try:
                await self._among_replicas(user_id, deadline)
                try:
                    yield
                finally:
                    await self._store.end_turn(user_id, self._process)
            finally:
                line.lock.release()
        finally:
            line.count -= 1
            if line.count == 0:
                # Only users with a turn under way are remembered.
                self._lines.pop(user_id, None)

    async def _among_replicas(self, user_id: str, deadline: Deadline) -> None:
        while True:
            now = self._clock.wall()
            if await self._store.begin_turn(user_id, self._process, now, now + deadline.remaining_s() + _LEASE_S):
                return
            if deadline.remaining_s() == 0:
                raise OutOfTime(_EARLIER)
            await self._clock.sleep(_LOOK_AGAIN_S)


_EARLIER = "an earlier message of the same user"

VARIANTS = {
    "documented": DocumentedTurnOrder,
    "proposed": DocumentedTurnOrder,  # nothing was proposed
    "hardened": HardenedTurnOrder,
}
