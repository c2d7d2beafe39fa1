"""Slow: the upstream answers rightly, but late."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, above_0, at_least

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Slow(UpstreamFault, frozen=True, kw_only=True, tag="slow"):
    """The answer comes `delay_s` later, plus up to `jitter_s`."""

    delay_s: float
    """Seconds added to the upstream's own latency."""
    jitter_s: float = 0.0
    """Seconds added at most on top, drawn for each call."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("delay_s", self.delay_s, 0.0)
        at_least("jitter_s", self.jitter_s, 0.0)
        above_0("the latency of `delay_s` and `jitter_s`", self.delay_s, self.jitter_s)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return proceed().delayed(self.delay_s + self.jitter_s * draw)
