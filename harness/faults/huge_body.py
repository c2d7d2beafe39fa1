"""Huge body: an answer that does not fit into anybody's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class HugeBody(UpstreamFault, frozen=True, kw_only=True, tag="huge_body"):
    """What was asked happens; the answer is JSON of `megabytes`, sent as fast as it is read."""

    megabytes: int = 100
    """Size of the body, 1 to 4,096."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        if not 1 <= self.megabytes <= 4096:
            msg = f"`megabytes` is {self.megabytes}, expected 1 to 4096."
            raise ValueError(msg)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._huge(proceed()))

    def _huge(self, reply: Reply) -> Iterator[Step]:
        begin, end, piece = b'{"padding":"', b'"}', b"x" * (1 << 20)
        for step in reply.steps():
            if isinstance(step, wire.Head):
                yield wire.Head(step.status, step.headers, len(begin) + self.megabytes * len(piece) + len(end))
                break
            yield step
        yield wire.Data(begin)
        for _ in range(self.megabytes):
            yield wire.Data(piece)
        yield wire.Data(end)
