"""Status: the upstream answers with an error of its own making, in its own words."""

from __future__ import annotations

import math
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Literal

from harness.faults.fault import UpstreamFault, from_to
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Status(UpstreamFault, frozen=True, kw_only=True, tag="status"):
    """An HTTP error with the body that this upstream gives with it (401: invalid_api_key, 429: rate_limit_exceeded)."""

    status: int = 503
    retry_after_s: float | None = None
    """When to come back, in seconds from now; None: nothing is said."""
    retry_after_as: Literal["seconds", "date", "ms"] = "seconds"
    """How it is written: seconds, an HTTP date, or in milliseconds in the header retry-after-ms."""
    message: str | None = None
    """The error's text; None: what the upstream says with this status."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        if not 400 <= self.status <= 599:
            msg = f"`status` is {self.status}, expected an error from 400 to 599."
            raise ValueError(msg)
        from_to("retry_after_s", self.retry_after_s or 0.0, 0.0, 1e9)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        reply = exchange.error_reply(self.status, self.message)
        if self.retry_after_s is None:
            return reply
        if self.retry_after_as == "ms":
            return wire.with_headers(reply, (("retry-after-ms", str(math.ceil(1000 * self.retry_after_s))),))
        # Whole seconds: a fraction is rounded up, since nothing was promised for earlier than that.
        if self.retry_after_as == "date":
            at_s = math.ceil(exchange.wall_s + self.retry_after_s)
            return wire.with_headers(reply, (("retry-after", formatdate(at_s, usegmt=True)),))
        return wire.with_headers(reply, (("retry-after", str(math.ceil(self.retry_after_s))),))
