"""Are the percentiles right while the server stalls? Against the truth on paper, beside stock Locust's own figures."""

from __future__ import annotations

import csv
from pathlib import Path

from harness.checks.percentile import percentile
from harness.model import Outcome
from tests.bench import load
from tests.bench.figure import Bench, BenchError, Figure, Row

_PER_S = 100.0
_STALL_S, _EVERY_S = 1.0, 10.0
# A request takes 5 ms, so 100 a second keep half a user busy: ten are what one would choose by Little's law. A hundred,
# one request a second each, are so many that a stall of one second does not hold any of them up for long.
_STOCK_USERS = (10, 100)


def measure(bench: Bench) -> Figure:
    """Play 100 arrivals a second at a server that stalls for 1 s in every 10 s, first with the harness, then stock."""
    # Whole periods, so that it does not matter where in a period the measurement begins.
    length_s = bench.pick(30.0, 10.0)
    rows: list[Row] = [("truth (analytic)", None, None, *(_true_ms(percent) for percent in (95, 99)), None)]
    with load.server(bench.directory / "server.log", stall_s=_STALL_S, every_s=_EVERY_S) as server:
        url = str(server.ready()["url"])
        rows += _harness(url, bench.directory / "harness", length_s)
        rows += [_stock(url, bench.directory / f"stock-{users}", length_s, users) for users in _STOCK_USERS]
    return Figure(
        question="p95 and p99 (ms) of a server that stalls for 1 s in every 10 s, at 100 arrivals/s",
        columns=("measured by", "requests", "failed", "p95", "p99", "p99 / truth"),
        rows=tuple(rows),
        notes=(
            f"{length_s:g} s each, one after the other, against the same server process. Harness: nearest rank of its "
            "raw samples, steady phase; stock: FastHttpUser, constant_throughput, its own stock_stats.csv.",
            "Stock Locust is a closed loop: ten users, plenty by Little's law, lose most of a stall (p95); with as "
            "many users as requests in a stall it comes near the truth, which one has to know beforehand.",
        ),
    )


def _true_ms(percent: float) -> float:
    """See stalling_server.py for the derivation."""
    return 1000 * (_STALL_S - _EVERY_S * (1 - percent / 100))


def _harness(url: str, directory: Path, length_s: float) -> list[Row]:
    with load.play_harness(url, directory, per_s=_PER_S, steady_s=length_s) as child:
        data = load.recorded(child, directory, length_s)
    steady = [sample for sample in data.samples if sample.phase == "steady"]
    latencies_ms = [sample.latency_s * 1000 for sample in steady]
    services_ms = [sample.service_s * 1000 for sample in steady]
    failed = sum(sample.outcome is not Outcome.ANSWERED for sample in steady)
    rows: list[Row] = []
    for name, values in (
        ("harness, from the intended start", latencies_ms),
        ("harness, from sending (service time)", services_ms),
    ):
        p95, p99 = (percentile(values, percent) for percent in (95, 99))
        rows.append((name, len(values), failed, p95, p99, p99 / _true_ms(99)))
    return rows


def _stock(url: str, directory: Path, length_s: float, users: int) -> Row:
    with load.play_stock(url, directory, per_s=_PER_S, run_s=length_s, users=users) as child:
        child.wait(length_s + load.LEAD_S)
    try:
        with (directory / "stock_stats.csv").open(encoding="utf-8") as table:
            total = next(row for row in csv.DictReader(table) if row["Name"] == "Aggregated")
    except (OSError, StopIteration) as error:
        raise BenchError(f"Stock Locust wrote no statistics ({error}). {child.last_words()}") from error
    p95, p99 = float(total["95%"]), float(total["99%"])
    return (
        f"stock Locust, {users} users",
        int(total["Request Count"]),
        int(total["Failure Count"]),
        p95,
        p99,
        p99 / _true_ms(99),
    )
