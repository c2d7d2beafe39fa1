"""One request as its caller lives it: sent, first byte, end, outcome, within the caller's deadline."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import gevent
import httptools

from harness.load.connection import CONNECT_WITHIN_S, READ_BYTES, Connection, ConnectionBrokenError, Endpoint, Incoming
from harness.model import Outcome
from harness.target import Target, build_request, read_reply


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

    def exchange(self, user_id: str, message: str, done: Exchange) -> None:
        """Say `message` as `user_id`, read the answer to its end, and write into `done` what became of it.

        A failed request is data, not an exception, and is never sent again. Only a greenlet that is killed from outside
        leaves through here; then `done` says how far it had come.
        """
        request = build_request(self._target, user_id, message)
        wire = self._endpoint.written(request)
        incoming = Incoming(bodiless=request.method == "HEAD")
        connection: Connection | None = None
        done.sent_ns = time.monotonic_ns()
        deadline = gevent.Timeout(self._deadline_s)
        deadline.start()
        try:
            connection = self._endpoint.take(self._connect_within_s)
            # A server may refuse a request (413, 429) and close before it has read it whole: its answer is there to be
            # read nevertheless, and is what the caller gets to see.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send_all(wire)
            self._read(connection, incoming, done)
            done.end_ns = time.monotonic_ns()
            if incoming.reusable:
                self._endpoint.keep(connection)
                connection = None
            assert incoming.status is not None
            reply = read_reply(self._target, incoming.status, incoming.headers, b"".join(incoming.body))
            done.outcome, done.error, done.text = reply.outcome, reply.error, reply.text
            done.audio_bytes, done.audio_s = reply.audio_bytes, reply.audio_s
        except gevent.Timeout as timeout:
            if timeout is not deadline:
                raise
            self._failed(done, Outcome.TIMEOUT, f"no complete answer within {self._deadline_s:g} s")
        except TimeoutError as error:
            self._failed(done, Outcome.TIMEOUT, str(error))
        except (OSError, httptools.HttpParserError) as error:
            self._failed(done, Outcome.DISCONNECTED, f"{type(error).__name__}: {error}")
        finally:
            deadline.close()
            if connection is not None:
                connection.close()
            if not done.end_ns:
                done.end_ns = time.monotonic_ns()

    @staticmethod
    def _read(connection: Connection, incoming: Incoming, done: Exchange) -> None:
        """Read to the end of the answer. Raises ConnectionBrokenError where the connection ends before it."""
        began = False
        while not incoming.complete:
            data = connection.recv(READ_BYTES)
            at_ns = time.monotonic_ns()
            if data:
                began = True
                incoming.feed(data)
            else:
                incoming.end()
            done.status = incoming.status
            if incoming.body and done.first_byte_ns is None:
                done.first_byte_ns = at_ns
            if not data and not incoming.complete:
                msg = "the connection was closed " + (
                    "in the middle of the answer"
                    if began
                    else "before a byte of the answer came; it was a kept one, and the request was not sent again"
                    if connection.used
                    else "before a byte of the answer came"
                )
                raise ConnectionBrokenError(msg)

    def close(self) -> None:
        """Close the kept connections."""
        self._endpoint.close()

    @staticmethod
    def _failed(done: Exchange, outcome: Outcome, error: str) -> None:
        done.end_ns = time.monotonic_ns()
        done.outcome, done.error = outcome, error
