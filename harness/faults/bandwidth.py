"""Bandwidth: the body comes through a thin line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class Bandwidth(UpstreamFault, frozen=True, kw_only=True, tag="bandwidth"):
    """The body arrives at so many bytes a second, in pieces of a tenth of a second."""

    bytes_per_s: float
    """1 or more."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("bytes_per_s", self.bytes_per_s, 1.0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._thinned(proceed()))

    def _thinned(self, reply: Reply) -> Iterator[Step]:
        size = max(1, round(self.bytes_per_s / 10))
        for step in reply.steps():
            if not isinstance(step, wire.Data):
                yield step
                continue
            for begin in range(0, len(step.body), size):
                piece = step.body[begin : begin + size]
                yield wire.Wait(len(piece) / self.bytes_per_s)
                yield wire.Data(piece)
