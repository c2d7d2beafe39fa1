"""How does time pass in a test? As real time, or as real time plus every wait that was jumped over."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

ClockName = Literal["jumping", "real"]

# Taken before any test can replace them.
_monotonic_ns = time.monotonic_ns
_monotonic_s = time.monotonic

_GRACE_S = 0.001
"""Real seconds that an event loop with nothing to do waits for sockets and threads before time jumps."""


class Clock(Protocol):
    """What upstreams in-process need of time."""

    def now_ns(self) -> int:
        """Return monotonic nanoseconds."""

    def wait(self, seconds: float | None, woken: threading.Event) -> None:
        """Let `seconds` pass in the calling thread, fewer where `woken` is set; None: until it is."""

    async def wait_async(self, seconds: float | None, woken: asyncio.Event) -> None:
        """Let `seconds` pass for the calling task, fewer where `woken` is set; None: until it is."""

    def lead(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make an event loop follow this clock from now on."""


class RealClock:
    """Time as it is: waits wait."""

    def now_ns(self) -> int:
        return _monotonic_ns()

    def wait(self, seconds: float | None, woken: threading.Event) -> None:
        woken.wait(seconds)

    async def wait_async(self, seconds: float | None, woken: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass

    def lead(self, loop: asyncio.AbstractEventLoop) -> None:
        """A loop is led by real time anyway."""


class JumpingClock:
    """Real time, plus what was jumped over.

    A wait in a thread is over at once. A wait in an asyncio task is over as soon as its event loop has nothing else to
    do: the loop's own time jumps to whatever is due next, be it the end of this wait or a deadline that the caller has
    set around it (`asyncio.timeout`, `wait_for`), so that the earlier of the two wins, as it would in real time. Loops
    without a selector of Python's own (uvloop) wait for real.

    What does not jump: threads that work meanwhile, and deadlines that one thread keeps for another.
    """

    def __init__(self) -> None:
        self._jumped_ns = 0
        self._lock = threading.Lock()
        self._waiting = 0
        self._jumps_always = False

    def now_ns(self) -> int:
        return _monotonic_ns() + self._jumped_ns

    @property
    def jumped_s(self) -> float:
        """Seconds that nobody had to wait."""
        return self._jumped_ns / 1e9

    def jump(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        with self._lock:
            self._jumped_ns += max(0, round(seconds * 1e9))

    def jump_always(self) -> None:
        """Jump also where no upstream makes anybody wait: the sleeps of the code under test are over at once too."""
        self._jumps_always = True

    @property
    def jumps_now(self) -> bool:
        """Whether an idle event loop is to jump to what is due next."""
        return self._jumps_always or self._waiting > 0

    def wait(self, seconds: float | None, woken: threading.Event) -> None:
        if seconds is None:
            woken.wait()
        elif not woken.is_set():
            self.jump(seconds)

    async def wait_async(self, seconds: float | None, woken: asyncio.Event) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                await woken.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def lead(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make an event loop follow this clock from now on; one that cannot keeps real time."""
        if getattr(loop, "_selector", None) is None:
            return
        time_of_loop = _TIMES.get(loop)
        if time_of_loop is None:
            time_of_loop = _TIMES[loop] = _LoopTime(loop)
        time_of_loop.follow(self)

    def let_go(self) -> None:
        """Give the event loops back to real time; they keep what they have jumped over, since time never goes back."""
        for time_of_loop in list(_TIMES.values()):
            time_of_loop.leave(self)


class _LoopTime:
    """The time of one event loop, patched once for the loop's whole life: a loop may outlive many clocks."""

    def __init__(self, loop: Any) -> None:
        self._skipped_s: float = max(0.0, loop.time() - _monotonic_s())
        self._clock: JumpingClock | None = None
        self._followed_at_ns = 0
        self._select: Callable[[float | None], list[Any]] = loop._selector.select
        loop.time = self._time
        loop._selector.select = self._select_or_jump

    def follow(self, clock: JumpingClock) -> None:
        if self._clock is not clock:
            self._settle()
            self._clock, self._followed_at_ns = clock, round(clock.jumped_s * 1e9)

    def leave(self, clock: JumpingClock) -> None:
        if self._clock is clock:
            self._settle()
            self._clock = None

    def _settle(self) -> None:
        self._skipped_s += self._followed_s()

    def _followed_s(self) -> float:
        return 0.0 if self._clock is None else self._clock.jumped_s - self._followed_at_ns / 1e9

    def _time(self) -> float:
        return _monotonic_s() + self._skipped_s + self._followed_s()

    def _select_or_jump(self, timeout: float | None = None) -> list[Any]:
        clock = self._clock
        # No timer at all, or work to do now: nothing to jump to.
        if clock is None or timeout is None or timeout <= 0 or not clock.jumps_now:
            return self._select(timeout)
        events = self._select(min(timeout, _GRACE_S))
        if not events and timeout > _GRACE_S:
            clock.jump(timeout - _GRACE_S)
        return events


_TIMES: WeakKeyDictionary[asyncio.AbstractEventLoop, _LoopTime] = WeakKeyDictionary()


def clock_named(name: ClockName) -> JumpingClock | RealClock:
    """Return a new clock: `jumping` or `real`."""
    return JumpingClock() if name == "jumping" else RealClock()
