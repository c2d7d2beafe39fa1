"""Reset: the connection ends with a TCP RST as soon as the request is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class Reset(UpstreamFault, frozen=True, kw_only=True, tag="reset"):
    """A true RST instead of an answer; nothing happens upstream."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted((wire.Reset(),))
