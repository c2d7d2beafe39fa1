"""What does a request cost the load side? Requests per CPU-second, beside stock FastHttpUser, same server and rate."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from tests.bench import load
from tests.bench.child import Child
from tests.bench.figure import Bench, BenchError, Figure, Row

_PER_S = 300.0
_STOCK_USERS = 30
_SETTLE_S = 3.0
"""From the first answer on: longer than the warm-up, and than Locust's spawning."""
_START_S = 20.0


def measure(bench: Bench) -> Figure:
    """Play pairs, harness and stock in turn, and take CPU and requests over a window in the middle of each run."""
    pairs = int(bench.pick(5, 1))
    window_s = bench.pick(8.0, 3.0)
    results: dict[str, list[tuple[float, float]]] = {"harness": [], "stock": []}
    with load.server(bench.directory / "server.log") as server:
        url = str(server.ready()["url"])
        for number in range(pairs):
            # The order within a pair alternates, so that a machine that slows down favours neither.
            for side in ("harness", "stock") if number % 2 == 0 else ("stock", "harness"):
                results[side].append(_window(side, url, bench.directory / f"{side}-{number}", window_s))
    rows: list[Row] = []
    for number in range(pairs):
        ours, stock = results["harness"][number], results["stock"][number]
        rows.append((f"pair {number + 1}", ours[0], ours[1], stock[0], stock[1], ours[1] / stock[1]))
    columns = list(zip(*(row[1:] for row in rows), strict=True))
    rows.append(("median", *(median(float(value or 0) for value in column) for column in columns)))
    return Figure(
        question=f"requests per CPU-second of the Locust process, at {_PER_S:g}/s",
        columns=("", "harness 1/s", "harness per CPU-s", "stock 1/s", "stock per CPU-s", "harness / stock"),
        rows=tuple(rows),
        notes=(
            f"CPU of the Locust process itself (user and system, no children) over {window_s:g} s in the middle of a "
            "run, so without start-up, judging or summary; requests counted by the server over the same window.",
            f"Stock: FastHttpUser, {_STOCK_USERS} users, constant_throughput, rounded statistics only. The harness "
            "marks every message, reads the audio and the reply, and records a raw sample of every request.",
        ),
    )


def _window(side: str, url: str, directory: Path, window_s: float) -> tuple[float, float]:
    """Return the rate (1/s) and the requests per CPU-second of one run."""
    run_s = _SETTLE_S + window_s + 1
    before = load.answered(url)
    if side == "harness":
        child = load.play_harness(url, directory, per_s=_PER_S, steady_s=run_s)
    else:
        child = load.play_stock(url, directory, per_s=_PER_S, run_s=run_s, users=_STOCK_USERS)
    with child:
        _wait_for_first(child, url, before)
        time.sleep(_SETTLE_S)
        began_s, began_count, began_cpu_s = time.monotonic(), load.answered(url), child.cpu_s()
        time.sleep(window_s)
        count, cpu_s, took_s = (
            load.answered(url) - began_count,
            child.cpu_s() - began_cpu_s,
            time.monotonic() - began_s,
        )
        child.wait(run_s + load.LEAD_S)
    if not count or not cpu_s:
        raise BenchError(f"Nothing was sent. {child.last_words()}")
    return count / took_s, count / cpu_s


def _wait_for_first(child: Child, url: str, before: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while load.answered(url) == before:
        if not child.running or time.monotonic() > deadline_s:
            raise BenchError(f"Nothing was sent within {_START_S:g} s. {child.last_words()}")
        time.sleep(0.05)
