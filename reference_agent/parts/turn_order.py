"""May two turns of one user be under way at once?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from reference_agent.clock import Deadline
from reference_agent.errors import OutOfTime, Refused
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


class HardenedTurnOrder:
    """One after the other, first come first served; few may wait, and none longer than the deadline."""

    needs_loop = True

    def __init__(self, settings: Settings) -> None:
        self._waiting_turns = settings.waiting_turns
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
                msg = "an earlier message of the same user"
                raise OutOfTime(msg) from None
            try:
                yield
            finally:
                line.lock.release()
        finally:
            line.count -= 1
            if line.count == 0:
                # Only users with a turn under way are remembered.
                self._lines.pop(user_id, None)


VARIANTS = {
    "documented": DocumentedTurnOrder,
    "proposed": DocumentedTurnOrder,  # nothing was proposed
    "hardened": HardenedTurnOrder,
}
