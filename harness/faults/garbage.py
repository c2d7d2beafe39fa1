"""Garbage: the body is not what its type says."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import shake_128
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, from_to
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Garbage(UpstreamFault, frozen=True, kw_only=True, tag="garbage"):
    """What was asked happens; the body is bytes without sense, under the right content type."""

    bytes: int = 200
    """How many, 1 to 100 million."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        from_to("bytes", self.bytes, 1, 100_000_000)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        seed = f"{exchange.subject} {draw}".encode()
        return wire.with_body(proceed(), shake_128(seed).digest(self.bytes))
