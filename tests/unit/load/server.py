"""A server that does on its sockets what a test tells it, byte by byte."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from gevent import socket
from gevent.server import StreamServer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n" + b'{"reply": "a"}'
"""A whole answer, after which the connection may be used again."""


class Request:
    """One request as it came over the wire."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, self.version = first.split(" ")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.body = body


def read_request(sock: Any) -> Request | None:
    """Return the next request, None where the client has closed the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    request = Request(head, body)
    while len(request.body) < int(request.headers.get("content-length", "0")):
        request.body += sock.recv(65536)
    return request


class Server:
    """Listens; every connection is given to `deed(number, socket)`, numbered from 0."""

    def __init__(
        self, deed: Callable[[int, Any], None], address: tuple[str, int] = ("127.0.0.1", 0), **tls: Any
    ) -> None:
        self.requests: list[tuple[int, Request]] = []
        """(number of the connection, request), where the deed used `request`."""
        self.connections = 0
        self.closed = 0
        self._deed = deed
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(64)
        self.port: int = listener.getsockname()[1]
        self._server = StreamServer(listener, self._serve, **tls)

    def request(self, number: int, sock: Any) -> Request | None:
        """Read the next request of a connection and remember it."""
        request = read_request(sock)
        if request is not None:
            self.requests.append((number, request))
        return request

    def _serve(self, sock: Any, _address: Any) -> None:
        number = self.connections
        self.connections += 1
        with contextlib.suppress(OSError):  # the client may hang up: that is for the test to see
            self._deed(number, sock)
        sock.close()
        self.closed += 1

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Serve inside the block."""
        self._server.start()
        try:
            yield self
        finally:
            self._server.stop(timeout=1)


@contextlib.contextmanager
def answering(*answers: bytes, close: bool = False) -> Iterator[Server]:
    """Serve a server that gives these answers, request by request over all connections, the last one for ever.

    Args:
        answers: what is written for each request.
        close: whether it closes a connection after each answer, without having said so.
    """
    left = list(answers)

    def deed(number: int, sock: Any) -> None:
        while server.request(number, sock) is not None:
            sock.sendall(left.pop(0) if len(left) > 1 else left[0])
            if close:
                return

    server = Server(deed)
    with server.running():
        yield server
