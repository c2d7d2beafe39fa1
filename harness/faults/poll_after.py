"""Poll after: the header that tells the client when to look again tells it nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class PollAfter(UpstreamFault, frozen=True, kw_only=True, tag="poll_after"):
    """Runs carry the header openai-poll-after-ms with this figure, which the client obeys."""

    upstream: str = "openai"
    milliseconds: int = 3_600_000
    """An hour, unless another figure is given."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("milliseconds", self.milliseconds, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        reply = proceed()
        kept = tuple(header for header in reply.headers if header[0] != "openai-poll-after-ms")
        if len(kept) == len(reply.headers):
            return reply
        poisoned = (*kept, ("openai-poll-after-ms", str(self.milliseconds)))
        return wire.Reply(reply.status, reply.body, poisoned, reply.after_s)
