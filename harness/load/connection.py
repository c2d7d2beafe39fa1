"""How do bytes go to a target and come back? HTTP/1.1 over kept sockets, and nothing is sent that nobody asked for.

Locust's own client repeats a request by itself when a kept connection turns out to be closed. Here a connection is
looked at before it is used again, and one that has ended is replaced while nothing of the request has been written;
once a byte has been written, what happens is what the caller lives through.
"""

from __future__ import annotations

import select
import ssl
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httptools
from gevent import socket
from gevent.monkey import get_original
from gevent.ssl import SSLContext, SSLSocket

from harness.target import RequestParts, Target

CONNECT_WITHIN_S: Final = 5.0
"""A connection that cannot be had in this time is not going to be: loopback connects in well under a millisecond, and
around the world it takes a third of a second."""
READ_BYTES: Final = 1 << 16
_IDLE_NS: Final = 1_000_000_000
"""A connection that nobody used for this long is not used again: a server that closes it just then would take a request
with it. Well below the 2 s and more after which servers do."""
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

_poll: Any = get_original("select", "poll")  # asks once and never waits, so it need not be gevent's


class ConnectionBrokenError(OSError):
    """The other side ended the connection before its answer was whole."""


class Incoming:
    """An answer as it comes in. Called by httptools, which is given what was read with `feed`.

    Args:
        bodiless: the request was a HEAD: whatever its headers announce, no body follows.
    """

    __slots__ = ("_bodiless", "_delimited", "_parser", "body", "complete", "headers", "reusable", "status")

    def __init__(self, *, bodiless: bool = False) -> None:
        self.status: int | None = None
        """Of the final answer; interim ones (1xx) are passed over."""
        self.headers: dict[str, str] = {}
        """By names in lower case; what came several times is joined by commas."""
        self.body: list[bytes] = []
        """The pieces of the body, as they came."""
        self.complete = False
        self.reusable = False
        """Whether the connection can carry another request; known when the answer is complete."""
        self._bodiless = bodiless
        self._delimited = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take what was read. Raises httptools.HttpParserError where it is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete, self.reusable = True, False
        except httptools.HttpParserError:
            # What follows a whole answer is nobody's; only the connection is of no more use.
            if not self.complete:
                raise
            self.reusable = False

    def end(self) -> None:
        """Take note that the other side has ended the connection: that, too, can be the end of a body."""
        if self.status is not None and not self._delimited:
            self.complete = True
        self.reusable = False

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status is not None:  # a trailer
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self.headers.clear()
            return
        self.status = status
        coding = self.headers.get("transfer-encoding", "")
        self._delimited = "content-length" in self.headers or coding.lower().endswith("chunked")
        if self._bodiless:
            self.complete, self.reusable = True, self._delimited and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        if self.complete:
            self.reusable = False
            return
        self.body.append(body)

    def on_message_complete(self) -> None:
        if self.status is not None and not self.complete:
            self.complete, self.reusable = True, self._parser.should_keep_alive()


class Connection:
    """One connection to the target."""

    __slots__ = ("_idle_since_ns", "_look", "recv", "send_all", "sock", "used")

    def __init__(self, sock: socket.socket | SSLSocket) -> None:
        self.sock = sock
        self.recv = sock.recv
        self.send_all = sock.sendall
        self.used = False
        """Whether it has carried a request before."""
        self._idle_since_ns = 0
        self._look = _poll()
        self._look.register(sock.fileno(), select.POLLIN)

    def rest(self) -> None:
        """Take note that it is not in use from now on."""
        self.used = True
        self._idle_since_ns = time.monotonic_ns()

    def usable(self) -> bool:
        """Return whether it can be used again: it did not rest for long, and the other side has said nothing since.

        What could it say? That it has closed the connection.
        """
        return time.monotonic_ns() - self._idle_since_ns <= _IDLE_NS and not self._look.poll(0)

    def close(self) -> None:
        """Close it."""
        self.sock.close()


class Endpoint:
    """Where a target listens, and the connections to it that are kept.

    Args:
        host: its base URL; whatever path it has comes before the path of every request.
        target: names the headers of its requests.
    """

    def __init__(self, host: str, target: Target) -> None:
        parts = urlsplit(host)
        self._hostname = parts.hostname or ""
        secure = parts.scheme == "https"
        self._port = parts.port or (443 if secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = _tls() if secure else None
        self._addresses: list[tuple[Any, ...]] = []
        self._kept: list[Connection] = []
        given = {name.lower() for name in target.request.headers}
        self._ends = any(
            name.lower() == "connection" and value.lower() == "close" for name, value in target.request.headers.items()
        )
        name = f"[{self._hostname}]" if ":" in self._hostname else self._hostname.encode("idna").decode()
        ours = {
            "Host": f"{name}:{parts.port}" if parts.port else name,
            "User-Agent": "agent-harness",
            "Accept": "*/*",
        }
        self._own_headers = "".join(f"{name}: {value}\r\n" for name, value in ours.items() if name.lower() not in given)

    def written(self, request: RequestParts) -> bytes:
        """Return a request as it goes over the wire."""
        lines = [f"{request.method} {self._prefix}{request.path} HTTP/1.1\r\n{self._own_headers}"]
        lines += [
            f"{name}: {value}\r\n"
            for name, value in request.headers.items()
            if name.lower() not in ("content-length", "transfer-encoding")  # the body that is sent decides
        ]
        if request.body or request.method not in _WITHOUT_BODY:
            lines.append(f"Content-Length: {len(request.body)}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1") + request.body

    def take(self, within_s: float) -> Connection:
        """Return a kept connection that still stands, or a new one. Raises OSError."""
        while self._kept:
            # The last one first: under little load the others grow old, and are closed.
            connection = self._kept.pop()
            if connection.usable():
                return connection
            connection.close()
        return self.connect(within_s)

    def keep(self, connection: Connection) -> None:
        """Keep a connection whose answer was whole for the next request."""
        if self._ends:
            connection.close()
            return
        connection.rest()
        self._kept.append(connection)

    def connect(self, within_s: float, receive_window_bytes: int | None = None) -> Connection:
        """Return a new connection.

        Args:
            within_s: seconds until this is given up.
            receive_window_bytes: how much the other side may send ahead; None for what the system allows.

        Raises:
            TimeoutError: there was none in time.
            OSError: the name is unknown, or nobody listens at any of its addresses.
        """
        if not self._addresses:
            self._addresses = socket.getaddrinfo(self._hostname, self._port, type=socket.SOCK_STREAM)
        trouble: OSError | None = None
        for family, kind, protocol, _, address in self._addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                if receive_window_bytes is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_window_bytes)  # before it connects
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(within_s)
                sock.connect(address)
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_hostname=self._hostname)
                sock.settimeout(None)  # from here on the caller's deadline is the only one
            except TimeoutError as error:
                sock.close()
                msg = f"no connection within {within_s:g} s"
                raise TimeoutError(msg) from error
            except OSError as error:
                sock.close()
                trouble = error
            except BaseException:  # the caller's deadline, or the end of the run
                sock.close()
                raise
            else:
                return Connection(sock)
        assert trouble is not None
        raise trouble

    def close(self) -> None:
        """Close the kept connections."""
        while self._kept:
            self._kept.pop().close()


def _tls() -> SSLContext:
    """Return what a client of today asks of a server: a certificate for its name, of an authority the system trusts."""
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context
