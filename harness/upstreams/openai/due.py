"""What is due when? Things that happen by themselves, at the time at which they were due, whenever somebody looks."""

from __future__ import annotations

import heapq
from collections.abc import Callable


class Due:
    """A calendar that is read with a clock that is passed in."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, Callable[[int], None]]] = []
        self._tie = 0

    def at(self, at_ns: int, happen: Callable[[int], None]) -> None:
        """Let something happen at a time; it is given that time."""
        self._tie += 1
        heapq.heappush(self._entries, (at_ns, self._tie, happen))

    def advance(self, now_ns: int) -> None:
        """Let everything happen that is due by now, in order."""
        entries = self._entries
        while entries and entries[0][0] <= now_ns:
            at_ns, _, happen = heapq.heappop(entries)
            happen(at_ns)
