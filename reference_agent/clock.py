"""What time is it, and how long is left? Clocks are passed in, so that tests need not sleep."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Monotonic seconds, and a way to let some pass."""

    def now(self) -> float:
        """Return monotonic seconds."""
        ...

    def wall(self) -> float:
        """Return seconds since 1970: for what is written down and read by other processes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return `seconds` later."""
        ...


class LoopClock:
    """Waits on the event loop."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ThreadClock:
    """Waits by holding its thread; for turns that run in a thread of their own, without an event loop."""

    def now(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the documented agent does hold its thread


@dataclass(frozen=True)
class Deadline:
    """A moment after which nobody waits for the answer any more."""

    clock: Clock
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> Deadline:
        """Return the deadline `seconds` from now."""
        return cls(clock, clock.now() + seconds)

    def remaining_s(self) -> float:
        """Return the seconds left, never below 0."""
        return max(0.0, self.at - self.clock.now())

    def earlier_by(self, seconds: float) -> Deadline:
        """Return a deadline that leaves `seconds` for what comes afterwards."""
        return Deadline(self.clock, self.at - seconds)
