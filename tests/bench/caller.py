"""How is a server called that answers in microseconds? Ready-made bytes over kept connections, with little of its own.

A talk is a generator: it yields the bytes of a request and is sent the body of the answer. Each talk has a connection
of its own, so that as many calls are under way as there are talks.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import cast

from tests.bench.figure import BenchError

Talk = Generator[bytes, bytes, None]


@dataclass
class Tally:
    """What came back so far."""

    calls: int = 0
    events: int = 0
    first_event_s: list[float] = field(default_factory=list)
    """From sending a request to the first event of its answer."""
    first_byte_s: list[float] = field(default_factory=list)
    """From sending a request to the first byte of the body of its answer."""
    whole_s: list[float] = field(default_factory=list)
    """From sending a request to the end of its answer."""
    refused: str = ""
    """The first answer that was not what was expected."""


@dataclass(frozen=True)
class Window:
    """What one window of a play was."""

    length_s: float
    calls: int
    events: int
    cpu_s: float
    tally: Tally


def post(path: str, body: bytes) -> bytes:
    """Return a POST of JSON, as an OpenAI client would send it, without what no stand-in looks at."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\n"
        f"openai-beta: assistants=v2\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(path: str) -> bytes:
    """Return a GET."""
    return (
        f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer sk-bench\r\n"
        "openai-beta: assistants=v2\r\n\r\n"
    ).encode()


class _Connection(asyncio.Protocol):
    """One connection, one call at a time."""

    def __init__(self, talk: Talk, tally: Tally, ended: asyncio.Event, expected: bytes) -> None:
        self._talk = talk
        self._tally = tally
        self._expected = b"http/1.1 " + expected
        self.ended = ended
        self.over = False
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._body_at = -1
        self._length: int | None = None
        self._is_stream = False
        self._has_event = False
        self._has_byte = False
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which does not descend from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.is_set():
            self._tally.refused = self._tally.refused or f"the connection was lost ({exc})"
            self.ended.set()

    def begin(self) -> None:
        """Send the first request."""
        self._send(next(self._talk))

    def close(self) -> None:
        """End the connection, whatever is under way."""
        self.ended.set()
        if self._transport is not None:
            self._transport.abort()

    def _send(self, request: bytes) -> None:
        assert self._transport is not None
        self._received, self._body_at = b"", -1
        self._has_event = self._has_byte = False
        self._sent_s = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._body_at < 0:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._read_head(self._received[:end].lower())
            self._body_at = end + 4
            data = self._received[self._body_at :]
        elif self._is_stream:
            # Events are counted as they come and not kept; the last bytes say whether it is over.
            self._received = self._received[-8:] + data
        else:
            self._received += data
        if data and not self._has_byte:
            self._has_byte = True
            self._tally.first_byte_s.append(time.perf_counter() - self._sent_s)
        if self._is_stream:
            count = data.count(b"data: ")
            if count and not self._has_event:
                self._has_event = True
                self._tally.first_event_s.append(time.perf_counter() - self._sent_s)
            self._tally.events += count
        if self._length is None:
            if self._received.endswith(b"0\r\n\r\n"):
                self._answered()
        elif len(self._received) - self._body_at >= self._length:
            self._answered()

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(self._expected) and not self._tally.refused:
            self._tally.refused = self._received[:400].decode(errors="replace")
        at = head.find(b"\r\ncontent-length:")
        self._length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else None
        self._is_stream = b"text/event-stream" in head

    def _answered(self) -> None:
        self._tally.calls += 1
        self._tally.whole_s.append(time.perf_counter() - self._sent_s)
        request: bytes | None = None
        if not self.over:
            with contextlib.suppress(StopIteration):
                request = self._talk.send(self._received[self._body_at :])
        if request is None:
            self.ended.set()
        else:
            self._send(request)


async def _connect(port: int, talks: Sequence[Talk], tally: Tally, expected: bytes) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    connections = []
    for talk in talks:
        connection = _Connection(talk, tally, asyncio.Event(), expected)
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", port)  # type: ignore[misc]
        connections.append(connection)
    return connections


async def play(
    port: int, talks: Sequence[Talk], within_s: float = 60.0, expected: bytes = b"2", spread_s: float = 0.0
) -> Tally:
    """Play talks that end by themselves, all at the same time.

    Args:
        port: of the server, on loopback.
        talks: one for each connection.
        within_s: seconds that they may take.
        expected: how the status of every answer begins.
        spread_s: seconds over which they begin, evenly; 0: all in the same moment.

    Raises:
        BenchError: they did not end, or something was refused.
    """
    tally = Tally()
    connections = await _connect(port, talks, tally, expected)
    now_s = asyncio.get_running_loop().time()
    for number, connection in enumerate(connections):
        if spread_s:
            asyncio.get_running_loop().call_at(now_s + spread_s * number / len(connections), connection.begin)
        else:
            connection.begin()
    try:
        async with asyncio.timeout(within_s):
            for connection in connections:
                await connection.ended.wait()
    except TimeoutError as error:
        raise BenchError(f"127.0.0.1:{port}: {tally.calls} calls were answered within {within_s:g} s.") from error
    finally:
        for connection in connections:
            connection.close()
    _check(port, tally)
    return tally


async def play_for(
    port: int,
    talks: Sequence[Talk],
    cpu_s: Callable[[], float],
    *,
    warm_s: float,
    window_s: float,
    most_calls: int,
    expected: bytes = b"2",
) -> Window:
    """Play talks that never end for a while.

    Args:
        port: of the server, on loopback.
        talks: one for each connection.
        cpu_s: returns the CPU seconds that the server has used so far.
        warm_s: seconds before the window.
        window_s: seconds that are looked at.
        most_calls: the window ends after so many calls at the latest.
        expected: how the status of every answer begins.

    Raises:
        BenchError: something was refused, or nothing answered.
    """
    tally = Tally()
    connections = await _connect(port, talks, tally, expected)
    for connection in connections:
        connection.begin()
    await asyncio.sleep(warm_s)
    began_s, began_cpu_s, calls, events = time.perf_counter(), cpu_s(), tally.calls, tally.events
    # An event would have to be looked at with every answer.
    while time.perf_counter() - began_s < window_s and tally.calls - calls < most_calls and not tally.refused:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    ended_s, ended_cpu_s = time.perf_counter(), cpu_s()
    window = Window(ended_s - began_s, tally.calls - calls, tally.events - events, ended_cpu_s - began_cpu_s, tally)
    for connection in connections:
        connection.over = True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2.0):
            for connection in connections:
                await connection.ended.wait()
    for connection in connections:
        connection.close()
    _check(port, tally)
    if not window.calls:
        raise BenchError(f"127.0.0.1:{port} answered nothing within {window_s:g} s.")
    return window


def _check(port: int, tally: Tally) -> None:
    if tally.refused:
        raise BenchError(f"127.0.0.1:{port} answered otherwise than expected: {tally.refused}")
