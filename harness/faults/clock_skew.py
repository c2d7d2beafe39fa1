"""Clock skew: the upstream's clock is wrong, and its headers say so."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class ClockSkew(UpstreamFault, frozen=True, kw_only=True, tag="clock_skew"):
    """The header Date is `seconds` off; a Retry-After that is a date is off with it."""

    seconds: float = 3600.0
    """How much the clock is ahead; below 0: behind."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        now_s = exchange.wall_s + self.seconds
        return wire.with_headers(proceed(), (("date", formatdate(now_s, usegmt=True)),))
