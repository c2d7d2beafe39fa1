"""Answer lost: the upstream does what was asked, and the connection breaks before it can say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class AnswerLost(UpstreamFault, frozen=True, kw_only=True, tag="answer_lost"):
    """What was asked happens, so that a retry does it a second time; then a TCP RST instead of the answer."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._lost(proceed()))

    @staticmethod
    def _lost(reply: Reply) -> Iterator[Step]:
        for step in reply.steps():
            if isinstance(step, wire.Head):
                break
            yield step
        yield wire.Reset()
