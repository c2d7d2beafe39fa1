"""What does an HTTP client live through when an upstream answers in-process? The same steps that a socket would carry.

Without a socket and without a thread of its own: a generator says when time has to pass, what arrives, and by which of
the transport's exceptions the call ends. `sync` and `async` callers drive the same generator.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Literal, Protocol

import httpx
import msgspec
import pytest

from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.testing.in_process import InProcess
    from harness.upstreams.exchange import Exchange

Interruption = Literal["closed", "reset", "frozen"]
"""What happens to a connection from outside, in the middle of a call."""


class Errors(Protocol):
    """The exceptions of a transport; the modules `httpcore` and `httpcore2` are two."""

    @property
    def ConnectError(self) -> type[Exception]: ...
    @property
    def ConnectTimeout(self) -> type[Exception]: ...
    @property
    def ReadError(self) -> type[Exception]: ...
    @property
    def ReadTimeout(self) -> type[Exception]: ...
    @property
    def RemoteProtocolError(self) -> type[Exception]: ...


class Patience(msgspec.Struct, frozen=True):
    """The time-outs of the client, in seconds; None: for ever."""

    connect_s: float | None = None
    read_s: float | None = None
    """Between two arrivals."""


class Pause(msgspec.Struct, frozen=True):
    """Nothing arrives for `seconds`; None: until something happens to the connection."""

    seconds: float | None


Arrival = wire.Head | bytes


class Flight:
    """One call, from connecting to its last byte.

    Args:
        home: where the upstreams are.
        upstream: which of them is called.
        request: what it is asked.
        errors: how the client's transport says what went wrong.
        patience: how long the client waits.
    """

    def __init__(
        self, home: InProcess, upstream: str, request: wire.Request, errors: Errors, patience: Patience
    ) -> None:
        self.upstream = upstream
        self.exchange: Exchange | None = None
        self.hangs_on: str | None = None
        """Id of the fault on which the answer hangs."""
        self.happened: Interruption | None = None
        self.is_at_door = True
        """Whether it has connected to nobody yet."""
        self.wake: Callable[[], None] = lambda: None
        """Ends the pause in which the driver is."""
        self._home = home
        self._request = request
        self._errors = errors
        self._patience = patience
        self._left_s = patience.read_s
        self._status: int | None = None
        self._length: int | None = None
        self._got_bytes = 0
        self._client_gone = False
        self._is_over = False
        self._life = self._live()

    def __iter__(self) -> Iterator[Pause | Arrival]:
        """Yield what happens next; ends by the transport's exception where the connection does not end well."""
        return self._life

    def interrupt(self, what: Interruption, fault: str | None = None) -> None:
        """Let something happen to the connection.

        Args:
            what: closed, reset, or frozen.
            fault: by which fault, where the call has none yet.
        """
        self.happened = what
        if fault is not None and self.exchange is not None and self.exchange.fault is None:
            self.exchange.fault = fault
        self.wake()

    def leave(self) -> None:
        """Let the client go away; after the last byte this does nothing."""
        if not self._is_over:
            self._client_gone = True
            self._life.close()

    # --- what a connection lives through -----------------------------------------------------------------------------

    def _live(self) -> Generator[Pause | Arrival]:
        try:
            self._home.enter(self)
            yield from self._connect()
            self.is_at_door = False
            steps = self._home.begin(self, self._request)
            while (step := self._home.next_step(steps)) is not None:
                self._heed()
                if isinstance(step, wire.Wait):
                    yield from self._pass(step.seconds)
                elif isinstance(step, wire.Work):
                    step.do(lambda: False)
                elif isinstance(step, wire.Head):
                    self._status, self._length = step.status, step.length
                    self._left_s = self._patience.read_s
                    yield step
                    if self._is_whole:
                        return
                elif isinstance(step, wire.Data):
                    if self._status is None:
                        raise self._errors.RemoteProtocolError("illegal status line")
                    yield from self._receive(step.body)
                    if self._is_whole:
                        return
                elif isinstance(step, wire.End):
                    return
                elif isinstance(step, wire.Hang):
                    fault_id = self.exchange.fault_id if self.exchange is not None else None
                    self.hangs_on = fault_id if step.ends_when_lifted else None
                    # Another thread may have lifted it before anything hung on it.
                    if self.hangs_on is not None and not self._home.is_in_force(self.hangs_on):
                        raise self._end_of_file()
                    yield from self._pass(None)
                elif isinstance(step, wire.Close | wire.HalfClose):
                    # Who only reads cannot tell a closed connection from one that is closed in one direction.
                    raise self._end_of_file()
                elif isinstance(step, wire.Reset):
                    raise self._reset()
                elif isinstance(step, wire.GoDown):
                    self._home.go_down(self, step.seconds)
                    raise self._reset()
            if self._length is not None or self._status is None:
                raise self._end_of_file()
        except GeneratorExit:
            self._client_gone = True
            raise
        finally:
            self._is_over = True
            self._home.finish(self, status=self._status, response_bytes=self._got_bytes, client_gone=self._client_gone)

    def _connect(self) -> Iterator[Pause]:
        left_s = self._patience.connect_s
        while (state := self._home.door(self.upstream)) != "open":
            if state == "refused":
                raise self._errors.ConnectError(f"[Errno {errno.ECONNREFUSED}] Connection refused")
            if left_s is not None and left_s <= 0.001:  # what a loop's timer may be early
                raise self._errors.ConnectTimeout("timed out")
            began_ns = self._home.now_ns()
            yield Pause(left_s)
            if left_s is not None:
                left_s -= (self._home.now_ns() - began_ns) / 1e9

    def _receive(self, body: bytes) -> Iterator[bytes]:
        if self._length is not None:
            # What exceeds the announced length belongs to no answer.
            body = body[: self._length - self._got_bytes]
        if body:
            self._got_bytes += len(body)
            self._left_s = self._patience.read_s
            yield body

    def _pass(self, seconds: float | None) -> Iterator[Pause]:
        """Let time pass; None: for ever. Raises where the client's patience or the connection ends before."""
        left_s = self._left_s
        too_long = left_s is not None and (seconds is None or seconds >= left_s)
        began_ns = self._home.now_ns()
        yield Pause(left_s if too_long else seconds)
        self._heed()
        if self.happened == "frozen":
            self.happened = None
            if left_s is not None:
                self._left_s = max(0.0, left_s - (self._home.now_ns() - began_ns) / 1e9)
            yield from self._pass(None)
        if too_long:
            self._client_gone = True
            raise self._because(TimeoutError("timed out"), self._errors.ReadTimeout)
        if left_s is not None and seconds is not None:
            self._left_s = left_s - seconds

    def _heed(self) -> None:
        """Raise where the connection has ended meanwhile."""
        if self.happened == "reset":
            raise self._reset()
        if self.happened == "closed":
            raise self._end_of_file()

    @property
    def _is_whole(self) -> bool:
        is_bodiless = self._request.method == "HEAD" or self._status in (204, 304)
        return is_bodiless or (self._length is not None and self._got_bytes >= self._length)

    def _reset(self) -> Exception:
        return self._because(ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), self._errors.ReadError)

    def _because(self, cause: OSError, kind: type[Exception]) -> Exception:
        error = kind(str(cause))
        # The transports' pools hide the cause of what happens before the head of the answer is there.
        error.__cause__ = cause if self._status is not None else None
        return error

    def _end_of_file(self) -> Exception:
        if self._status is None:
            return self._errors.RemoteProtocolError("Server disconnected without sending a response.")
        reason = (
            "incomplete chunked read"
            if self._length is None
            else f"received {self._got_bytes} bytes, expected {self._length}"
        )
        return self._errors.RemoteProtocolError(
            f"peer closed connection without sending complete message body ({reason})"
        )


# --- driving a flight ------------------------------------------------------------------------------------------------


class SyncFlight(httpx.SyncByteStream):
    """A flight whose caller is a thread; as a stream, the body of the answer."""

    def __init__(self, flight: Flight, home: InProcess) -> None:
        self._flight = flight
        self._home = home
        self._woken = threading.Event()
        flight.wake = self._woken.set

    def head(self) -> wire.Head:
        """Return the head of the answer."""
        arrival = self._next()
        assert isinstance(arrival, wire.Head)
        return arrival

    def __iter__(self) -> Iterator[bytes]:
        while (arrival := self._next()) is not None:
            assert isinstance(arrival, bytes)
            yield arrival

    def _next(self) -> Arrival | None:
        for what in self._flight:
            if not isinstance(what, Pause):
                return what
            self._woken.clear()
            if self._flight.happened is None:
                self._pause(what.seconds)
        return None

    def _pause(self, seconds: float | None) -> None:
        end_ns = self._home.after_ns(seconds)
        while not self._woken.is_set():
            left_s, due_s = self._home.until(end_ns)
            if due_s is None:
                if left_s is None and threading.current_thread() is threading.main_thread():
                    # BaseException: whoever catches every Exception would take it for an answer.
                    pytest.fail(_for_ever(self._flight.upstream), pytrace=False)
                self._home.clock.wait(left_s, self._woken)
                return
            self._home.clock.wait(due_s, self._woken)
            self._home.settle()

    def close(self) -> None:
        self._flight.leave()


class AsyncFlight(httpx.AsyncByteStream):
    """A flight whose caller is an asyncio task; as a stream, the body of the answer."""

    def __init__(self, flight: Flight, home: InProcess) -> None:
        self._flight = flight
        self._home = home
        self._woken = asyncio.Event()
        loop = asyncio.get_running_loop()
        home.clock.lead(loop)

        def wake() -> None:
            # A fault may be lifted by another thread, or after the loop has ended.
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._woken.set)

        flight.wake = wake

    async def head(self) -> wire.Head:
        """Return the head of the answer."""
        arrival = await self._next()
        assert isinstance(arrival, wire.Head)
        return arrival

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (arrival := await self._next()) is not None:
            assert isinstance(arrival, bytes)
            yield arrival

    async def _next(self) -> Arrival | None:
        try:
            for what in self._flight:
                if not isinstance(what, Pause):
                    return what
                self._woken.clear()
                if self._flight.happened is None:
                    await self._pause(what.seconds)
        except asyncio.CancelledError:
            self._flight.leave()
            raise
        return None

    async def _pause(self, seconds: float | None) -> None:
        end_ns = self._home.after_ns(seconds)
        while not self._woken.is_set():
            left_s, due_s = self._home.until(end_ns)
            if due_s is None:
                await self._home.clock.wait_async(left_s, self._woken)
                return
            await self._home.clock.wait_async(due_s, self._woken)
            self._home.settle()

    async def aclose(self) -> None:
        self._flight.leave()


def _for_ever(upstream: str) -> str:
    return (
        f"The upstream {upstream!r} hangs and the client has no time-out: a real caller would stand here for ever."
        " Give the client a time-out, or call from a task or thread of its own and lift the fault."
    )
