"""Key revoked: the API key that worked a moment ago is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class KeyRevoked(UpstreamFault, frozen=True, kw_only=True, tag="key_revoked"):
    """401 invalid_api_key for the key that ends in `ending`, or for every key."""

    upstream: str = "openai"
    ending: str = ""
    """The last letters of the key; none: every key."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        key = exchange.request.headers.get("authorization", "").strip()
        return exchange.error_reply(401, None) if key.endswith(self.ending) else None
