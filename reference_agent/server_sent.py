"""How does a server-sent event look on the line?"""

from __future__ import annotations

import json
from typing import Any

MEDIA_TYPE = "text/event-stream"
STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep it back until it is whole
}
STILL_THERE = b": still there\n\n"
"""A comment that keeps the line open; readers do not see it."""


def event(name: str, data: Any, again_s: float | None = None) -> bytes:
    """Return an event.

    Args:
        name: of its kind.
        data: of it, which JSON can write.
        again_s: seconds after which a reader whose line has ended is to come back; None: as readers do by themselves.
    """
    retry = "" if again_s is None else f"retry: {round(1000 * again_s)}\n"
    return f"{retry}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def told(*events: tuple[str, Any]) -> str:
    """Return a whole stream of events, as an example of one."""
    return b"".join(event(name, data) for name, data in events).decode()
