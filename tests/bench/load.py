"""How is load sent in a benchmark: through the harness, and through stock Locust, at the same server?"""

from __future__ import annotations

import http.client
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from harness import evidence
from harness.model import Outcome, Sample
from tests.bench.child import ROOT, Child
from tests.bench.figure import BenchError

_HERE = ROOT / "tests" / "bench"
LEAD_S = 15.0
"""What starting Locust, draining and judging may take in all, beside what is played."""


def server(log: Path, *, service_ms: float = 5.0, stall_s: float = 0.0, every_s: float = 10.0) -> Child:
    """Start the server whose latency is known on paper; `ready()["url"]` is where it listens."""
    return Child(
        [
            *(sys.executable, "-m", "tests.bench.stalling_server", "--service-ms", str(service_ms)),
            *("--stall-s", str(stall_s), "--every-s", str(every_s)),
        ],
        log,
        says_ready=True,
    )


def answered(url: str) -> int:
    """Return how many requests that server has answered so far."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", "/")
        return int(json.loads(connection.getresponse().read())["answered"])
    finally:
        connection.close()


def play_harness(
    url: str,
    directory: Path,
    *,
    per_s: float,
    steady_s: float,
    arrivals: Literal["constant", "poisson"] = "constant",
    beside: Path | None = None,
    env: dict[str, str] | None = None,
) -> Child:
    """Play the scenario `steady_talk` through Locust's door, as `locust -f FILE --host URL` does.

    Args:
        url: the server.
        directory: where the run directory is made.
        per_s: arrivals a second.
        steady_s: seconds of the steady phase; a warm-up of 2 s comes before it.
        arrivals: the process.
        beside: a further file for Locust to load.
        env: further variables.
    """
    files = [_HERE / "scenarios" / "steady_talk.py", *([beside] if beside else [])]
    return Child(
        [
            *(sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), "--host", url),
            *("--headless", "--only-summary", "--runs", str(directory)),
        ],
        directory / "locust.out",
        {"BENCH_PER_S": f"{per_s:g}", "BENCH_STEADY_S": f"{steady_s:g}", "BENCH_ARRIVALS": arrivals, **(env or {})},
    )


def play_stock(url: str, directory: Path, *, per_s: float, run_s: float, users: int) -> Child:
    """Have stock Locust ask for `per_s` requests a second, with `users` users; it writes stock_stats.csv."""
    directory.mkdir(parents=True, exist_ok=True)
    return Child(
        [
            *(sys.executable, "-m", "locust", "-f", str(_HERE / "stock" / "steady_talk.py"), "--host", url),
            *("--headless", "--only-summary", "--users", str(users), "--spawn-rate", str(users)),
            *("--run-time", f"{run_s:g}s", "--csv", str(directory / "stock")),
        ],
        directory / "locust.out",
        {"BENCH_PER_S": f"{per_s:g}", "BENCH_USERS": str(users)},
    )


@dataclass(frozen=True)
class Recorded:
    """What the harness recorded of one run of `steady_talk`."""

    samples: tuple[Sample, ...]
    scheduled: int


def recorded(child: Child, directory: Path, within_s: float) -> Recorded:
    """Wait for the end of `play_harness` and read what it recorded.

    Raises:
        BenchError: it did not end, or recorded nothing.
    """
    child.wait(within_s + LEAD_S)
    try:
        run = next(evidence.run_directories(directory))
        data = evidence.read_evidence(run, evidence.read_plan(run), "steady_talk")
    except (evidence.EvidenceError, StopIteration) as error:
        raise BenchError(f"{directory} holds no run ({error}). {child.last_words()}") from error
    if data.ended.scheduled is None or not any(sample.outcome is Outcome.ANSWERED for sample in data.samples):
        outcomes = dict(Counter(sample.outcome.value for sample in data.samples))
        raise BenchError(f"{run}: nobody was answered {outcomes}. {child.last_words()}")
    return Recorded(data.samples, data.ended.scheduled)
