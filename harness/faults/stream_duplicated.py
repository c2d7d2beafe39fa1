"""Stream duplicated: events arrive twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class StreamDuplicated(UpstreamFault, frozen=True, kw_only=True, tag="stream_duplicated"):
    """Every `nth` event of a stream is sent twice."""

    nth: int = 2
    """1: each."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("nth", self.nth, 1)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        return wire.each_event(proceed(), self._doubled) if exchange.wants_stream else None

    def _doubled(self, events: Iterator[wire.Data]) -> Iterator[Step]:
        for number, event in enumerate(events, start=1):
            yield event
            if number % self.nth == 0:
                yield event
