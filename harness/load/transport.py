"""One request as its caller lives it: sent, first byte, end, outcome, within the caller's deadline."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError

from harness.model import Outcome
from harness.target import Target, build_request, read_reply

# A connection that cannot be had in this time is not going to be: loopback connects in well under a millisecond.
_CONNECT_TIMEOUT_S: Final = 5.0


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
        max_connections: how many requests may be under way at once.
        deadline_s: when a caller gives up, counted from sending.
    """

    def __init__(self, target: Target, host: str, max_connections: int, deadline_s: float) -> None:
        self._target = target
        self._deadline_s = deadline_s
        self._prefix = urlsplit(host).path.rstrip("/")
        self._client = HTTPClient.from_url(
            host,
            concurrency=max_connections,
            connection_timeout=min(_CONNECT_TIMEOUT_S, deadline_s),
            network_timeout=deadline_s,
        )

    def exchange(self, user_id: str, message: str, done: Exchange) -> None:
        """Say `message` as `user_id`, read the answer to its end, and write into `done` what became of it.

        A failed request is data, not an exception. Only a greenlet that is killed from outside leaves through here;
        then `done` says how far it had come.
        """
        request = build_request(self._target, user_id, message)
        done.sent_ns = time.monotonic_ns()
        deadline = gevent.Timeout(self._deadline_s)
        deadline.start()
        try:
            response = self._client.request(
                request.method, self._prefix + request.path, body=request.body, headers=request.headers
            )
            done.status = response.status_code
            # One byte first: the body that follows is read to its end, and would hide when it began.
            body = response.read(1)
            if body:
                done.first_byte_ns = time.monotonic_ns()
                body += response.read()
            done.end_ns = time.monotonic_ns()
            headers = {name.lower(): value for name, value in response.headers}
            reply = read_reply(self._target, done.status, headers, body)
            done.outcome, done.error, done.text = reply.outcome, reply.error, reply.text
            done.audio_bytes, done.audio_s = reply.audio_bytes, reply.audio_s
        except gevent.Timeout as timeout:
            if timeout is not deadline:
                raise
            self._failed(done, Outcome.TIMEOUT, f"no complete answer within {self._deadline_s:g} s")
        except TimeoutError:
            self._failed(done, Outcome.TIMEOUT, f"no byte within {self._deadline_s:g} s")
        except (OSError, HTTPParseError) as error:
            self._failed(done, Outcome.DISCONNECTED, f"{type(error).__name__}: {error}")
        finally:
            deadline.close()
            if not done.end_ns:
                done.end_ns = time.monotonic_ns()

    def close(self) -> None:
        """Close the kept connections."""
        self._client.close()

    @staticmethod
    def _failed(done: Exchange, outcome: Outcome, error: str) -> None:
        done.end_ns = time.monotonic_ns()
        done.outcome, done.error = outcome, error
