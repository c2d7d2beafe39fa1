"""What travels between a caller and an upstream, as values: a request, and a reply as bytes, waits and socket actions.

Nothing here knows a socket. A carrier (`served`, or an in-process one) turns the steps of a reply into effects, so that
each upstream and each fault is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

import msgspec


class Wait(msgspec.Struct, frozen=True):
    """Nothing happens for `seconds`."""

    seconds: float


class Work(msgspec.Struct, frozen=True):
    """Something that takes the processor for long: carriers with other callers do it beside them, a few at a time.

    The step after it is asked for when it is done, and not where nobody waits any more.
    """

    do: Callable[[Callable[[], bool]], None]
    """Is given what says whether nobody waits any more, so that it may end early, by any exception."""


class Head(msgspec.Struct, frozen=True):
    """Status line and headers. `length` is the announced length of the body in bytes; None: chunked."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None


class Data(msgspec.Struct, frozen=True):
    """A piece of the body."""

    body: bytes


class Reset(msgspec.Struct, frozen=True):
    """The connection ends with a TCP RST."""


class Close(msgspec.Struct, frozen=True):
    """The connection ends with a FIN, whatever was announced."""


class HalfClose(msgspec.Struct, frozen=True):
    """The upstream sends a FIN and keeps reading."""


class Hang(msgspec.Struct, frozen=True):
    """Nothing more comes, ever: until the caller leaves, or the fault is lifted and ends what hangs on it."""

    ends_when_lifted: bool = True


class End(msgspec.Struct, frozen=True):
    """The reply is whole: what follows happens to the connection, and no longer to the reply."""


class GoDown(msgspec.Struct, frozen=True):
    """The server behind this upstream dies: every connection is reset, new ones are refused for `seconds`."""

    seconds: float


class Telling(Protocol):
    """How one reply is told over a WebSocket."""

    def head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        """Hear how the reply begins."""

    def data(self, body: bytes) -> list[str]:
        """Return the messages that are whole with this piece of the body."""

    def end(self) -> list[str]:
        """Return the messages that are whole now that the reply is."""


class Dialogue(Protocol):
    """What passes over a WebSocket: each message of the caller is a request, and each reply is told in messages."""

    def hear(self, message: str) -> tuple[str, Request]:
        """Return a message's lane and the request that it stands for. A lane's requests are answered in turn."""

    def tell(self, lane: str) -> Telling:
        """Return how the reply to a lane's request is told."""


class Upgrade(msgspec.Struct, frozen=True):
    """The connection becomes a WebSocket, whose handshake is answered by a head of status 101 before."""

    dialogue: Dialogue


Step = Wait | Work | Head | Data | Reset | Close | HalfClose | Hang | End | GoDown | Upgrade
"""One thing that a carrier does. Steps that end the connection end the reply."""


class Request(msgspec.Struct):
    """One request, read whole. Header names are in lower case; `path` is percent-decoded, `query` is not."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: bytes = b""


class Reply(msgspec.Struct):
    """What an upstream answers: either a whole body after a wait, or, where `script` is set, any sequence of steps."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    after_s: float = 0.0
    """Seconds until the first byte of a whole body."""
    script: Iterable[Step] | None = None

    def steps(self) -> Iterator[Step]:
        """Return what the carrier does, in order. A script can be walked once."""
        return self._whole_body() if self.script is None else iter(self.script)

    def _whole_body(self) -> Iterator[Step]:
        if self.after_s > 0:
            yield Wait(self.after_s)
        yield Head(self.status, self.headers, len(self.body))
        if self.body:
            yield Data(self.body)

    def delayed(self, seconds: float) -> Reply:
        """Return the same reply, `seconds` later."""
        if self.script is None:
            return Reply(self.status, self.body, self.headers, self.after_s + seconds)
        return scripted(chain((Wait(seconds),), self.script))


def with_headers(reply: Reply, headers: tuple[tuple[str, str], ...]) -> Reply:
    """Return a reply with more headers."""
    if reply.script is None:
        return Reply(reply.status, reply.body, reply.headers + headers, reply.after_s)
    steps = iter(reply.script)
    # Chained, not yielded from: what comes behind the head is handed on as it is, event by event.
    return scripted(chain(_to_head(steps, headers), steps))


def _to_head(steps: Iterator[Step], headers: tuple[tuple[str, str], ...]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Head):
            yield Head(step.status, (*step.headers, *headers), step.length)
            return
        yield step


def each_header(reply: Reply, change: Callable[[str, str], str]) -> Reply:
    """Return a reply whose headers are changed.

    Args:
        reply: what would have been answered.
        change: (name, text) -> the text that is sent instead.
    """

    def changed(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        return tuple((name, change(name, text)) for name, text in headers)

    if reply.script is None:
        return Reply(reply.status, reply.body, changed(reply.headers), reply.after_s)
    steps = reply.script
    return scripted(
        Head(step.status, changed(step.headers), step.length) if isinstance(step, Head) else step for step in steps
    )


def with_body(reply: Reply, body: bytes, *, content_type: str | None = None) -> Reply:
    """Return a reply with the same status and headers at the same time, but another body.

    Args:
        reply: what would have been answered.
        body: what is answered instead.
        content_type: what the body is said to be; None: what it would have been.
    """

    def steps() -> Iterator[Step]:
        for step in reply.steps():
            if isinstance(step, Head):
                headers = step.headers
                if content_type is not None:
                    others = tuple(header for header in headers if header[0] != "content-type")
                    headers = (("content-type", content_type), *others)
                yield Head(step.status, headers, len(body))
                if body:
                    yield Data(body)
                return
            yield step

    return scripted(steps())


def is_stream(head: Head) -> bool:
    """Return whether what follows is a stream of events, one in each piece of data."""
    return any(name == "content-type" and text.startswith("text/event-stream") for name, text in head.headers)


def each_event(reply: Reply, change: Callable[[Iterator[Data]], Iterator[Step]]) -> Reply:
    """Return a reply whose events are changed; one that is no stream stays as it is.

    Args:
        reply: what would have been answered.
        change: is given the events as they become due, and yields what is sent instead. What passes between two
            events, such as a wait, comes before the next thing that is sent.
    """
    if reply.script is None:
        return reply

    def changed() -> Iterator[Step]:
        steps = reply.steps()
        for step in steps:
            yield step
            if isinstance(step, Head):
                if is_stream(step):
                    break
                yield from steps
                return
        between: list[Step] = []

        def events() -> Iterator[Data]:
            for step in steps:
                if isinstance(step, Data):
                    yield step
                else:
                    between.append(step)

        for step in change(events()):
            yield from between
            between.clear()
            yield step
        yield from between

    return scripted(changed())


def scripted(steps: Iterable[Step]) -> Reply:
    """Return a reply that is these steps."""
    return Reply(script=steps)


_ENCODER = msgspec.json.Encoder()
JSON_TYPE = ("content-type", "application/json")


def json_reply(
    document: Any, *, status: int = 200, after_s: float = 0.0, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """Return a JSON reply.

    Args:
        document: anything that msgspec encodes.
        status: HTTP status.
        after_s: seconds until it is sent.
        headers: beside the content type.
    """
    return Reply(status, _ENCODER.encode(document), (JSON_TYPE, *headers), after_s)


def beginning(reply: Reply, after_bytes: int) -> Iterator[Step]:
    """Yield a reply's steps up to `after_bytes` bytes of its body; a body that is not longer loses its last byte."""
    left = after_bytes if reply.script is not None else min(after_bytes, max(len(reply.body) - 1, 0))
    for step in reply.steps():
        if isinstance(step, Data):
            if len(step.body) > left:
                if left:
                    yield Data(step.body[:left])
                return
            left -= len(step.body)
        yield step
