"""What does a request cost the load side? Requests per CPU-second, beside stock FastHttpUser, same server and rate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Self

from tests.bench import load
from tests.bench.child import Child
from tests.bench.figure import Bench, BenchError, Figure, Row

_PER_S = 300.0
_STOCK_USERS = 30
_SETTLE_S = 3.0
"""From the first answer on: longer than the warm-up, and than Locust's spawning."""
_START_S = 30.0
"""For both to start; each of them goes on that much longer than it is looked at, so that the other may be late."""


@dataclass(frozen=True)
class _Reading:
    """What one side had done at one moment."""

    at_s: float
    cpu_s: float
    answered: int

    @classmethod
    def of(cls, child: Child, url: str) -> Self:
        return cls(time.monotonic(), child.cpu_s(), load.answered(url))


def measure(bench: Bench) -> Figure:
    """Play pairs, harness and stock at the same time, and take CPU and requests over one window of both."""
    pairs = int(bench.pick(5, 1))
    window_s = bench.pick(10.0, 3.0)
    rows: list[Row] = []
    for number in range(pairs):
        (our_per_s, ours), (stock_per_s, stock) = _pair(bench, number, window_s)
        rows.append((f"pair {number + 1}", our_per_s, ours, stock_per_s, stock, ours / stock))
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    rows.append(("median", *(median(float(value or 0) for value in column) for column in columns)))
    return Figure(
        question=f"requests per CPU-second of the Locust process, at {_PER_S:g}/s",
        columns=("", "harness 1/s", "harness per CPU-s", "stock 1/s", "stock per CPU-s", "harness / stock"),
        rows=tuple(rows),
        notes=(
            f"CPU of the Locust process itself (user and system, no children) over {window_s:g} s in the middle of a "
            "run, so without start-up, judging or summary; requests counted by the server over the same window. Both "
            "sides of a pair at the same time, each with a server of its own: what disturbs one disturbs the other.",
            f"Stock: FastHttpUser, {_STOCK_USERS} users, constant_throughput, rounded statistics only. The harness "
            "marks every message, reads the audio and the reply, and records a raw sample of every request.",
        ),
    )


def _pair(bench: Bench, number: int, window_s: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the rate (1/s) and the requests per CPU-second of the harness, and of stock."""
    run_s = _SETTLE_S + window_s + _START_S
    ours, stock = (bench.directory / f"{side}-{number}" for side in ("harness", "stock"))
    with load.server(ours / "server.log") as our_server, load.server(stock / "server.log") as stock_server:
        urls = [str(server.ready()["url"]) for server in (our_server, stock_server)]
        with (
            load.play_harness(urls[0], ours, per_s=_PER_S, steady_s=run_s) as our_load,
            load.play_stock(urls[1], stock, per_s=_PER_S, run_s=run_s, users=_STOCK_USERS) as stock_load,
        ):
            children = (our_load, stock_load)
            for child, url in zip(children, urls, strict=True):
                _wait_for_first(child, url)
            time.sleep(_SETTLE_S)
            began = [_Reading.of(child, url) for child, url in zip(children, urls, strict=True)]
            time.sleep(window_s)
            ended = [_Reading.of(child, url) for child, url in zip(children, urls, strict=True)]
    return _costs(our_load, began[0], ended[0]), _costs(stock_load, began[1], ended[1])


def _costs(child: Child, began: _Reading, ended: _Reading) -> tuple[float, float]:
    count, cpu_s = ended.answered - began.answered, ended.cpu_s - began.cpu_s
    if count <= 0 or cpu_s <= 0:
        raise BenchError(f"Nothing was sent. {child.last_words()}")
    return count / (ended.at_s - began.at_s), count / cpu_s


def _wait_for_first(child: Child, url: str) -> None:
    deadline_s = time.monotonic() + _START_S
    while not load.answered(url):
        if not child.running or time.monotonic() > deadline_s:
            raise BenchError(f"Nothing was sent within {_START_S:g} s. {child.last_words()}")
        time.sleep(0.05)
