"""How late is the event loop? The first sign that there is more work than the machine can do."""

from __future__ import annotations

import asyncio

_EVERY_S = 0.1
_FADES = 0.8  # what is left of a delay at the next look


class LoopLag:
    """Looks ten times a second how late it is called; begins when it is first asked."""

    def __init__(self) -> None:
        self._lag_s = 0.0
        self._running = False

    def seconds(self) -> float:
        """Return the worst delay of late, faded by its age; 0 while nothing was measured."""
        if not self._running:
            self._running = True
            self._look_again()
        return self._lag_s

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + _EVERY_S
        loop.call_at(due, self._look, due)

    def _look(self, due: float) -> None:
        late_s = asyncio.get_running_loop().time() - due
        self._lag_s = max(late_s, self._lag_s * _FADES)
        self._look_again()
