"""What becomes of a WebSocket that is opened in a test of in-process upstreams? It is refused, and told what to do.

respx carries requests and answers, and no connection. Without this, the official client's `responses.connect` would
dial the real API from a unit test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

from respx.models import AllMockedAssertionError

from harness.testing.in_process import InProcess


@contextmanager
def refused_web_sockets(home: InProcess) -> Iterator[None]:
    """Refuse every WebSocket of the package `websockets` that `home` does not let through, while the context lasts."""
    # Of before 13 there is no `websockets.asyncio`, and the official client wants a later one.
    if find_spec("websockets") is None or find_spec("websockets.asyncio") is None:
        yield
        return
    sync, of_asyncio = import_module("websockets.sync.client"), import_module("websockets.asyncio.client")
    dial, create_connection = sync.connect, of_asyncio.connect.create_connection

    @wraps(dial)
    def connect(uri: str, *options: Any, **named: Any) -> Any:
        _check(home, uri)
        return dial(uri, *options, **named)

    @wraps(create_connection)
    async def connect_in_loop(connecting: Any) -> Any:
        _check(home, connecting.uri)
        return await create_connection(connecting)

    # Where the async client's own class inherits from, so that it is met too.
    replaced: tuple[tuple[Any, str, Callable[..., Any]], ...] = (
        (sync, "connect", connect),
        (of_asyncio.connect, "create_connection", connect_in_loop),
    )
    with patch.object(*replaced[0]), patch.object(*replaced[1]):
        yield


def _check(home: InProcess, uri: str) -> None:
    url = uri.partition("?")[0]
    if home.passes(url) or home.passes(url.replace("ws", "http", 1)):
        return
    home.unanswered.append(f"WebSocket {url}")
    msg = (
        f"WebSocket {url}: upstreams in-process answer HTTP only. Start them at their ports (`harness upstreams`,"
        " or `python -m harness.upstreams --port 0` in a fixture), give the client the base URL that is printed, and"
        " let it through: upstreams.let_through(base_url)."
    )
    raise AllMockedAssertionError(msg)
