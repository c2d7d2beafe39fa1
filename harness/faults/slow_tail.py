"""Slow tail: most answers take a little longer, few take very much longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import LONGEST_S, UpstreamFault, above_0, at_least, from_to
from harness.upstreams.latency import LogNormal

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class SlowTail(UpstreamFault, frozen=True, kw_only=True, tag="slow_tail"):
    """Latency added log-normally, as real services have it, with a slow tail."""

    median_s: float = 0.5
    """Half of the answers come at most this much later."""
    sigma: float = 0.5
    """Spread of the logarithm, at most 10; 0: all alike."""
    tail_share: float = 0.01
    """Share of the answers that come `tail_s` later instead."""
    tail_s: float = 60.0
    """Seconds."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("median_s", self.median_s, 0.0)
        from_to("sigma", self.sigma, 0.0, 10.0)
        at_least("tail_s", self.tail_s, 0.0)
        if not 0.0 <= self.tail_share <= 1.0:
            msg = f"`tail_share` is {self.tail_share}, expected 0 to 1."
            raise ValueError(msg)
        if self.tail_s < self.median_s and 0.0 < self.tail_share < 1.0:
            msg = (
                f"`tail_s` is {self.tail_s:g}, less than the median of {self.median_s:g}: expected a tail that is"
                " slower, or a `tail_share` of 0 or 1."
            )
            raise ValueError(msg)
        above_0("the latency of `median_s` and `tail_s`", self.median_s, self.tail_s * self.tail_share)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        latency = LogNormal(
            self.median_s, self.sigma, tail_share=self.tail_share, tail_low_s=self.tail_s, tail_high_s=self.tail_s
        )
        return proceed().delayed(min(latency.draw(draw, 0), LONGEST_S))
