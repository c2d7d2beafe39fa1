"""Stream endless: the last event never comes, and the one before it comes for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class StreamEndless(UpstreamFault, frozen=True, kw_only=True, tag="stream_endless"):
    """From event `event` on, the stream repeats that event every `every_s` seconds, until the caller leaves."""

    event: int = 3
    """From 1."""
    every_s: float = 0.05
    """Seconds between two of them, above 0."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("event", self.event, 1)
        at_least("every_s", self.every_s, 0.001)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        return wire.each_event(proceed(), self._for_ever) if exchange.wants_stream else None

    def _for_ever(self, events: Iterator[wire.Data]) -> Iterator[Step]:
        repeated: wire.Data | None = None
        for repeated in islice(events, self.event):
            yield repeated
        while repeated is not None:
            yield wire.Wait(self.every_s)
            yield repeated
