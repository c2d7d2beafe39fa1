"""What callers do wrong on purpose, on real sockets: what the other side sees of it, and what their samples say."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest
from gevent import socket

from harness.faults import Manner, parse
from harness.load.transport import Exchange, Transport
from harness.model import Outcome
from harness.target import parse_target
from tests.unit.load.server import ANSWER, Server

TARGET = parse_target({"reply": {"text": {"json": "reply"}, "audio": "none"}}, "")
TEXT = b'{"reply": "' + b"a" * 10_000 + b'"}'
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(TEXT) + TEXT
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(TEXT) + TEXT + b"\r\n0\r\n\r\n"


class Witness:
    """A server that gives an answer in pieces, with a pause before each, and notices when its client leaves."""

    def __init__(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        self.left_after_s: list[float] = []
        """Per connection: from its request to the moment when the client was gone."""
        self._pieces = pieces
        self._pause_s = pause_s
        self.server = Server(self._deed)

    def _deed(self, number: int, sock: Any) -> None:
        self.server.request(number, sock)
        began_s = time.monotonic()
        try:
            for piece in self._pieces:
                gevent.sleep(self._pause_s)
                sock.sendall(piece)
            while sock.recv(1):
                pass
        except OSError:
            pass
        self.left_after_s.append(time.monotonic() - began_s)

    def met_by(self, manner: Manner, deadline_s: float = 5.0) -> Exchange:
        """Have one request conducted in this manner, and wait until its client is gone."""
        with self.server.running(), gevent.Timeout(10):
            transport = Transport(TARGET, f"http://127.0.0.1:{self.server.port}", deadline_s)
            done = Exchange()
            transport.exchange("user_7", "hi", done, manner)
            transport.close()
            while not self.left_after_s:
                gevent.sleep(0.005)
        return done


def manner(fault: str, **fields: Any) -> Manner:
    record: Any = parse({"fault": fault, **fields})
    return record.manner  # type: ignore[no-any-return]


def test_a_caller_hangs_up_after_some_time() -> None:
    witness = Witness()

    done = witness.met_by(manner("hang_up", after_s=0.2))

    assert done.outcome is Outcome.ABANDONED
    assert done.error.startswith("hung up 0.2")
    assert done.error.endswith("on purpose")
    assert done.sent_ns is not None
    assert done.misbehaved_ns is not None
    assert (done.misbehaved_ns - done.sent_ns) / 1e9 >= 0.2
    assert witness.left_after_s[0] >= 0.19


def test_an_answer_that_is_whole_before_leaves_nothing_to_hang_up_on() -> None:
    done = Witness(ANSWER).met_by(manner("hang_up", after_s=3))

    assert (done.outcome, done.text, done.misbehaved_ns) == (Outcome.ANSWERED, "a", None)


def test_a_deadline_that_comes_first_is_the_targets() -> None:
    done = Witness(ANSWER, pause_s=1).met_by(manner("hang_up", after_s=0.5), deadline_s=0.1)

    assert (done.outcome, done.misbehaved_ns) == (Outcome.TIMEOUT, None)


def test_a_caller_hangs_up_at_the_first_byte() -> None:
    done = Witness(LONG).met_by(manner("hang_up", at="first_byte"))

    assert done.outcome is Outcome.ABANDONED
    assert done.misbehaved_ns is not None
    assert done.text == ""


@pytest.mark.parametrize("pieces", [(LONG,), (LONG[:60], LONG[60:3000], LONG[3000:7000], LONG[7000:]), (CHUNKED,)])
def test_a_caller_hangs_up_in_the_middle_of_the_body(pieces: tuple[bytes, ...]) -> None:
    done = Witness(*pieces, pause_s=0.02).met_by(manner("hang_up", at="mid_body"))

    assert (done.outcome, done.status) == (Outcome.ABANDONED, 200)
    assert done.first_byte_ns is not None
    assert done.misbehaved_ns is not None
    assert done.misbehaved_ns >= done.first_byte_ns


def test_a_caller_who_would_leave_in_the_middle_hears_a_refusal_out() -> None:
    done = Witness(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n").met_by(
        manner("hang_up", at="mid_body")
    )

    assert (done.outcome, done.misbehaved_ns) == (Outcome.REFUSED, None)


def test_a_caller_reads_slowly_and_takes_as_long_as_that() -> None:
    done = Witness(LONG).met_by(manner("read_slowly", bytes_per_s=20_000))

    assert done.outcome is Outcome.ANSWERED
    assert done.misbehaviour == "read 20000 bytes a second"
    assert done.sent_ns is not None
    # The last sip is not waited for.
    assert (done.end_ns - done.sent_ns) / 1e9 >= (len(LONG) - 2_000) / 20_000 - 0.01


def test_the_server_is_held_up_by_who_reads_slowly() -> None:
    """Its answer does not fit into what may arrive ahead, so that sending it lasts as long as reading it."""
    body = b"a" * 400_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    took_s: list[float] = []

    def deed(number: int, sock: Any) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        server.request(number, sock)
        began_s = time.monotonic()
        sock.sendall(answer)
        took_s.append(time.monotonic() - began_s)

    server = Server(deed)
    with server.running(), gevent.Timeout(20):
        for conduct in (Manner(), manner("read_slowly", bytes_per_s=400_000)):
            transport = Transport(TARGET, f"http://127.0.0.1:{server.port}", 10)
            transport.exchange("u", "hi", Exchange(), conduct)
            transport.close()
        while len(took_s) < 2:
            gevent.sleep(0.005)

    assert took_s[1] >= 0.6  # of 1 s; some of it lies in buffers
    assert took_s[1] > 2 * took_s[0]


def test_who_reads_so_slowly_that_it_takes_too_long_has_nobody_to_blame() -> None:
    done = Witness(LONG).met_by(manner("read_slowly", bytes_per_s=100), deadline_s=0.3)

    assert done.outcome is Outcome.ABANDONED
    assert done.error == "read 100 bytes a second, on purpose, and gave up"


def test_a_target_that_never_answers_a_slow_reader_is_to_blame() -> None:
    done = Witness(LONG, pause_s=1).met_by(manner("read_slowly", bytes_per_s=100), deadline_s=0.2)

    assert (done.outcome, done.misbehaved_ns) == (Outcome.TIMEOUT, None)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"fault": "hang_up"}, "exactly one of `after_s` and `at`"),
        ({"fault": "hang_up", "after_s": 1, "at": "first_byte"}, "exactly one of `after_s` and `at`"),
        ({"fault": "hang_up", "after_s": -1}, "`after_s` is -1, expected 0 or more"),
        ({"fault": "read_slowly", "bytes_per_s": 0}, "`bytes_per_s` is 0, expected 1 or more"),
        ({"fault": "send_twice", "after_s": -0.5}, "`after_s` is -0.5, expected 0 or more"),
        ({"fault": "send_twice", "probability": 2}, "`probability` is 2, expected more than 0, at most 1"),
        ({"fault": "send_twice", "times": 0}, "`times` is 0, expected 1 or more"),
        ({"fault": "send_twice", "role": "reel"}, "'reel'"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="fault") as refused:
        parse(spec)

    assert says in str(refused.value)
