"""Drip: the body comes a few bytes at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class Drip(UpstreamFault, frozen=True, kw_only=True, tag="drip"):
    """The body comes in drops of `bytes` bytes, each followed by a wait of `every_s`.

    An event of a stream is a body of its own: it is at least one drop, however large they are.
    """

    every_s: float = 0.1
    """Seconds between two drops, above 0."""
    bytes: int = 1
    """Size of a drop."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("every_s", self.every_s, 0.001)
        at_least("bytes", self.bytes, 1)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._dripping(proceed()))

    def _dripping(self, reply: Reply) -> Iterator[Step]:
        wait = wire.Wait(self.every_s)
        for step in reply.steps():
            if not isinstance(step, wire.Data):
                yield step
            elif 0 < len(step.body) <= self.bytes:
                # Most events are one drop.
                yield step
                yield wait
            else:
                for begin in range(0, len(step.body), self.bytes):
                    yield wire.Data(step.body[begin : begin + self.bytes])
                    yield wait
