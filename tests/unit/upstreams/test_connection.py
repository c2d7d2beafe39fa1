"""The protocol on a transport that is no socket: what it does when we ourselves are wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.upstreams import served, wire
from harness.upstreams.served import Connection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Recorded:
    """A transport that keeps what is written, and a socket that takes every option."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.ended = ""

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "reset"

    def is_closing(self) -> bool:
        return bool(self.ended)

    def get_extra_info(self, name: str) -> Any:
        return self

    def setsockopt(self, *option: Any) -> None:
        pass


class Calls:
    """A handler that gives every request the same reply."""

    fault: str | None = None
    fault_id: str | None = "f1"

    def __init__(self, reply: wire.Reply) -> None:
        self.reply: wire.Reply | None = reply
        self.finished: list[dict[str, Any]] = []
        self.garbage = 0

    def begin(self, request: wire.Request) -> Calls:
        return self

    def finish(self, call: Any, *, send: Callable[[], None] | None = None, **how: Any) -> None:
        self.finished.append(how)
        if send is not None:
            send()

    def go_down(self, seconds: float, fault: str) -> None:
        pass

    def garbled(self) -> None:
        self.garbage += 1


def connected(reply: wire.Reply) -> tuple[Connection, Recorded, Calls]:
    calls, transport = Calls(reply), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(REQUEST)
    return connection, transport, calls


class Keeping(Calls):
    """A handler that keeps what is to be sent until the call is on record."""

    def __init__(self, reply: wire.Reply) -> None:
        super().__init__(reply)
        self.kept: list[Callable[[], None]] = []

    def finish(self, call: Any, *, send: Callable[[], None] | None = None, **how: Any) -> None:
        super().finish(call, send=None if send is None else lambda: self.kept.append(send), **how)


async def test_nothing_overtakes_an_answer_that_waits_for_its_record() -> None:
    calls, transport = Keeping(wire.Reply(200, b"x")), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(REQUEST + REQUEST + b"no HTTP\r\n\r\n")
    assert (transport.written, len(calls.kept)) == (b"", 1)
    calls.kept[0]()
    assert (transport.written.count(b"HTTP/1.1 200 OK\r\n"), transport.ended, len(calls.kept)) == (1, "", 2)
    calls.kept[1]()
    assert transport.written.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert b"No HTTP/1.1 here: " in transport.written
    assert calls.garbage == 1
    assert transport.ended == "closed"


async def test_a_body_that_is_too_large_is_refused_and_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "LARGEST_BODY_BYTES", 10)
    calls, transport = Calls(wire.Reply(200, b"x")), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n" + bytes(11) + REQUEST)
    connection.data_received(REQUEST)
    assert transport.written.count(b"HTTP/1.1 ") - 1 == transport.written.count(b"HTTP/1.1 400 ") == 1
    assert (transport.ended, calls.finished) == ("closed", [])


async def test_an_answer_whose_caller_leaves_while_it_waits_is_not_sent() -> None:
    calls, transport = Keeping(wire.Reply(200, b"x")), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(REQUEST)
    connection.connection_lost(None)
    calls.kept[0]()
    assert transport.written == b""
    assert calls.finished == [{"status": 200, "response_bytes": 1, "client_gone": False}]


async def test_a_reply_that_breaks_is_shown_and_ends_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> Iterator[wire.Step]:
        yield wire.Head(200, (), 10)
        raise KeyError("ours")

    _, transport, calls = connected(wire.scripted(broken()))
    assert transport.ended == "reset"
    assert "KeyError: 'ours'" in capsys.readouterr().err
    assert calls.finished == [{"status": 200, "response_bytes": 0, "client_gone": False}]


async def test_a_header_that_cannot_be_written_is_our_mistake_not_the_callers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, transport, _ = connected(wire.Reply(200, b"x", (("x-cat", "猫"),)))
    assert transport.ended == "reset"
    assert b"400" not in transport.written
    assert "UnicodeEncodeError" in capsys.readouterr().err


async def test_a_hang_is_not_ended_by_a_transport_that_takes_more() -> None:
    connection, transport, calls = connected(wire.scripted((wire.Hang(), wire.Head(200, (), 0))))
    connection.pause_writing()
    connection.resume_writing()
    assert transport.written == b""
    assert connection.hangs_on == "f1"
    connection.connection_lost(None)
    assert calls.finished == [{"status": None, "response_bytes": 0, "client_gone": True}]


async def test_nothing_is_sent_faster_than_it_is_taken() -> None:
    pieces = iter([wire.Head(200, (), 3), wire.Data(b"a"), wire.Data(b"b"), wire.Data(b"c")])
    calls, transport = Calls(wire.scripted(pieces)), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.pause_writing()
    connection.data_received(REQUEST)
    assert transport.written == b""
    connection.resume_writing()
    assert transport.written.endswith(b"\r\n\r\nabc")
    assert calls.finished == [{"status": 200, "response_bytes": 3, "client_gone": False}]


def stream(events: int, wait_s: float) -> Iterator[wire.Step]:
    yield wire.Head(200, (), None)
    for _ in range(events):
        yield wire.Data(b"event")
        yield wire.Wait(wait_s)


async def test_what_is_due_is_sent_in_one_piece_and_after_it_was_recorded() -> None:
    _, transport, calls = connected(wire.scripted(stream(50, 0.0)))
    assert transport.writes == 1
    assert transport.written.count(b"5\r\nevent\r\n") == 50
    assert transport.written.endswith(b"0\r\n\r\n")
    assert calls.finished == [{"status": 200, "response_bytes": 250, "client_gone": False}]


async def test_a_stream_that_fell_behind_catches_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    timers: list[float] = []
    monkeypatch.setattr(loop, "time", lambda: now_s)
    monkeypatch.setattr(loop, "call_at", lambda at_s, *_: timers.append(at_s))
    connection, transport, calls = connected(wire.scripted(stream(10, 1.0)))
    assert (transport.written.count(b"event"), timers) == (1, [now_s + 1])
    begin_s, now_s = now_s, now_s + 4.5
    connection._go_on()
    # Four were due by then; the sixth still is when it always was.
    assert (transport.written.count(b"event"), transport.writes) == (5, 2)
    assert timers == [begin_s + 1, begin_s + 5]
    assert not calls.finished


async def test_a_reply_without_end_gives_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless() -> Iterator[wire.Step]:
        yield wire.Head(200, (), None)
        while True:
            yield wire.Data(bytes(64 * 1024))

    connection, transport, _ = connected(wire.scripted(endless()))
    assert 64 * 1024 < len(transport.written) < 1024 * 1024
    goes_on = asyncio.Event()
    monkeypatch.setattr(transport, "writelines", lambda pieces: goes_on.set())
    async with asyncio.timeout(30):
        await goes_on.wait()
    connection.connection_lost(None)


class Heard(Calls):
    """A handler that keeps the headers of every request."""

    def __init__(self, reply: wire.Reply) -> None:
        super().__init__(reply)
        self.headers: list[dict[str, str]] = []

    def begin(self, request: wire.Request) -> Calls:
        self.headers.append(request.headers)
        return self


async def test_each_request_has_its_own_headers_by_their_last_word() -> None:
    calls, transport = Heard(wire.Reply(200, b"x")), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    connection.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nEXPECT: 100-Continue\r\nX-A: 1\r\nX-A: 2\r\nContent-Le")
    assert transport.written == b""
    connection.data_received(b"ngth: 1\r\n\r\n")
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.data_received(b"y" + REQUEST)
    assert calls.headers == [
        {"host": "x", "expect": "100-Continue", "x-a": "2", "content-length": "1"},
        {"host": "x"},
    ]


async def test_what_stands_behind_a_body_in_chunks_is_no_header() -> None:
    calls, transport = Heard(wire.Reply(200, b"x")), Recorded()
    connection = Connection(calls, set())
    connection.connection_made(transport)  # type: ignore[arg-type]
    chunked = (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\nHost: z\r\nX-B: 1\r\n\r\n"
    )
    connection.data_received(chunked + REQUEST)
    assert calls.headers == [{"host": "x", "transfer-encoding": "chunked"}, {"host": "x"}]
