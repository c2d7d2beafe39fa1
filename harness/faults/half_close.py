"""Half-close: the upstream says that it sends no more, in the middle of the body, and keeps the connection open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply, Step


class HalfClose(UpstreamFault, frozen=True, kw_only=True, tag="half_close"):
    """A FIN comes `after_bytes` bytes into the body; what the caller sends is still read, and never answered."""

    after_bytes: int = 0
    """Bytes of the body that still arrive; a body that is not longer loses its last byte."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("after_bytes", self.after_bytes, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.scripted(self._closed(proceed()))

    def _closed(self, reply: Reply) -> Iterator[Step]:
        yield from wire.beginning(reply, self.after_bytes)
        yield wire.HalfClose()
        yield wire.Hang()
