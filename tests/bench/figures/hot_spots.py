"""What of a request costs the load side most? Its CPU by the innermost line of the harness, per request."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import msgspec

from tests.bench import load
from tests.bench.child import ROOT
from tests.bench.figure import Bench, BenchError, Figure, Row

_PER_S = 600.0
_AFTER_S = 4.0
_SHOWN = 20


class _Stacks(msgspec.Struct):
    """What cpu_sampler.py writes."""

    functions: list[tuple[str, str, int]]
    lines: list[tuple[str, str, int, int]]
    samples: int


def measure(bench: Bench) -> Figure:
    """Sample the Locust process while it plays at a rate that keeps it busy, but not overrun."""
    length_s = bench.pick(20.0, 4.0)
    stacks_path = bench.directory / "stacks.json"
    with load.server(bench.directory / "server.log") as server:
        url = str(server.ready()["url"])
        env = {"BENCH_SAMPLES": str(stacks_path), "BENCH_SAMPLE_AFTER_S": str(_AFTER_S)}
        sampler = ROOT / "tests" / "bench" / "cpu_sampler.py"
        directory = bench.directory / "harness"
        with load.play_harness(url, directory, per_s=_PER_S, steady_s=length_s, beside=sampler, env=env) as child:
            data = load.recorded(child, directory, length_s)
            usage = child.usage
    if usage is None or not stacks_path.exists():
        raise BenchError(f"Nothing was sampled. {child.last_words()}")
    stacks = msgspec.json.decode(stacks_path.read_bytes(), type=_Stacks)
    by_function = Counter[tuple[str, str]]()
    for file, function, _line, count in stacks.lines:
        by_function[file, function] += count
    total = max(1, stacks.samples)
    rows: list[Row] = [
        (f"{file} {function}", 100 * count / total, _lines_of(stacks, file, function, total))
        for (file, function), count in by_function.most_common(_SHOWN)
    ]
    (bench.directory / "functions.json").write_text(json.dumps(stacks.functions, indent=1), encoding="utf-8")
    return Figure(
        question="where the load side's CPU goes, by the innermost function of the harness that is on the stack",
        columns=("function", "share %", "by line (line: share %)"),
        rows=tuple(rows),
        notes=(
            f"{stacks.samples} samples of the CPU timer (one per tick of the kernel, usually 4 ms), "
            f"{len(data.samples)} requests at {_PER_S:g}/s. Where nothing of the harness is on the stack, the function "
            "itself is named (Locust, gevent).",
            f"Innermost functions whatever their file: {_relative(bench.directory / 'functions.json')}",
        ),
    )


def _lines_of(stacks: _Stacks, file: str, function: str, total: int) -> str:
    lines = [entry for entry in stacks.lines if entry[:2] == (file, function)]
    return ", ".join(f"{line}: {100 * count / total:.1f}" for _, _, line, count in lines[:3])


def _relative(path: Path) -> Path:
    return path.relative_to(ROOT)
