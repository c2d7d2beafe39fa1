"""Clock skew: the upstream's clock is wrong, and its headers say so."""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, above_0, from_to
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class ClockSkew(UpstreamFault, frozen=True, kw_only=True, tag="clock_skew"):
    """The header Date is `seconds` off; a Retry-After that is a date is off with it."""

    seconds: float = 3600.0
    """How much the clock is ahead, at most 30 years; below 0: behind."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        from_to("seconds", self.seconds, -1e9, 1e9)
        above_0("`seconds`", abs(self.seconds))

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        now = formatdate(exchange.wall_s + self.seconds, usegmt=True)
        return wire.with_headers(wire.each_header(proceed(), self._skewed), (("date", now),))

    def _skewed(self, name: str, text: str) -> str:
        if name != "retry-after" or text.isdecimal():
            return text
        return formatdate(parsedate_to_datetime(text).timestamp() + self.seconds, usegmt=True)
