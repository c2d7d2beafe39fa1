"""Do 1,000,000 entries of the ledger stay within 1 GB, and queries by mark under 10 ms?"""

from __future__ import annotations

import sys
from typing import Any

from tests.bench.child import Child
from tests.bench.figure import Bench, Figure


def measure(bench: Bench) -> Figure:
    """Fill a ledger by calls, in a process of its own, and ask it for marks from all over it."""
    count = int(bench.pick(1_000_000, 30_000))
    home = bench.directory / "ledger"
    command = [sys.executable, "-m", "tests.bench.ledger", str(count)]
    with Child(command, home / "ledger.log", {"HOME": str(home.resolve())}, says_ready=True) as child:
        held: dict[str, Any] = child.ready(within_s=600.0)
        child.wait(within_s=30.0)
    entries, grown_mb = held["entries"], held["grown_mb"]
    return Figure(
        question="what a ledger in memory costs, and how long a query by mark takes",
        columns=(
            "",
            "entries",
            "growth MB",
            "bytes per entry",
            "query p50 ms",
            "p99 ms",
            "longest ms",
            "longest CPU ms",
        ),
        rows=(
            ("aim", 1_000_000, 1000.0, 1000.0, 10.0, 10.0, 10.0, 10.0),
            (
                "measured",
                entries,
                grown_mb,
                1e6 * grown_mb / entries,
                held["p50_ms"],
                held["p99_ms"],
                held["longest_ms"],
                held["longest_cpu_ms"],
            ),
        ),
        notes=(
            "Growth of the resident memory of a whole stand-in, without sockets: responses that are not stored, three "
            "to a mark, each an entry for the call and two for its states, each in a conversation of its own.",
            "1,000 queries by mark, spread over the ledger, nine entries each, decoded. What is longer by the clock "
            "than in CPU waited for the machine.",
        ),
    )
