"""Who else waits while tools run? The longest stall of the event loop, for each variant of the tool running part."""

from __future__ import annotations

import json
import sys
from statistics import median

from tests.bench import agent as agents
from tests.bench.child import Child
from tests.bench.figure import Bench, Figure, Row

_VARIANTS = ("documented", "proposed", "hardened")
_AIM_MS = 10.0
_TOOL_S = 0.3


def measure(bench: Bench) -> Figure:
    """Run three tools that take a while, under each variant, and look at the loop every millisecond."""
    rounds = int(bench.pick(10, 2))
    fault = json.dumps({"fault": "slow", "upstream": "*", "delay_s": _TOOL_S})
    rows: list[Row] = [("aim", _AIM_MS, _AIM_MS, None)]
    with agents.upstreams(bench.directory, "--latency-scale", "0", "--fault", fault) as beside:
        for variant in _VARIANTS:
            command = [sys.executable, "-m", "tests.bench.loop_stall", variant, str(rounds)]
            home = bench.directory / variant
            env = beside.env | {"HOME": str(home.resolve())}
            with Child(command, home / "loop_stall.log", env, says_ready=True) as child:
                seen: dict[str, list[float]] = child.ready(within_s=60.0)
                child.wait(within_s=30.0)
            rows.append((variant, median(seen["stalls_ms"]), max(seen["stalls_ms"]), median(seen["took_ms"])))
    return Figure(
        question=f"the event loop's longest stall (ms) while three tools of {1000 * _TOOL_S:g} ms each run",
        columns=("variant", "stall, median of rounds", "stall, worst", "tools took ms"),
        rows=tuple(rows),
        notes=(
            f"{rounds} rounds; the loop is looked at every millisecond, so that a stall holds what the machine took "
            "from the process, too. As documented, a turn has a thread of its own: nothing stalls, but its tools run "
            "one after the other. As proposed, the tools run at once and everybody else waits for them.",
        ),
    )
