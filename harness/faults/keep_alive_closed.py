"""Keep-alive closed: the connection ends after the answer, though it was promised to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class KeepAliveClosed(UpstreamFault, frozen=True, kw_only=True, tag="keep_alive_closed"):
    """The answer is whole; then the upstream closes the connection without having announced it."""

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._closed(proceed()))

    @staticmethod
    def _closed(reply: Reply) -> Iterator[Step]:
        yield from reply.steps()
        yield wire.End()
        yield wire.Close()
