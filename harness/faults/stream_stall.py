"""Stream stall: a stream of events falls silent in the middle, the connection stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class StreamStall(UpstreamFault, frozen=True, kw_only=True, tag="stream_stall"):
    """After `after_events` events nothing more comes, until the fault is lifted or the caller leaves."""

    after_events: int = 3
    """Events that still arrive."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("after_events", self.after_events, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        return wire.each_event(proceed(), self._stalled) if exchange.wants_stream else None

    def _stalled(self, events: Iterator[wire.Data]) -> Iterator[Step]:
        yield from islice(events, self.after_events)
        yield wire.Hang()
