"""Quota exhausted: the account has no money left."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class QuotaExhausted(UpstreamFault, frozen=True, kw_only=True, tag="quota_exhausted"):
    """429 with the code insufficient_quota, which no retry mends; of other upstreams a plain 429."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        if exchange.upstream != "openai":
            return exchange.error_reply(429, None)
        message = (
            "You exceeded your current quota, please check your plan and billing details. For more information on this"
            " error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
        )
        error = {"message": message, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"}
        return wire.json_reply({"error": error}, status=429)
