"""Where does an HTTP/1.1 message end? Enough of the format to pass messages on byte for byte, and nothing more."""

from __future__ import annotations

from typing import NamedTuple, Protocol

HEAD_BYTES = 64 * 1024
"""The longest head that is read, as of common proxies."""
_BODILESS = (204, 304)
_LINE_BYTES = 4096


class FramingError(ValueError):
    """It is no HTTP/1.1 message."""


class Body(Protocol):
    """The rest of a message, as it comes in piece by piece."""

    done: bool
    """Nothing more belongs to the message."""

    def take(self, data: bytes) -> int:
        """Return how many of these bytes belong to the message. Raises FramingError."""
        ...


class Measured:
    """A body of a length that is known."""

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def take(self, data: bytes) -> int:
        taken = min(self._left, len(data))
        self._left -= taken
        self.done = self._left == 0
        return taken


class UntilClosed:
    """A body that ends with its connection."""

    done = False

    def take(self, data: bytes) -> int:
        return len(data)


class Chunked:
    """A body in chunks, each with its size before it; the one of size 0 and its trailers end it."""

    def __init__(self) -> None:
        self.done = False
        self._line = b""
        self._left = 0
        """Bytes of the chunk, and of the line break after it, that are still to come."""
        self._in_trailers = False

    def take(self, data: bytes) -> int:
        at = 0
        while at < len(data) and not self.done:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            end = data.find(b"\n", at)
            step = (end + 1 if end >= 0 else len(data)) - at
            self._line += data[at : at + step]
            at += step
            if len(self._line) > _LINE_BYTES:
                msg = "a chunk's size is not where it was expected"
                raise FramingError(msg)
            if end >= 0:
                line, self._line = self._line.strip(), b""
                self._end_of_line(line)
        return at

    def _end_of_line(self, line: bytes) -> None:
        if self._in_trailers:
            self.done = not line
            return
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError:
            msg = "a chunk's size is no hexadecimal number"
            raise FramingError(msg) from None
        self._in_trailers = size == 0
        self._left = size + 2 if size else 0


class RequestHead(NamedTuple):
    """What a request's head says."""

    method: str
    body: Body
    keeps_open: bool


class ResponseHead(NamedTuple):
    """What a response's head says."""

    is_final: bool
    """False for an interim answer (100 Continue), which another one follows."""
    body: Body
    keeps_open: bool


def request_head(head: bytes) -> RequestHead:
    """Read a request's head, its empty line included. Raises FramingError."""
    start, fields = _fields(head)
    method, _, rest = start.partition(" ")
    version = rest.rpartition(" ")[2]
    if not method.isalpha() or not version.startswith("HTTP/1."):
        msg = f"{start[:60]!r} is no request of HTTP/1"
        raise FramingError(msg)
    return RequestHead(method, _body(fields) or Measured(0), _keeps_open(version, fields))


def response_head(head: bytes, method: str) -> ResponseHead:
    """Read a response's head, its empty line included; `method` is the one it answers. Raises FramingError."""
    start, fields = _fields(head)
    version, _, rest = start.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
        msg = f"{start[:60]!r} is no response of HTTP/1"
        raise FramingError(msg)
    status = int(rest[:3])
    if status < 200:
        return ResponseHead(is_final=status == 101, body=UntilClosed(), keeps_open=status != 101)
    if method == "HEAD" or status in _BODILESS:
        return ResponseHead(is_final=True, body=Measured(0), keeps_open=_keeps_open(version, fields))
    body = _body(fields)
    if body is None:
        return ResponseHead(is_final=True, body=UntilClosed(), keeps_open=False)
    return ResponseHead(is_final=True, body=body, keeps_open=_keeps_open(version, fields))


def _fields(head: bytes) -> tuple[str, dict[str, str]]:
    start, *lines = head.decode("latin-1").strip("\r\n").split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            msg = f"{line[:60]!r} is no header field"
            raise FramingError(msg)
        fields[name.strip().lower()] = value.strip().lower()
    return start, fields


def _body(fields: dict[str, str]) -> Body | None:
    if "chunked" in fields.get("transfer-encoding", ""):
        return Chunked()
    length = fields.get("content-length")
    if length is None:
        return None
    if not length.isdecimal():
        msg = f"content-length is {length[:30]!r}, not a number"
        raise FramingError(msg)
    return Measured(int(length))


def _keeps_open(version: str, fields: dict[str, str]) -> bool:
    says = fields.get("connection", "")
    return "close" not in says if version != "HTTP/1.0" else "keep-alive" in says
