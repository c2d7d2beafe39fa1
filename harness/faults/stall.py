"""Stall: the answer begins, and then nothing more comes, until the fault is lifted or the caller leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class Stall(UpstreamFault, frozen=True, kw_only=True, tag="stall"):
    """What was asked happens; headers and `after_bytes` bytes of the body arrive, then nothing."""

    after_bytes: int = 0
    """Bytes of the body that still arrive; a body that is not longer loses its last byte."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("after_bytes", self.after_bytes, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._stalled(proceed()))

    def _stalled(self, reply: Reply) -> Iterator[Step]:
        yield from wire.beginning(reply, self.after_bytes)
        yield wire.Hang()
