"""One request as its caller lives it: sent, first byte, end, outcome, within the caller's deadline."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Final, Literal

import gevent
import httptools

from harness.faults import AS_USUAL, Manner
from harness.load.connection import CONNECT_WITHIN_S, READ_BYTES, Connection, ConnectionBrokenError, Endpoint, Incoming
from harness.model import Outcome
from harness.target import Target, build_request, read_reply

_SIP_S: Final = 0.1
"""How much a slow reader takes in at once: what comes in this time."""
_MORSEL_BYTES: Final = 64
"""How much a caller takes in at once who means to leave in the middle and does not know yet where that is."""


@dataclass(slots=True)
class Exchange:
    """What became of one request. Times in monotonic nanoseconds."""

    sent_ns: int | None = None
    first_byte_ns: int | None = None
    end_ns: int = 0
    outcome: Outcome = Outcome.ABANDONED
    status: int | None = None
    error: str = ""
    text: str = ""
    audio_bytes: int = 0
    audio_s: float = 0.0
    misbehaved_ns: int | None = None
    """When its caller did what no caller should; None for one who has not, or not yet."""
    misbehaviour: str = ""
    """What that was, in a few words."""


class _Left(BaseException):
    """The caller has hung up."""


class Transport:
    """Speaks to one target over connections that are kept.

    Args:
        target: how a request is put and an answer read.
        host: base URL of the target.
        deadline_s: when a caller gives up, counted from sending.
    """

    def __init__(self, target: Target, host: str, deadline_s: float) -> None:
        self._target = target
        self._deadline_s = deadline_s
        self._connect_within_s = min(CONNECT_WITHIN_S, deadline_s)
        self._endpoint = Endpoint(host, target)

    def exchange(self, user_id: str, message: str, done: Exchange, manner: Manner = AS_USUAL) -> None:
        """Say `message` as `user_id`, read the answer to its end, and write into `done` what became of it.

        A failed request is data, not an exception, and is never sent again. Only a greenlet that is killed from outside
        leaves through here; then `done` says how far it had come.

        Args:
            user_id: who speaks.
            message: what is said.
            done: is filled in.
            manner: how the caller conducts this request (sending it again is two requests, and not for here).
        """
        request = build_request(self._target, user_id, message)
        wire = self._endpoint.written(request)
        incoming = Incoming(bodiless=request.method == "HEAD")
        connection: Connection | None = None
        done.sent_ns = time.monotonic_ns()
        deadline = gevent.Timeout(self._deadline_s)
        deadline.start()
        leave: gevent.Timeout | None = None
        try:
            connection = self._connection(manner)
            # A server may refuse a request (413, 429) and close before it has read it whole: its answer is there to be
            # read nevertheless, and is what the caller gets to see.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send_all(wire)
            if manner.leaves_after_s is not None:
                leave = gevent.Timeout.start_new(manner.leaves_after_s, _Left)
            self._read(connection, incoming, done, manner)
            if leave is not None:
                leave.close()
            done.end_ns = time.monotonic_ns()
            if incoming.reusable and manner.receive_window_bytes is None:
                self._endpoint.keep(connection)
                connection = None
            assert incoming.status is not None
            reply = read_reply(self._target, incoming.status, incoming.headers, b"".join(incoming.body))
            done.outcome, done.error, done.text = reply.outcome, reply.error, reply.text
            done.audio_bytes, done.audio_s = reply.audio_bytes, reply.audio_s
        except _Left:
            self._misbehaves(done, f"hung up {(time.monotonic_ns() - done.sent_ns) / 1e9:.2f} s after sending")
            self._failed(done, Outcome.ABANDONED, f"{done.misbehaviour}, on purpose")
        except gevent.Timeout as timeout:
            if timeout is not deadline:
                raise
            if manner.reads_bytes_per_s is not None and done.misbehaved_ns is not None:
                # Whoever reads on purpose so slowly that it takes too long has nobody to blame.
                self._failed(done, Outcome.ABANDONED, f"{done.misbehaviour}, on purpose, and gave up")
                return
            self._failed(done, Outcome.TIMEOUT, f"no complete answer within {self._deadline_s:g} s")
        except TimeoutError as error:
            self._failed(done, Outcome.TIMEOUT, str(error))
        except (OSError, httptools.HttpParserError) as error:
            self._failed(done, Outcome.DISCONNECTED, f"{type(error).__name__}: {error}")
        finally:
            deadline.close()
            if leave is not None:
                leave.close()
            if connection is not None:
                connection.close()
            if not done.end_ns:
                done.end_ns = time.monotonic_ns()

    def _connection(self, manner: Manner) -> Connection:
        if manner.receive_window_bytes is None:
            return self._endpoint.take(self._connect_within_s)
        return self._endpoint.connect(self._connect_within_s, manner.receive_window_bytes)

    def _read(self, connection: Connection, incoming: Incoming, done: Exchange, manner: Manner) -> None:
        """Read to the end of the answer.

        Raises:
            ConnectionBrokenError: the connection ended before it.
            _Left: the caller hung up.
        """
        began = False
        per_s = manner.reads_bytes_per_s
        at_most = READ_BYTES if per_s is None else max(1, round(per_s * _SIP_S))
        if manner.leaves_at is not None:
            at_most = _MORSEL_BYTES
        while not incoming.complete:
            data = connection.recv(at_most)
            at_ns = time.monotonic_ns()
            if data:
                began = True
                incoming.feed(data)
            else:
                incoming.end()
            done.status = incoming.status
            if incoming.body and done.first_byte_ns is None:
                done.first_byte_ns = at_ns
            if manner.leaves_at is not None and began and not incoming.complete:
                at_most = _bytes_until(manner.leaves_at, incoming)
                if not at_most:
                    raise _Left
            if not data and not incoming.complete:
                msg = "the connection was closed " + (
                    "in the middle of the answer"
                    if began
                    else "before a byte of the answer came; it was a kept one, and the request was not sent again"
                    if connection.used
                    else "before a byte of the answer came"
                )
                raise ConnectionBrokenError(msg)
            if per_s is not None and data and not incoming.complete:
                self._misbehaves(done, f"read {per_s:g} bytes a second")
                gevent.sleep(len(data) / per_s)

    @staticmethod
    def _misbehaves(done: Exchange, how: str) -> None:
        if done.misbehaved_ns is None:
            done.misbehaved_ns, done.misbehaviour = time.monotonic_ns(), how

    def close(self) -> None:
        """Close the kept connections."""
        self._endpoint.close()

    @staticmethod
    def _failed(done: Exchange, outcome: Outcome, error: str) -> None:
        done.end_ns = time.monotonic_ns()
        done.outcome, done.error = outcome, error


def _bytes_until(where: Literal["first_byte", "mid_body"], incoming: Incoming) -> int:
    """Return how much of an answer that has begun may be read at most before its caller leaves; 0: this is the moment.

    What is read at once cannot be left unread.
    """
    if where == "first_byte":
        return 0
    if incoming.status is None:
        return _MORSEL_BYTES
    have = sum(map(len, incoming.body))
    length = incoming.headers.get("content-length", "")
    if length.isdecimal():
        return max(0, max(1, int(length) // 2) - have)
    return 0 if have else _MORSEL_BYTES
