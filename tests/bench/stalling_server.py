"""A server whose latency is known on paper: a service time, and a stall at equal distances.

`python -m tests.bench.stalling_server --service-ms 5 --stall-s 1 --every-s 10` speaks the chat agent's contract (POST
to any path is answered with a small WAV and X-GPT-Reply) and prints {"url": ...} when it listens. Whatever arrives
within a stall is answered when the stall is over. GET answers {"answered": n}. It ends with its standard input.

What an open arrival process sees of it: a share `stall / every` of the requests arrives within a stall, and waits for
what is left of it, which is uniform. So P(latency > x) = (stall - x) / every, for x above the service time; and the
percentile p is stall - every * (1 - p): 500 ms and 900 ms for p95 and p99 of 1 s in every 10 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import struct
import sys
from typing import cast
from urllib.parse import quote

import uvloop

_RATE_HZ = 16_000
_SAMPLES = 3_200  # 0.2 s, 6.4 KB
_DATA = bytes(2 * _SAMPLES)
_FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, _RATE_HZ, 2 * _RATE_HZ, 2, 16)
_DATA_CHUNK = b"data" + struct.pack("<I", len(_DATA)) + _DATA
_WAV = b"RIFF" + struct.pack("<I", 28 + len(_DATA_CHUNK)) + b"WAVEfmt " + _FORMAT + _DATA_CHUNK
_REPLY = "こんにちはにゃん、今日はどうしたのかにゃん"
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nX-GPT-Reply: "
    + quote(_REPLY).encode()
    + b"\r\nContent-Length: "
    + str(len(_WAV)).encode()
    + b"\r\n\r\n"
    + _WAV
)


class _Stalls:
    """When an answer is due, and how many were given."""

    def __init__(self, service_s: float, stall_s: float, every_s: float) -> None:
        self.answered = 0
        self.loop = asyncio.get_running_loop()
        self._service_s = service_s
        self._stall_s = stall_s
        self._every_s = every_s
        self._began_s = self.loop.time()

    def due_s(self) -> float:
        """Return when what arrives now is to be answered, on the loop's clock."""
        now_s = self.loop.time()
        due_s = now_s + self._service_s
        if self._stall_s:
            left_s = self._every_s - (now_s - self._began_s) % self._every_s  # a stall is the end of every period
            if left_s <= self._stall_s:
                due_s = max(due_s, now_s + left_s)
        return due_s


class _Connection(asyncio.Protocol):
    """One kept connection, without pipelining: no client of these benchmarks does that."""

    def __init__(self, stalls: _Stalls) -> None:
        self._stalls = stalls
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own, which does not descend from asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, mark, body = self._received.partition(b"\r\n\r\n")
        if not mark:
            return
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) < length:
            return
        self._received = b""
        if head.startswith(b"GET "):
            count = json.dumps({"answered": self._stalls.answered}).encode()
            self._write(b"HTTP/1.1 200 OK\r\nContent-Length: " + str(len(count)).encode() + b"\r\n\r\n" + count)
        else:
            self._stalls.loop.call_at(self._stalls.due_s(), self._answer)

    def _answer(self) -> None:
        self._stalls.answered += 1
        self._write(_ANSWER)

    def _write(self, answer: bytes) -> None:
        if self._transport is not None:
            self._transport.write(answer)


async def _serve(options: argparse.Namespace) -> None:
    stalls = _Stalls(options.service_ms / 1000, options.stall_s, options.every_s)
    over = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        stalls.loop.add_signal_handler(name, over.set)
    # Nothing is ever written there: it becomes readable when whoever started this is gone.
    stalls.loop.add_reader(sys.stdin.fileno(), over.set)
    server = await stalls.loop.create_server(lambda: _Connection(stalls), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    await over.wait()
    server.close()


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--service-ms", type=float, default=5.0)
    parser.add_argument("--stall-s", type=float, default=0.0)
    parser.add_argument("--every-s", type=float, default=10.0)
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
