"""Stream reordered: events arrive in the wrong order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class StreamReordered(UpstreamFault, frozen=True, kw_only=True, tag="stream_reordered"):
    """Every `nth` event of a stream comes after the one that follows it."""

    nth: int = 2
    """2 or more: every second event changes places with the next."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("nth", self.nth, 2)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        return wire.each_event(proceed(), self._shuffled) if exchange.wants_stream else None

    def _shuffled(self, events: Iterator[wire.Data]) -> Iterator[Step]:
        held: wire.Data | None = None
        for number, event in enumerate(events, start=1):
            if held is not None:
                yield event
                yield held
                held = None
            elif number % self.nth == 0:
                held = event
            else:
                yield event
        if held is not None:
            yield held
