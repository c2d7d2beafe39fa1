"""Which replica gets the next request? The balancer's process: every request goes to the next replica that is in.

    python -m harness.stack.round_robin PORT HEALTH_PATH REPLICA_PORT ...

HEALTH_PATH is empty where a replica has none: then an open port is enough. A replica that refuses a connection is out
at once, one that twice running does not answer its health path soon after; it is in again as soon as it answers. When
all are out, all are in: a balancer that knows nothing better still tries. Messages are passed on byte for byte.

A request that has been sent is never sent to another replica: nobody knows what the first one has done with it. Its
caller is told 502. A caller who hangs up hangs up on the replica.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import time
from collections.abc import Sequence

from harness.stack.framing import (
    HEAD_BYTES,
    Body,
    FramingError,
    RequestHead,
    UntilClosed,
    request_head,
    response_head,
)
from harness.stack.process import listening
from harness.telemetry import ask

_PIECE_BYTES = 64 * 1024
_CONNECT_WITHIN_S = 2.0
_PROBE_EVERY_S = 0.5
_PROBE_WITHIN_S = 2.0
_PROBES_MISSED = 2
"""In a row, that take a replica out. One alone may just have been busy."""
_IDLE_S = 2.0
"""A kept connection is used no longer than that after its last request: servers close theirs after 5 s, and a request
that meets the closing would be lost."""


class _Lost(Exception):
    """The other side is gone in the middle of a message."""


class Side:
    """One connection, to a caller or to a replica, with what has been read of it too early."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._early = b""
        self.idle_since_s = 0.0

    async def head(self) -> bytes | None:
        """Return the next message's head with its empty line; None when the other side has closed before one began."""
        while True:
            end = self._early.find(b"\r\n\r\n")
            if end >= 0:
                head, self._early = self._early[: end + 4], self._early[end + 4 :]
                return head
            if len(self._early) > HEAD_BYTES:
                msg = f"its head is longer than {HEAD_BYTES} bytes"
                raise FramingError(msg)
            if not await self.read_on():
                if self._early:
                    raise _Lost
                return None

    async def read_on(self) -> bool:
        """Read what comes next, to be used later; return False when the other side has closed."""
        data = await self._reader.read(_PIECE_BYTES)
        self._early += data
        return bool(data)

    async def pass_on(self, body: Body, to: Side) -> None:
        """Hand a body on as it comes in. Raises _Lost where it ends too early."""
        while not body.done:
            if not self._early and not await self.read_on():
                if isinstance(body, UntilClosed):
                    return
                raise _Lost
            taken = body.take(self._early)
            piece, self._early = self._early[:taken], self._early[taken:]
            await to.write(piece)

    async def write(self, data: bytes) -> None:
        """Send; waits for the other side to read."""
        self._writer.write(data)
        await self._writer.drain()

    @property
    def is_quiet(self) -> bool:
        """Whether it is open, and nothing that nobody asked for has come in."""
        return not (self._early or self._reader.at_eof() or self._writer.is_closing())

    def close(self) -> None:
        """Close it; what was written is still sent."""
        self._writer.close()


class Member:
    """One replica, as the balancer sees it."""

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.is_in = True
        self._missed = 0
        self._kept: list[Side] = []

    async def connect(self) -> Side:
        """Return a connection, a kept one if there is one. Raises OSError."""
        while self._kept:
            side = self._kept.pop()
            if side.is_quiet and time.monotonic() - side.idle_since_s < _IDLE_S:
                return side
            side.close()
        async with asyncio.timeout(_CONNECT_WITHIN_S):
            return Side(*await asyncio.open_connection("127.0.0.1", self.port))

    def keep(self, side: Side) -> None:
        """Take a connection back that is between two requests."""
        side.idle_since_s = time.monotonic()
        self._kept.append(side)

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._kept:
            self._kept.pop().close()

    def refused(self) -> None:
        """It does not take connections."""
        self._missed = _PROBES_MISSED
        self.is_in = False

    async def probe(self, health_path: str) -> None:
        """Ask it how it is."""
        if health_path:
            answer = await ask("127.0.0.1", self.port, health_path, within_s=_PROBE_WITHIN_S)
            well = answer.status is not None and 200 <= answer.status < 300
        else:
            well, _ = await listening(self.port)
        self._missed = 0 if well else self._missed + 1
        self.is_in = self._missed < _PROBES_MISSED


class Balancer:
    """Hands requests to replicas in turn.

    Args:
        ports: of the replicas, on 127.0.0.1.
        health_path: what they are asked, empty for nothing.
    """

    def __init__(self, ports: Sequence[int], health_path: str) -> None:
        self.members = [Member(number, port) for number, port in enumerate(ports)]
        self._health_path = health_path
        self._turns = itertools.cycle(self.members)

    async def watch(self) -> None:
        """Look after all replicas, for ever."""
        await asyncio.gather(*(self._watch(member) for member in self.members))

    async def _watch(self, member: Member) -> None:
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            await member.probe(self._health_path)

    def close(self) -> None:
        """Close the connections that are kept."""
        for member in self.members:
            member.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one caller's connection, request by request."""
        caller = Side(reader, writer)
        with contextlib.suppress(_Lost, OSError):
            try:
                while await self._serve_one(caller):
                    pass
            except FramingError as error:
                await caller.write(_answer("400 Bad Request", f"not understood: {error}"))
        caller.close()

    async def _serve_one(self, caller: Side) -> bool:
        """Serve one request; return whether another one may follow."""
        head = await caller.head()
        if head is None:
            return False
        request = request_head(head)
        member, replica = await self._connect()
        if member is None or replica is None:
            await caller.write(_answer("503 Service Unavailable", "no replica takes connections"))
            return False
        exchange = _Exchange(caller, replica, head, request)
        try:
            may_go_on = await exchange.play()
        except BaseException:
            replica.close()
            raise
        if may_go_on:
            member.keep(replica)
        else:
            replica.close()
        return may_go_on

    async def _connect(self) -> tuple[Member | None, Side | None]:
        """Return the next replica that is in, and a connection to it."""
        anybody = not any(member.is_in for member in self.members)
        for member in itertools.islice(self._turns, len(self.members)):
            if member.is_in or anybody:
                try:
                    return member, await member.connect()
                except OSError:  # a time-out among them
                    member.refused()
        return None, None


class _Exchange:
    """One request and its answer, both under way at once."""

    def __init__(self, caller: Side, replica: Side, head: bytes, request: RequestHead) -> None:
        self._caller = caller
        self._replica = replica
        self._head = head
        self._request = request
        self._has_begun = False
        """The caller has got something of an answer."""

    async def play(self) -> bool:
        """Pass both on; return whether both connections may be used again. Raises _Lost, OSError, FramingError."""
        up = asyncio.create_task(self._pass_request_on())
        down = asyncio.create_task(self._pass_answer_on())
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and up.done() and not up.exception() and not up.result():
                return False  # the caller has hung up
            # A replica may answer and hang up before it has read all: its answer counts.
            keeps_open = await down
            return keeps_open and self._request.body.done and self._request.keeps_open
        except (_Lost, OSError, FramingError):
            if self._has_begun:
                raise
            await self._caller.write(_answer("502 Bad Gateway", "the replica broke off before it answered"))
            return False
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.wait((up, down))
            for task in (up, down):
                if not task.cancelled():
                    task.exception()  # looked at

    async def _pass_request_on(self) -> bool:
        """Send the request, then watch the caller; return False when they hang up."""
        await self._replica.write(self._head)
        try:
            await self._caller.pass_on(self._request.body, self._replica)
        except _Lost:
            return False
        return await self._caller.read_on()

    async def _pass_answer_on(self) -> bool:
        """Pass the answer on; return whether the replica keeps its connection open."""
        while True:
            head = await self._replica.head()
            if head is None:
                raise _Lost
            response = response_head(head, self._request.method)
            self._has_begun = True
            await self._caller.write(head)
            if response.is_final:
                await self._replica.pass_on(response.body, self._caller)
                return response.keeps_open


def _answer(status: str, reason: str) -> bytes:
    body = f"balancer: {reason}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def main(port: int, health_path: str, ports: Sequence[int]) -> None:
    """Balance until the process ends."""
    balancer = Balancer(ports, health_path)
    server = await asyncio.start_server(balancer.serve, "127.0.0.1", port, limit=_PIECE_BYTES)
    async with server:
        await balancer.watch()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], [int(port) for port in sys.argv[3:]]))
