"""Status: the upstream answers with an error of its own making, in its own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Status(UpstreamFault, frozen=True, kw_only=True, tag="status"):
    """An HTTP error with the body that this upstream gives with it (401: invalid_api_key, 429: rate_limit_exceeded)."""

    status: int = 503
    retry_after_s: float | None = None
    """What the header Retry-After says, in seconds; None: no such header."""
    message: str | None = None
    """The error's text; None: what the upstream says with this status."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        if not 400 <= self.status <= 599:
            msg = f"`status` is {self.status}, expected an error from 400 to 599."
            raise ValueError(msg)
        at_least("retry_after_s", self.retry_after_s or 0.0, 0.0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        reply = exchange.error_reply(self.status, self.message)
        if self.retry_after_s is not None:
            # The header is whole seconds; a fraction is rounded up, since earlier than that nothing was promised.
            seconds = int(-(-self.retry_after_s // 1))
            reply.headers = (*reply.headers, ("retry-after", str(seconds)))
        return reply
