"""What happens to one connection through the proxy? Two lines, each a bounded queue between a reader and a writer."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from harness.proxy.faults import Direction, Effect, LineFault, together
from harness.upstreams.chance import fraction

PIECE_BYTES = 64 * 1024
_LINE_BYTES = 512 * 1024
_LINE_PIECES = 1024
"""What is under way in one direction at most: who sends more is stopped, as by a full TCP window."""
_TICK_S = 0.02
"""A narrow line passes on what fits into this time, then waits for it."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Armed:
    """One fault in force; how many connections it has met, and how many it has hit."""

    def __init__(self, id_: str, fault: LineFault) -> None:
        self.id = id_
        self.fault = fault
        self.met = 0
        self.fired = 0
        self.is_lifted = False


class _Met:
    """A fault that has met a connection, and what has passed since."""

    def __init__(self, armed: Armed) -> None:
        self.armed = armed
        self.passed_bytes: dict[Direction, int] = {"up": 0, "down": 0}
        self.has_fired = False


class Link:
    """A connection of a caller, and the one to the upstream that belongs to it.

    Args:
        number: the caller's connections are counted from 1.
        seed: of random choices.
        caller: the streams from and to the caller.
        fired: is told (fault, number), once for each fault that hits this connection.
    """

    def __init__(self, number: int, seed: int, caller: Streams, fired: Callable[[Armed, int], None]) -> None:
        self.number = number
        self._seed = seed
        self._caller = caller
        self._upstream: Streams | None = None
        self._fired = fired
        self._met: list[_Met] = []
        self._changed = asyncio.Event()
        self._far_side_is_lost = False
        self._is_over = False
        self._task: asyncio.Task[None] | None = None

    def start(self, connect: Callable[[], Coroutine[Any, Any, Streams]]) -> asyncio.Task[None]:
        """Carry data in a task of its own; it ends with the connection, and raises where `connect` does."""
        self._task = asyncio.get_running_loop().create_task(self._carry(connect))
        return self._task

    async def _carry(self, connect: Callable[[], Coroutine[Any, Any, Streams]]) -> None:
        lines: list[asyncio.Task[None]] = []
        try:
            for direction in _WAYS:
                self._strike(direction)
            # Not past a cancellation: a connection that was reset on arrival asks nothing of the upstream.
            await asyncio.sleep(0)
            if self._far_side_is_lost:
                await self._stay_silent()
                return
            self._upstream = await self._connected(connect)
            if self._far_side_is_lost:  # meanwhile
                self._upstream[1].close()
            up = _Line(self, "up", self._caller[0], self._upstream[1])
            down = _Line(self, "down", self._upstream[0], self._caller[1])
            loop = asyncio.get_running_loop()
            lines = [loop.create_task(work) for line in (up, down) for work in (line.read(), line.write())]
            await asyncio.gather(*lines)
        except OSError:
            # One side was reset, or cannot be reached: the other is to see the same.
            self.reset()
            raise
        except asyncio.CancelledError:
            self._is_over = True
            # Whatever a side has not read yet is thrown away, or its connection would stay for as long as it likes.
            for writer in self._writers:
                writer.transport.abort()
            raise
        finally:
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)
            for writer in self._writers:
                writer.close()

    async def _connected(self, connect: Callable[[], Coroutine[Any, Any, Streams]]) -> Streams:
        connecting = asyncio.get_running_loop().create_task(connect())

        def abort(done: asyncio.Task[Streams]) -> None:
            if not done.cancelled() and done.exception() is None:
                _abort(done.result()[1])

        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # The upstream may have the connection already: it is to see a RST too.
            connecting.add_done_callback(abort)
            raise

    async def _stay_silent(self) -> None:
        """Take what the caller sends to an upstream that is gone, until the caller leaves."""
        while await self._caller[0].read(PIECE_BYTES):
            if self.far_side_is_back:
                self.reset()

    def end(self) -> None:
        """End the connection, whatever is under way."""
        if self._task is not None:
            self._task.cancel()

    def reset(self) -> None:
        """End the connection by a TCP RST to both sides."""
        self._is_over = True
        for writer in self._writers:
            _abort(writer)
        self.end()

    @property
    def is_over(self) -> bool:
        """Whether the connection has ended; its tasks are about to."""
        return self._is_over

    @property
    def _writers(self) -> list[asyncio.StreamWriter]:
        return [streams[1] for streams in (self._caller, self._upstream) if streams is not None]

    # --- faults ------------------------------------------------------------------------------------------------------

    def meet(self, armed: Armed) -> None:
        """Let a fault meet this connection; its seed may spare it."""
        fault = armed.fault
        if fault.times is not None and armed.met >= fault.times:
            return
        if fault.probability < 1.0 and fraction(self._seed, armed.id, self.number) >= fault.probability:
            return
        armed.met += 1
        self._met.append(_Met(armed))

    def heed(self) -> None:
        """Act on faults that were armed or lifted just now."""
        self._met = [met for met in self._met if not met.armed.is_lifted]
        for direction in _WAYS:
            self._strike(direction)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def something_changes(self) -> None:
        """Wait until a fault is armed or lifted."""
        await self._changed.wait()

    def effect(self, direction: Direction, piece: int) -> Effect:
        """Return what happens to a piece that is sent this way now.

        Args:
            direction: which way.
            piece: its number, for what is drawn for each.
        """
        effects = []
        for met, effect in self._effects(direction, piece):
            effects.append(effect)
            if effect.delay_s > 0 or effect.bytes_per_s < math.inf or effect.holds:
                self._fire(met)
        return together(effects)

    def bytes_before_reset(self, direction: Direction) -> float:
        """Return how many bytes may still pass this way."""
        effects = self._effects(direction)
        return min(
            (effect.resets_after_bytes - met.passed_bytes[direction] for met, effect in effects), default=math.inf
        )

    def count(self, direction: Direction, passed_bytes: int) -> None:
        """Count bytes that have passed; a reset may be due by them."""
        for met in self._met:
            met.passed_bytes[direction] += passed_bytes
        self._strike(direction)

    @property
    def far_side_is_lost(self) -> bool:
        """Whether the upstream's side is gone."""
        return self._far_side_is_lost

    @property
    def far_side_is_back(self) -> bool:
        """Whether the upstream's host, having been gone, answers again: it knows nothing of this connection."""
        return self._far_side_is_lost and not any(effect.loses_far_side for _, effect in self._effects("up"))

    def _effects(self, direction: Direction, piece: int = 0) -> list[tuple[_Met, Effect]]:
        return [
            (met, met.armed.fault.effect(fraction(self._seed, met.armed.id, self.number, direction, piece)))
            for met in self._met
            if met.armed.fault.concerns(direction)
        ]

    def _strike(self, direction: Direction) -> None:
        """Do to the connection itself what is due by now."""
        for met, effect in self._effects(direction):
            if effect.resets_after_bytes <= met.passed_bytes[direction]:
                self._fire(met)
                self.reset()
            elif effect.loses_far_side:
                self._fire(met)
                self._far_side_is_lost = True
                if self._upstream is not None:
                    self._upstream[1].close()

    def _fire(self, met: _Met) -> None:
        if not met.has_fired:
            met.has_fired = True
            self._fired(met.armed, self.number)


_WAYS: tuple[Direction, Direction] = ("up", "down")


class _Line:
    """One direction of a link: pieces wait here until they are due."""

    def __init__(
        self, link: Link, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._link = link
        self._direction = direction
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()

    async def read(self) -> None:
        """Take what is sent, as long as there is room; an empty piece is the end."""
        number, due_s, data = 0, 0.0, b" "
        while data:
            data = await self._reader.read(PIECE_BYTES)
            if self._link.far_side_is_lost:
                if self._direction == "down":
                    return  # what still comes from a host that is gone does not arrive, its end neither
                if self._link.far_side_is_back:
                    self._link.reset()
                elif not data:
                    self._link.end()
                continue  # taken, and lost
            number += 1
            due_s = max(due_s, self._loop.time() + self._link.effect(self._direction, number).delay_s)
            await self._put(due_s, data)

    async def _put(self, due_s: float, data: bytes) -> None:
        while self._bytes >= _LINE_BYTES or len(self._under_way) >= _LINE_PIECES:
            self._emptied.clear()
            await self._emptied.wait()
        self._under_way.append((due_s, data))
        self._bytes += len(data)
        self._filled.set()

    async def write(self) -> None:
        """Pass on what is due, as wide as the line is."""
        number, data = 0, b" "
        while data:
            while not self._under_way:
                self._filled.clear()
                await self._filled.wait()
            due_s, data = self._under_way[0]
            number += 1
            if due_s > self._loop.time():
                await asyncio.sleep(due_s - self._loop.time())
            await self._pass_on(data, number)
            self._under_way.popleft()
            self._bytes -= len(data)
            self._emptied.set()

    async def _pass_on(self, data: bytes, number: int) -> None:
        left = memoryview(data)
        while True:
            effect = self._link.effect(self._direction, number)
            if effect.holds:
                await self._link.something_changes()
                continue
            if self._link.far_side_is_lost or self._link.is_over:
                return
            if not left:
                break
            size = min(
                len(left), max(1.0, effect.bytes_per_s * _TICK_S), self._link.bytes_before_reset(self._direction)
            )
            piece, left = left[: int(size)], left[int(size) :]
            self._writer.write(piece)
            await self._writer.drain()
            self._link.count(self._direction, len(piece))
            if effect.bytes_per_s < math.inf:
                await asyncio.sleep(len(piece) / effect.bytes_per_s)
        if not data and self._writer.can_write_eof():
            with contextlib.suppress(OSError):  # the other side has gone meanwhile
                self._writer.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    # Linger 0: the kernel throws away what was not sent and says RST instead of FIN.
    with contextlib.suppress(OSError):  # it may have gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
