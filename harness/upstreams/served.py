"""What carries an upstream's replies over real sockets? HTTP/1.1 on httptools, and listeners that can go away.

A reply's steps become bytes, timers and socket actions here and nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from http import HTTPStatus
from threading import Event
from typing import TYPE_CHECKING, Literal, Protocol, cast
from urllib.parse import unquote

import httptools

from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.web_socket import WebSocket

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Site is overloaded"}
_STATUS_LINES = {status: f"HTTP/1.1 {status} {reason}" for status, reason in _REASONS.items()}
_NAMES_KEPT = 1024
_LONGEST_NAME_KEPT = 100
_SWITCHING_PROTOCOLS = 101
LARGEST_BODY_BYTES = 64 * 1024 * 1024
_AT_ONCE_BYTES = 256 * 1024
"""How much of one reply is sent before the event loop looks after other connections."""
_COPIED_BYTES = 64 * 1024
"""Pieces that come to less are copied together and written as one; larger ones are not copied: 270 kB took 20 us."""
_NO_WAIT = wire.Wait(0.0)
_WORKS_AT_ONCE = 2
"""Works that are done beside the event loop. They keep a processor each, and hold what they make in memory."""


class Call(Protocol):
    """One call that a handler has taken; `Exchange` is one."""

    reply: wire.Reply | None
    fault: str | None
    fault_id: str | None


class Handler(Protocol):
    """Who answers the requests that arrive at one port."""

    def begin(self, request: wire.Request) -> Call:
        """Return the call with its reply."""

    def finish(
        self,
        call: Call,
        *,
        status: int | None,
        response_bytes: int,
        client_gone: bool,
        send: Callable[[], None] | None = None,
    ) -> None:
        """Hear how the call ended.

        Args:
            call: which `begin` returned.
            status: what was answered; None: nothing was.
            response_bytes: how much of the body is sent.
            client_gone: whether its caller left before.
            send: sends what is left of the answer; to be called once, before other connections are read again, when
                whatever is to be kept of the call is kept. None: nothing more is sent.
        """

    def garbled(self) -> None:
        """Hear that what arrived is no HTTP; it is refused."""

    def go_down(self, seconds: float, fault: str) -> None:
        """Take the port's server down for so long; calls that are under way end by this fault."""


class Unrecorded:
    """What answers and keeps nothing of it: the half of a `Handler` that hears what became of its calls."""

    def finish(
        self,
        call: Call,
        *,
        status: int | None,
        response_bytes: int,
        client_gone: bool,
        send: Callable[[], None] | None = None,
    ) -> None:
        """Nothing has to be kept before the rest is sent."""
        if send is not None:
            send()

    def garbled(self) -> None:
        """It is not kept either."""

    def go_down(self, seconds: float, fault: str) -> None:
        """It never does: no fault is armed here."""


_NO_HTTP_SAID = b"No HTTP/1.1 here: letters beyond ASCII, for one, are written %E3%81%82 in a path or a query.\n"
_NO_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
    % (
        len(_NO_HTTP_SAID),
        _NO_HTTP_SAID,
    )
)


@lru_cache(maxsize=1)
def _date_line(now_s: int) -> str:
    # English whatever the machine speaks: no locale is set in this process. (email.utils is 10 ms of a start.)
    return f"\r\ndate: {time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(now_s))}"


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_WORKS_AT_ONCE, thread_name_prefix="upstreams-work")


class Connection(asyncio.Protocol):
    """One connection: requests are answered one after the other, in the order of their arrival."""

    def __init__(self, handler: Handler, connections: set[Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._sent_headers: dict[bytes, bytes] = {}
        """Of the request that is being read, as they were sent."""
        self.on_header: Callable[[bytes, bytes], None] = self._sent_headers.__setitem__
        """What the parser calls for each header: nothing of ours runs until the last of them is there."""
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._waiting: deque[tuple[wire.Request, bool]] = deque()
        self._call: Call | None = None
        self._steps: Iterator[wire.Step] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._give_up_work: Callable[[], None] | None = None
        """Ends what is being done beside the event loop before the answer goes on."""
        self._due_s = 0.0
        self._keep_alive = True
        self._is_head = False
        self._chunked = False
        self._status: int | None = None
        self._sent_bytes = 0
        self._writable = True
        self.hangs_on: str | None = None
        """Id of the fault on which the answer hangs."""
        self._early: bytes | None = None
        """What came behind a request to speak another protocol, which is not answered yet."""
        self._last: tuple[list[bytes], int] | None = None
        """What is left of an answer whose call is not on record yet, and how much of the body that is."""
        self._is_refused = False
        """Whether what came behind the requests is no HTTP: nothing more is read, and the last answer says so."""
        self._dialogue: wire.Dialogue | None = None
        self._web_socket: WebSocket | None = None

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._web_socket is not None:
            self._web_socket.receive(data)
            return
        if self._is_refused:
            return
        if self._early is not None:
            self._early += data
            if len(self._early) > LARGEST_BODY_BYTES:
                self._refuse_bytes()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = data[upgrade.args[0] :]
            if not self.is_answering:
                self._read_on()
        except httptools.HttpParserCallbackError:
            # A mistake of ours, not of the caller.
            traceback.print_exc()
            self.reset()
        except httptools.HttpParserError:
            self._refuse_bytes()

    def eof_received(self) -> bool:
        """End the connection, and with it the answer that is being made.

        A caller that closes and one that only half-closes look the same until something is sent to them. Servers that
        look after their callers (uvicorn, hyper, nginx before another server) take both for one who has left; those
        that answer a half-closed connection notice nobody's leaving before they have done all the work. No HTTP client
        half-closes while it waits, so the first is what agents meet, and what a leaving caller saves is booked when it
        leaves. What was answered by then is sent: without latency, every answer that does not stream.
        """
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        self._last = None
        self._end_call(client_gone=True)
        self._waiting.clear()
        if self._web_socket is not None:
            self._web_socket.lost()

    def pause_writing(self) -> None:
        self._writable = False
        if self._web_socket is not None:
            self._web_socket.pause_writing()

    def resume_writing(self) -> None:
        self._writable = True
        if self._web_socket is not None:
            self._web_socket.resume_writing()
        if self._steps is not None and self._timer is None and self._give_up_work is None and self.hangs_on is None:
            self._go_on()

    # --- httptools ---------------------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_headers_complete(self) -> None:
        # Callers send the same few names with every request.
        self._headers = {
            _NAMES.get(name) or _name(name): value.decode("latin-1") for name, value in self._sent_headers.items()
        }
        self._sent_headers.clear()
        expected = self._headers.get("expect")
        if expected is not None and expected.lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > LARGEST_BODY_BYTES:
            self._refuse_bytes()
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        # Trailers, which may stand behind a body in chunks, are no headers of this request, nor of the next.
        self._sent_headers.clear()
        if self._is_refused:
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        body = self._body
        request = wire.Request(
            self._parser.get_method().decode("latin-1"),
            unquote(path) if "%" in path else path,
            query,
            self._headers,
            body[0] if len(body) == 1 else b"".join(body),
        )
        self._url, self._headers, self._body, self._body_bytes = b"", {}, [], 0
        keep_alive = self._parser.should_keep_alive()
        if self.is_answering:
            self._waiting.append((request, keep_alive))
        else:
            self._begin(request, keep_alive)

    # --- answering ---------------------------------------------------------------------------------------------------

    def _begin(self, request: wire.Request, keep_alive: bool) -> None:
        self._keep_alive = keep_alive
        self._is_head = request.method == "HEAD"
        self._status = None
        self._sent_bytes = 0
        self._chunked = False
        call = self._call = self._handler.begin(request)
        reply = call.reply
        assert reply is not None
        if reply.script is None:
            if reply.after_s > 0:
                self._timer = self._loop.call_later(reply.after_s, self._send_whole, reply)
            else:
                self._send_whole(reply)
        else:
            self._steps = iter(reply.script) if not self._is_head else _without_body(reply.script)
            self._due_s = self._loop.time()
            self._go_on()

    def _send_whole(self, reply: wire.Reply) -> None:
        """Send head and body in one piece: the usual case, and the fast one."""
        self._timer = None
        if self._transport is None:
            return
        self._status = reply.status
        self._sent_bytes = 0 if self._is_head else len(reply.body)
        self._end_with(self._whole(reply), self._sent_bytes)

    def _end_with(self, last: list[bytes], size_bytes: int) -> None:
        """End the call, and send the last of its answer as soon as the call is on record.

        Whoever has the answer finds the call in the ledger, even if we are killed then.
        """
        self._last = last, size_bytes
        self._end_call(client_gone=False, send=self._send_last)

    def _send_last(self) -> None:
        last, self._last = self._last, None
        if last is None or self._transport is None:
            return
        _write(self._transport, *last)
        self._next()

    def _go_on(self) -> None:
        """Carry out steps until one takes time, the transport is full, or the reply is over."""
        self._timer = None
        while self._steps is not None and self._transport is not None and self._writable:
            try:
                due, due_bytes, then = self._what_is_due(self._steps)
            except Exception:
                traceback.print_exc()
                self.reset()
                return
            if then is None:
                self._end_with(due, due_bytes)
                return
            _write(self._transport, due, due_bytes)
            if isinstance(then, wire.Wait):
                self._timer = self._loop.call_at(self._due_s, self._go_on)
                return
            if self._ends_by(then):
                return

    def _what_is_due(self, steps: Iterator[wire.Step]) -> tuple[list[bytes], int, wire.Step | None]:
        """Return what is due by now, how much of the body it is, and what comes then; None: the reply is over."""
        due: list[bytes] = []
        bodies: list[bytes] = []
        due_bytes = 0
        then: wire.Step | None = None
        for step in steps:
            if isinstance(step, wire.Data):
                bodies.append(step.body)
                due_bytes += len(step.body)
                if due_bytes < _AT_ONCE_BYTES:
                    continue
                # Others have their turn before there is more, however fast the caller reads.
                then = _NO_WAIT
            elif isinstance(step, wire.Wait):
                # Waits add up from the beginning of the call: what is late now is not late for ever.
                self._due_s += step.seconds
                if self._due_s <= self._loop.time():
                    continue
                then = step
            elif isinstance(step, wire.Head):
                due += self._data(bodies)
                bodies = []
                self._status = step.status
                self._chunked = step.length is None and not self._is_head
                due += self._head(step)
                continue
            elif isinstance(step, wire.End):
                due += self._data(bodies) + self._end()
                bodies = []
                continue
            else:
                then = step
            break
        if bodies:
            due += self._data(bodies)
        if then is None:
            due += self._end()
        self._sent_bytes += due_bytes
        return due, due_bytes, then

    def _ends_by(self, step: wire.Step) -> bool:
        """Do to the connection what a step says, and return whether nothing comes after it by itself."""
        assert self._transport is not None
        if isinstance(step, wire.Work):
            self._let_work(step)
            return True
        if isinstance(step, wire.Upgrade):
            self._dialogue = step.dialogue
            return False
        if isinstance(step, wire.HalfClose):
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._keep_alive = False
            return False
        if isinstance(step, wire.Hang):
            self.hangs_on = self._call.fault_id if self._call is not None and step.ends_when_lifted else None
            self._steps = None
        elif isinstance(step, wire.Reset):
            self.reset()
        elif isinstance(step, wire.Close):
            self._end_call(client_gone=False)
            self._transport.close()
        elif isinstance(step, wire.GoDown):
            fault = (self._call.fault if self._call is not None else None) or "crash"
            self._end_call(client_gone=False)
            self._handler.go_down(step.seconds, fault)
        return True

    def _let_work(self, work: wire.Work) -> None:
        """Do a work beside the event loop, and go on when it is done."""
        is_given_up = Event()
        doing = self._loop.run_in_executor(_workers(), work.do, is_given_up.is_set)

        def give_up() -> None:
            # Not by a callback of the future: where the loop ends, none is called any more.
            is_given_up.set()
            doing.cancel()

        def over(done: asyncio.Future[None]) -> None:
            if done.cancelled():
                return
            self._give_up_work = None
            error = done.exception()
            if error is None:
                self._go_on()
            else:
                traceback.print_exception(error)
                self.reset()

        self._give_up_work = give_up
        doing.add_done_callback(over)

    def _wait_for_nothing(self) -> None:
        """Give up the timer or the work that the answer would go on by."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._give_up_work is not None:
            self._give_up_work()
            self._give_up_work = None

    # --- how it is written -------------------------------------------------------------------------------------------

    def _whole(self, reply: wire.Reply) -> list[bytes]:
        """Return the bytes of a reply with a whole body."""
        head = self._head_bytes(reply.status, reply.headers, len(reply.body))
        return [head] if self._is_head else [head, reply.body]

    def _head(self, head: wire.Head) -> list[bytes]:
        """Return the bytes of a status line and headers, with those that say where the body ends."""
        return [self._head_bytes(head.status, head.headers, head.length)]

    def _head_bytes(self, status: int, headers: tuple[tuple[str, str], ...], length: int | None) -> bytes:
        # Joined as they are: half of what a loop over them costs.
        lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status} Unknown", *map(": ".join, headers)]
        if status != _SWITCHING_PROTOCOLS:
            lines.append("transfer-encoding: chunked" if length is None else f"content-length: {length}")
            if not self._keep_alive:
                lines.append("connection: close")
        written = "\r\n".join(lines)
        date = "" if "\r\ndate: " in written else _date_line(int(time.time()))  # a fault may have given another one
        return f"{written}{date}\r\n\r\n".encode("latin-1")

    def _data(self, bodies: list[bytes]) -> list[bytes]:
        """Return the bytes of pieces of the body."""
        if not self._chunked:
            return bodies
        # A chunk of length 0 would be the last one.
        return [b"%x\r\n%b\r\n" % (len(body), body) for body in bodies if body]

    def _end(self) -> list[bytes]:
        """Return the bytes that end the body."""
        if not self._chunked:
            return []
        self._chunked = False
        return [b"0\r\n\r\n"]

    # --- what comes then ---------------------------------------------------------------------------------------------

    def _become_web_socket(self, transport: asyncio.Transport, dialogue: wire.Dialogue) -> None:
        # Imported here: most processes never need it, and it takes a tenth of their start.
        from harness.upstreams.web_socket import WebSocket

        self._web_socket = WebSocket(transport, dialogue, self._handler, self._connections)
        self._read_on()

    def _read_on(self) -> None:
        """Read what came behind an offer to speak another protocol: as that, or, where it was not taken up, as HTTP."""
        early, self._early = self._early, None
        if self._web_socket is None:
            self._parser = httptools.HttpRequestParser(self)
        if early:
            self.data_received(early)

    def _next(self) -> None:
        """Go on behind a reply that is over."""
        if self._transport is None:
            return
        if self._dialogue is not None:
            self._become_web_socket(self._transport, self._dialogue)
        elif not self._keep_alive:
            self._transport.close()
        elif self._waiting and self._call is None:
            self._begin(*self._waiting.popleft())
        elif self._is_refused:
            self._send_refusal()
        elif self._early is not None:
            self._read_on()

    def _end_call(self, *, client_gone: bool, send: Callable[[], None] | None = None) -> None:
        call, self._call = self._call, None
        self._steps = None
        self.hangs_on = None
        self._wait_for_nothing()
        if call is not None:
            self._handler.finish(
                call, status=self._status, response_bytes=self._sent_bytes, client_gone=client_gone, send=send
            )

    def _refuse_bytes(self) -> None:
        """Answer what is no HTTP request, behind the answers to all requests before it."""
        self._is_refused = True
        if not self.is_answering:
            self._send_refusal()

    def _send_refusal(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._handler.garbled()
            self._transport.write(_NO_HTTP)
            self._transport.close()

    def reset(self) -> None:
        """End the connection with a TCP RST."""
        self._end_call(client_gone=False)
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            # Linger 0: the kernel throws away what was not sent and says RST instead of FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way."""
        return self._call is not None

    @property
    def is_answering(self) -> bool:
        """Whether an answer is still to be sent: a call is under way, or is over and the last of its answer not sent.

        Requests wait only as long as it is.
        """
        return self._call is not None or self._last is not None

    def end_by(self, fault: str) -> None:
        """Reset the connection; a call that is under way ended by this fault."""
        if self._call is not None and self._call.fault is None:
            self._call.fault = fault
        self.reset()

    def freeze(self, reason: str, fault: str) -> None:
        """Read and write nothing any more; a call that is under way hangs on `reason` from now on."""
        if self._call is not None and self._call.fault is None:
            self._call.fault = fault
        self._wait_for_nothing()
        self._steps = None
        self.hangs_on = reason
        if self._transport is not None:
            self._transport.pause_reading()

    def close(self) -> None:
        """End the connection, whatever is under way."""
        self._end_call(client_gone=False)
        if self._transport is not None:
            self._transport.close()


_NAMES: dict[bytes, str] = {}
"""Names of headers as they were sent -> in small letters."""


def _name(sent: bytes) -> str:
    name = sent.decode("latin-1").lower()
    if len(_NAMES) < _NAMES_KEPT and len(sent) <= _LONGEST_NAME_KEPT:
        _NAMES[sent] = name
    return name


def _write(transport: asyncio.Transport, pieces: list[bytes], size_bytes: int) -> None:
    if size_bytes > _COPIED_BYTES:
        transport.writelines(pieces)
    elif pieces:
        transport.write(b"".join(pieces))


def _without_body(steps: Iterable[wire.Step]) -> Iterator[wire.Step]:
    """Return the steps of a reply to a HEAD: whatever a fault makes of the body, none is sent."""
    return (step for step in steps if not isinstance(step, wire.Data))


class PortInUseError(Exception):
    """A port cannot be listened at; the message says which and what to do."""


def _in_use(number: int, error: OSError) -> PortInUseError:
    return PortInUseError(
        f"Cannot listen at 127.0.0.1:{number}: {error.strerror}. Choose another --port, or 0 for free ones."
    )


class Port:
    """One port that can stop listening and begin again without losing its number.

    A second socket that is bound but does not listen holds the number while nobody listens: connecting to it is
    refused by the kernel, and no other process gets it.

    Args:
        number: the port; 0: a free one.
        handler: who answers.

    Raises:
        PortInUseError: somebody else listens there.
    """

    def __init__(self, number: int, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._listening: socket.socket | None = None
        self._silent: list[socket.socket] = []
        self._closed_by: dict[str, Literal["refused", "swallowed"]] = {}
        self._reopening: asyncio.Task[None] | None = None
        self._holder = _bound(number)
        self.number: int = self._holder.getsockname()[1]
        try:
            self._listen()
        except PortInUseError:
            self._holder.close()
            raise

    def _listen(self) -> None:
        listening = _bound(self.number)
        try:
            listening.listen(1024)
        except OSError as error:
            listening.close()
            raise _in_use(self.number, error) from error
        self._listening = listening

    async def serve(self) -> None:
        """Answer what arrives."""
        assert self._listening is not None
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._handler, self._connections), sock=self._listening, backlog=1024
        )

    @property
    def listens(self) -> bool:
        """Whether connections are taken."""
        return self._listening is not None

    def close_for(self, reason: str, fault: str) -> None:
        """Stop listening and reset all connections, until `open_for` is told the same reason.

        Args:
            reason: e.g. the id of a fault.
            fault: what calls that are under way are said to have ended by.
        """
        self._closed_by[reason] = "refused"
        self._settle()
        for connection in list(self._connections):
            connection.end_by(fault)

    def swallow_for(self, reason: str, fault: str) -> None:
        """Let whatever is sent disappear, until `open_for` is told the same reason; arguments as for `close_for`."""
        self._closed_by[reason] = "swallowed"
        self._settle()
        for connection in list(self._connections):
            connection.freeze(reason, fault)

    def open_for(self, reason: str) -> None:
        """Listen again, once no reason is left not to. The kernel takes connections from now on."""
        self._closed_by.pop(reason, None)
        self.release(reason)
        self._settle()

    def reopen(self) -> None:
        """Listen again, whatever the reasons were not to."""
        for reason in tuple(self._closed_by):
            self.open_for(reason)

    def _settle(self) -> None:
        """Make the sockets what the reasons say: listening, swallowing, or none."""
        reasons = set(self._closed_by.values())
        if reasons and self._listening is not None:
            if self._server is not None:
                self._server.close()
                self._server = None
            self._listening.close()
            self._listening = None
        is_silent = reasons == {"swallowed"}
        if self._silent and not is_silent:
            for one in self._silent:
                one.close()
            self._silent = []
        if is_silent and not self._silent:
            self._silent = self._full_queue()
        if not reasons and self._listening is None:
            self._listen()
            self._reopening = asyncio.get_running_loop().create_task(self.serve())

    def _full_queue(self) -> list[socket.socket]:
        """Return sockets that listen with a queue that is full, so that the kernel drops whoever else connects."""
        listening = _bound(self.number)
        listening.listen(0)
        sockets = [listening]
        for _ in range(4):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.number))
            sockets.append(filler)
        return sockets

    def release_all(self) -> None:
        """End the connections on which a call is under way; those that are idle stay."""
        for connection in list(self._connections):
            if connection.is_busy:
                connection.close()

    def release(self, fault_id: str) -> None:
        """End the connections that hang on a fault."""
        for connection in list(self._connections):
            if connection.hangs_on == fault_id:
                connection.close()

    def end(self) -> None:
        """Stop listening for good."""
        self.close_for("end", "shutdown")
        self._holder.close()


def _bound(number: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", number))
    except OSError as error:
        bound.close()
        raise _in_use(number, error) from error
    return bound
