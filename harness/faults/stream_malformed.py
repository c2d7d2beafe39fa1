"""Stream malformed: an event that is no JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class StreamMalformed(UpstreamFault, frozen=True, kw_only=True, tag="stream_malformed"):
    """Event number `event` of a stream loses its second half, but not the line that ends it."""

    event: int = 3
    """From 1."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("event", self.event, 1)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        return wire.each_event(proceed(), self._spoilt) if exchange.wants_stream else None

    def _spoilt(self, events: Iterator[wire.Data]) -> Iterator[Step]:
        for number, event in enumerate(events, start=1):
            whole = event.body.rstrip()
            yield wire.Data(whole[: -(len(whole) // 2)] + b"\n\n") if number == self.event else event
