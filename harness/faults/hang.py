"""Hang: the upstream takes the request and never says a byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Hang(UpstreamFault, frozen=True, kw_only=True, tag="hang"):
    """No byte ever, until the caller leaves. Nothing happens upstream either."""

    when_lifted: Literal["close", "stay"] = "close"
    """What becomes of the connections that hang: closed, as by a server that restarts; or they stay silent, as after a
    partition whose packets were dropped."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted((wire.Hang(ends_when_lifted=self.when_lifted == "close"),))
