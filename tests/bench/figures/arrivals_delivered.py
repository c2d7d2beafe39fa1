"""Does the generator keep its schedule? Arrivals delivered against scheduled, and how late they set out."""

from __future__ import annotations

from typing import Literal

from harness.checks.percentile import percentile
from harness.model import Outcome
from tests.bench import load
from tests.bench.figure import Bench, Figure, Row

_RATES_PER_S = (50.0, 200.0, 500.0, 1000.0)
_KINDS: tuple[Literal["constant", "poisson"], ...] = ("constant", "poisson")


def measure(bench: Bench) -> Figure:
    """Play both arrival processes at rising rates against a server that answers after 5 ms."""
    length_s = bench.pick(8.0, 2.0)
    rows: list[Row] = []
    with load.server(bench.directory / "server.log") as server:
        url = str(server.ready()["url"])
        for per_s in _RATES_PER_S:
            for kind in _KINDS:
                directory = bench.directory / f"{kind}-{per_s:g}"
                with load.play_harness(url, directory, per_s=per_s, steady_s=length_s, arrivals=kind) as child:
                    data = load.recorded(child, directory, length_s)
                served = [sample for sample in data.samples if sample.sent_ns is not None]
                lags_ms = [sample.dispatch_lag_s * 1000 for sample in served]
                answered = sum(sample.outcome is Outcome.ANSWERED for sample in data.samples)
                unserved = sum(sample.outcome is Outcome.UNSERVED for sample in data.samples)
                rows.append(
                    (
                        f"{kind} {per_s:g}/s",
                        data.scheduled,
                        len(served),
                        answered,
                        unserved,
                        data.scheduled - len(served) - unserved,
                        *(percentile(lags_ms, percent) for percent in (50, 99, 100)),
                    )
                )
    return Figure(
        question="arrivals delivered against scheduled, and dispatch lag (ms)",
        columns=("arrivals", "scheduled", "sent", "answered", "unserved", "lost", "lag p50", "lag p99", "lag max"),
        rows=tuple(rows),
        notes=(
            f"{length_s:g} s and a warm-up of 2 s each; one Locust process, the server in another (5 ms, at most 2,000 "
            "requests in flight). Dispatch lag: from the intended start to sending. Lost: in no record at all.",
        ),
    )
