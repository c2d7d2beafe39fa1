"""What do upstreams have in common that answer each call by itself, without a state of their own?"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import Routes, routes_of
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.epoch import Epoch


class ServiceError(Exception):
    """A call that the service refuses, with a status and a message in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Service:
    """Parent of the small upstreams: subclasses have routes (see `routed`) and an error body of their own."""

    name: str
    path = ""
    exports: tuple[str, ...] = ()

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self.routes: Routes[Callable[..., object]] = routes_of(self)
        self._lane_free_ns = 0

    def identify(self, exchange: Exchange) -> None:
        """Note what the call is about."""
        text = self.text_of(exchange)
        if text:
            exchange.about(text)

    def text_of(self, exchange: Exchange) -> str:
        """Return the text that is to be processed: the parameters of the query, unless the service knows better."""
        return " ".join(value for name, value in exchange.query.items() if name.lower() not in ("appid", "apikey"))

    def answer(self, exchange: Exchange, handler: Callable[..., object]) -> Reply:
        """Answer, or refuse in the service's own words."""
        try:
            reply = handler(exchange)
        except ServiceError as error:
            exchange.error = error.message
            reply = self.error(error.status, error.message)
        assert isinstance(reply, Reply)
        return reply

    def error(self, status: int, message: str | None) -> Reply:
        """Return the service's own error of that status."""
        raise NotImplementedError

    def unrouted(self, method: str, path: str) -> Reply:
        """Return the service's own 404."""
        return self.error(404, None)

    def advance(self, now_ns: int) -> None:
        """Nothing happens by itself."""

    def json_text(self, exchange: Exchange, field: str) -> str:
        """Return a text field of the JSON body.

        Raises:
            ServiceError: 422, as FastAPI says it: the body is no JSON object, or has no such text.
        """
        try:
            body = exchange.json
        except msgspec.DecodeError as error:
            raise ServiceError(422, f"JSON decode error: {error}") from error
        text = body.get(field) if isinstance(body, dict) else None
        if not isinstance(text, str):
            raise ServiceError(422, f"Field required: {field} (a string)")
        return text

    def in_lane(self, exchange: Exchange, work_s: float) -> float:
        """Return seconds until work is done that this service does one piece after the other.

        Args:
            exchange: the call.
            work_s: how long the work itself takes.
        """
        begin_ns = max(self._lane_free_ns, exchange.begin_ns)
        self._lane_free_ns = begin_ns + round(work_s * 1e9)
        return (self._lane_free_ns - exchange.begin_ns) / 1e9


def text_in_body(exchange: Exchange, field: str) -> str:
    """Return a text field of the JSON body, empty where there is none."""
    text = exchange.json_object.get(field)
    return text if isinstance(text, str) else ""
