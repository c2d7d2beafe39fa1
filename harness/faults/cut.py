"""Cut: the body ends in the middle, short of what its Content-Length announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class Cut(UpstreamFault, frozen=True, kw_only=True, tag="cut"):
    """What was asked happens, but the connection closes `after_bytes` bytes into the body of the answer."""

    after_bytes: int = 20
    """Bytes of the body that still arrive. A body that is not longer loses its last byte."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("after_bytes", self.after_bytes, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._cut(proceed()))

    def _cut(self, reply: Reply) -> Iterator[Step]:
        left = self.after_bytes
        if reply.script is None:
            left = min(left, max(len(reply.body) - 1, 0))
        for step in reply.steps():
            if isinstance(step, wire.Data):
                if len(step.body) >= left:
                    if left:
                        yield wire.Data(step.body[:left])
                    break
                left -= len(step.body)
            yield step
        yield wire.Close()
