"""Invalid UTF-8: a byte in the body that no text has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class InvalidUtf8(UpstreamFault, frozen=True, kw_only=True, tag="invalid_utf8"):
    """What was asked happens; the last quotation mark of the body is followed by a byte that is no UTF-8."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._spoilt(proceed()))

    @staticmethod
    def _spoilt(reply: Reply) -> Iterator[Step]:
        for step in reply.steps():
            if isinstance(step, wire.Head):
                length = None if step.length is None else step.length + 1
                yield wire.Head(step.status, step.headers, length)
            elif isinstance(step, wire.Data):
                place = step.body.rfind(b'"')
                place = place if place >= 0 else len(step.body)
                yield wire.Data(step.body[:place] + b"\xff" + step.body[place:])
            else:
                yield step
