"""How long from the command to the verdict? `harness run` of the six scenarios on both profiles, by the wall clock."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from harness import evidence
from harness.campaign import durations_of, phase_offsets
from harness.model import Moment
from tests.bench.child import Child
from tests.bench.figure import Bench, BenchError, Figure, Row

_VARIANTS = ("documented", "hardened")
_SIX = ("emoji_tts", "emotion_dos", "sequential_tools", "thread_bombing", "tool_loop", "upstream_outage")
_WITHIN_S = 400.0


def measure(bench: Bench) -> Figure:
    """Run the command as a person would, once for each profile, and read when what happened from its campaign.jsonl."""
    scenarios = _SIX[1:2] if bench.short else _SIX
    columns = ["", "played at most"]
    timed: dict[str, _Timed] = {}
    for variant in _VARIANTS:
        timed[variant] = _run(bench.directory / variant, variant, scenarios)
        columns += [f"{variant} s", "preparing s", "verdict"]
    rows: list[Row] = []
    for name in ("start", *scenarios, "report", "in all"):
        row: list[str | float | None] = [name, _played_s(bench.directory / _VARIANTS[0], name)]
        for variant in _VARIANTS:
            one = timed[variant]
            row += [one.legs_s[name], one.preparing_s.get(name), one.verdicts.get(name)]
        rows.append(tuple(row))
    return Figure(
        question="seconds from the command to the verdict, per scenario of the quick size",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            "harness run --target reference_agent/target.toml --variant PROFILE. A scenario: from preparing a fresh "
            "target to its verdict; preparing: until that target is ready, the costliest thing that is not playing. "
            "Start: to the first preparation; report: from the last verdict to the exit.",
            "Played at most: what the scenario itself declares, in seconds, without its drain (which ends early).",
        ),
    )


@dataclass(frozen=True)
class _Timed:
    """Seconds of every leg of a campaign, of what part of them preparing a target took, and the verdicts."""

    legs_s: dict[str, float]
    preparing_s: dict[str, float]
    verdicts: dict[str, str]


def _run(directory: Path, variant: str, scenarios: tuple[str, ...]) -> _Timed:
    command = [
        *(sys.executable, "-m", "harness.cli", "run", *scenarios, "--target", "reference_agent/target.toml"),
        *("--variant", variant, "--runs", str(directory)),
    ]
    with Child(command, directory / "harness.out") as child:
        child.wait(_WITHIN_S)
        ended_ns = time.monotonic_ns()
    try:
        run = next(evidence.run_directories(directory))
        moments: list[Moment] = evidence.read_jsonl(run / evidence.CAMPAIGN, Moment)
    except (evidence.EvidenceError, StopIteration) as error:
        raise BenchError(f"{directory} holds no run ({error}). {child.last_words()}") from error
    legs: dict[str, float] = {}
    preparing: dict[str, float] = {}
    verdicts: dict[str, str] = {}
    began_ns = last_ns = child.began_ns
    for moment in moments:
        if moment.what == "preparing":
            began_ns = moment.at_ns
            legs.setdefault("start", (began_ns - child.began_ns) / 1e9)
        elif moment.what == "playing":
            preparing[moment.scenario] = (moment.at_ns - began_ns) / 1e9
        elif moment.what == "judged":
            legs[moment.scenario] = (moment.at_ns - began_ns) / 1e9
            verdicts[moment.scenario] = moment.verdict.value if moment.verdict else ""
            last_ns = moment.at_ns
    missing = set(scenarios) - (set(verdicts) & set(preparing))
    if missing:
        raise BenchError(f"{run}: {', '.join(sorted(missing))} was not played to a verdict. {child.last_words()}")
    legs |= {"report": (ended_ns - last_ns) / 1e9, "in all": (ended_ns - child.began_ns) / 1e9}
    return _Timed(legs, preparing, verdicts)


def _played_s(directory: Path, name: str) -> float | None:
    plan = evidence.read_plan(next(evidence.run_directories(directory)))
    for planned in plan.scenarios:
        if planned.name == name:
            declaration = planned.declaration
            return phase_offsets(durations_of(declaration.quick, declaration.full, plan.size))["drain"][0]
    return None
