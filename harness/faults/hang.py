"""Hang: the upstream takes the request and never says a byte, until the fault is lifted or the caller leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Hang(UpstreamFault, frozen=True, kw_only=True, tag="hang"):
    """No byte ever. Nothing happens upstream either. When it is lifted, the connections that hang are closed."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted((wire.Hang(),))
