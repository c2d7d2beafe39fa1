"""How are events written into a stream? Server-sent events, one `Data` step each, so that a fault can take one away."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.upstreams.wire import Data, Head

encode = msgspec.json.Encoder().encode
"""Return a document as JSON."""
EVENT_STREAM = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


def stream_head(headers: tuple[tuple[str, str], ...] = ()) -> Head:
    """Return the head of a stream of events."""
    return Head(200, (*EVENT_STREAM, *headers), None)


def event(document: Any, name: str | None = None) -> Data:
    """Return one event.

    Args:
        document: what msgspec encodes as JSON.
        name: the event's name; None: it has none.
    """
    data = b"data: " + encode(document) + b"\n\n"
    return Data(data if name is None else b"event: " + name.encode() + b"\n" + data)


def done(name: str | None = None) -> Data:
    """Return the event that ends a stream."""
    return Data(b"data: [DONE]\n\n" if name is None else b"event: " + name.encode() + b"\ndata: [DONE]\n\n")
