"""Slow tail: most answers take a little longer, few take very much longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams.latency import LogNormal

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class SlowTail(UpstreamFault, frozen=True, kw_only=True, tag="slow_tail"):
    """Latency added log-normally, as real services have it, with a slow tail."""

    median_s: float = 0.5
    """Half of the answers come at most this much later."""
    sigma: float = 0.5
    """Spread of the logarithm; 0: all alike."""
    tail_share: float = 0.01
    """Share of the answers that come `tail_s` later instead."""
    tail_s: float = 60.0
    """Seconds."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("median_s", self.median_s, 0.0)
        at_least("sigma", self.sigma, 0.0)
        at_least("tail_s", self.tail_s, 0.0)
        if not 0.0 <= self.tail_share <= 1.0:
            msg = f"`tail_share` is {self.tail_share}, expected 0 to 1."
            raise ValueError(msg)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        latency = LogNormal(
            self.median_s, self.sigma, tail_share=self.tail_share, tail_low_s=self.tail_s, tail_high_s=self.tail_s
        )
        return proceed().delayed(latency.draw(draw, 0))
