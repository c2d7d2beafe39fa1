"""How do responses travel over a WebSocket? `response.create` in, the events of the response's stream out, errors too.

A message is the body of `POST /v1/responses` with a type; what is answered is what that call answers, so that key,
limits, faults and ledger are the same. With a `stream_id` a message opens, or goes on in, a lane of its own.
"""

from __future__ import annotations

import base64
from hashlib import sha1
from typing import Any

import msgspec

from harness.upstreams.exchange import decoded
from harness.upstreams.openai.errors import error_body
from harness.upstreams.sse import encode
from harness.upstreams.wire import Request

PATH = "/v1/responses"
KEY = "sec-websocket-key"
"""The header by which a handshake, and with it its connection, is known."""
_DEFAULT_LANE = ""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def handshake_headers(key: str) -> tuple[tuple[str, str], ...]:
    """Return the headers with which a handshake of this key is accepted (RFC 6455, 4.2.2)."""
    accept = base64.b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    return ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept)


class ResponsesDialogue:
    """What passes over one WebSocket of the Responses API.

    Args:
        handshake: the request that opened it; its headers count for every message.
    """

    def __init__(self, handshake: Request) -> None:
        self._headers = handshake.headers

    def hear(self, message: str) -> tuple[str, Request]:
        """Return a message's lane and the request that it stands for."""
        try:
            event = decoded(message)
        except msgspec.DecodeError:
            event = None
        if not isinstance(event, dict):
            return _DEFAULT_LANE, Request("POST", PATH, headers=self._headers, body=message.encode())
        lane = event.get("stream_id")
        lane = lane if isinstance(lane, str) else _DEFAULT_LANE
        if event.get("type") != "response.create":
            return lane, Request("WS", PATH, headers=self._headers, body=message.encode())
        asked = {name: value for name, value in event.items() if name not in ("type", "stream_id")}
        return lane, Request("POST", PATH, headers=self._headers, body=encode(asked | {"stream": True}))

    def tell(self, lane: str) -> EventMessages:
        """Return how the reply to a lane's request is told."""
        return EventMessages(lane)


class EventMessages:
    """One reply as messages: each event of a stream, or one error."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._status = 0
        self._headers: tuple[tuple[str, str], ...] = ()
        self._rest = b""

    @property
    def _is_stream(self) -> bool:
        return any(name == "content-type" and kind.startswith("text/event-stream") for name, kind in self._headers)

    def head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """Hear how the reply begins."""
        self._status, self._headers = status, headers

    def data(self, body: bytes) -> list[str]:
        """Return the events that are whole with this piece; faults may have cut it anywhere."""
        self._rest += body
        if not self._is_stream:
            return []
        *whole, self._rest = self._rest.split(b"\n\n")
        return [self._message(event.partition(b"data: ")[2]) for event in whole if event]

    def end(self) -> list[str]:
        """Return what else it comes to: an error, where it is no stream; garbage, where a fault made it that."""
        rest, self._rest = self._rest, b""
        if self._status >= 400:
            return [self._message(encode(self._error(rest)))]
        return [self._message(rest)] if rest else []

    def _error(self, body: bytes) -> dict[str, Any]:
        try:
            error = msgspec.json.decode(body, type=dict[str, dict[str, Any]])["error"]
        except (msgspec.DecodeError, KeyError):
            # From a proxy on the way, in HTML, or what a fault made of it.
            error = error_body(body.decode(errors="replace"), "server_error", None, None)["error"]
        return {"type": "error", "status": self._status, "error": error | {"headers": dict(self._headers)}}

    def _message(self, event: bytes) -> str:
        if self._lane and event.startswith(b"{"):
            event = b'{"stream_id":' + encode(self._lane) + b"," + event[1:]
        return event.decode(errors="replace")
