"""What does a request's header say? As ASGI has headers: pairs of bytes, names in lower case."""

from __future__ import annotations

from collections.abc import Iterable


def first_value(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return what the first header of that name says; empty: there is none.

    Asked several times of every request that is refused: a generator and `next` would take twice as long.
    """
    for its_name, value in headers:
        if its_name == name:
            return value.decode("latin-1")
    return ""
