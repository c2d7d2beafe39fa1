"""What does carrying alone cost? The carrier of the stand-ins, `served.py`, answering constants, nothing behind it.

`python -m tests.bench.constant_upstream` prints {"url": ...} when it listens. /json answers 700 bytes, /speech as many
as `?bytes=` says, /stream as many events as `?events=` says, `?wait_ms=` after each. No routing, state or ledger.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Iterator
from functools import cache
from urllib.parse import parse_qs

import uvloop

from harness.upstreams import served, wire

_JSON = wire.Reply(200, json.dumps({"constant": "x" * 684}).encode(), (wire.JSON_TYPE,))
_EVENT = wire.Data(b'data: {"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n')
_STREAM = wire.Head(200, (("content-type", "text/event-stream; charset=utf-8"),), None)


class _Call:
    """What `served` needs to know of a call."""

    fault: str | None = None
    fault_id: str | None = None

    def __init__(self, reply: wire.Reply) -> None:
        self.reply: wire.Reply | None = reply


class _Constant(served.Unrecorded):
    """Answers by the path alone."""

    def begin(self, request: wire.Request) -> _Call:
        if request.path == "/json":
            return _Call(_JSON)
        wanted = _numbers(request.query)
        if request.path == "/speech":
            return _Call(_speech(wanted["bytes"]))
        return _Call(wire.scripted(_stream(wanted["events"], wanted.get("wait_ms", 0) / 1000)))


@cache
def _numbers(query: str) -> dict[str, int]:
    return {name: int(values[0]) for name, values in parse_qs(query).items()}


@cache
def _speech(size_bytes: int) -> wire.Reply:
    return wire.Reply(200, bytes(size_bytes), (("content-type", "audio/wav"),))


def _stream(events: int, wait_s: float) -> Iterator[wire.Step]:
    yield _STREAM
    wait = wire.Wait(wait_s)
    for _ in range(events):
        yield _EVENT
        if wait_s:
            yield wait


async def _serve() -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, over.set)
    # Nothing is ever written there: it becomes readable when whoever started this is gone.
    loop.add_reader(sys.stdin.fileno(), over.set)
    port = served.Port(0, _Constant())
    await port.serve()
    print(json.dumps({"url": f"http://127.0.0.1:{port.number}"}), flush=True)
    await over.wait()
    port.end()


if __name__ == "__main__":
    gc.set_threshold(50_000, 20, 50)  # as the process of the stand-ins
    uvloop.run(_serve())
