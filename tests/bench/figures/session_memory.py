"""What do 100,000 user ids leave behind? Resident memory of each variant of the sessions part, everything else away."""

from __future__ import annotations

import sys

from tests.bench.child import Child
from tests.bench.figure import Bench, Figure, Row

_VARIANTS = ("documented", "proposed", "hardened")
_AIM_MB = 50.0


def measure(bench: Bench) -> Figure:
    """Show every variant so many ids once each, in a process of its own."""
    counts = [str(int(bench.pick(number, number / 100))) for number in (10_000, 100_000)]
    rows: list[Row] = [("aim", None, None, None, _AIM_MB, None)]
    for variant in _VARIANTS:
        home = bench.directory / variant
        command = [sys.executable, "-m", "tests.bench.sessions", variant, *counts]
        with Child(command, home / "sessions.log", {"HOME": str(home.resolve())}, says_ready=True) as child:
            held: dict[str, float] = child.ready(within_s=300.0)
            child.wait(within_s=30.0)
        values = [held["0"], *(held[count] for count in counts)]
        per_id = 1e6 * (values[-1] - values[0]) / int(counts[-1])
        rows.append((variant, *values, values[-1] - values[0], per_id))
    return Figure(
        question="resident memory of the sessions part (MB) after so many user ids, each seen once",
        columns=("variant", *(f"{count} ids" for count in ("0", *counts)), "growth MB", "bytes per id"),
        rows=tuple(rows),
        notes=(
            "Turns follow one another; conversations open at once and only have an id. Hardened: SQLite store in a "
            "file, AGENT_MAX_CONVERSATIONS as by default. Documented keeps every id for ever, proposed 1,000.",
            "What conversations left alive cost the upstream is not in this figure: see agent_memory, held upstream.",
        ),
    )
