"""Empty body: the right status, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class EmptyBody(UpstreamFault, frozen=True, kw_only=True, tag="empty_body"):
    """What was asked happens; the answer has its status and headers and no body."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.with_body(proceed(), b"")
