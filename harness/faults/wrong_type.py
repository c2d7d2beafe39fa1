"""Wrong type: a page in HTML where JSON was promised, as a proxy in between would send it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class WrongType(UpstreamFault, frozen=True, kw_only=True, tag="wrong_type"):
    """What was asked happens; the answer has its status, but another content type and body."""

    may_be_empty = ("body",)

    content_type: str = "text/html"
    """What the body is said to be."""
    body: str = "<html><body><h1>It works!</h1></body></html>"
    """What it is."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        if not (self.content_type.isascii() and self.content_type.isprintable()):
            msg = f"`content_type` is {self.content_type!r}, expected what a header can carry: printable ASCII."
            raise ValueError(msg)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return wire.with_body(proceed(), self.body.encode(), content_type=self.content_type)
