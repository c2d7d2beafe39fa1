"""Which benchmarks are there, what do they say? Runs all of them or the named ones, prints and keeps the figures."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from tests.bench import figures
from tests.bench.child import ROOT
from tests.bench.figure import Bench, BenchError, Cell, Figure


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What `runs/bench-<time>.json` holds."""

    at: str
    short: bool
    machine: dict[str, str | int | float]
    git_revision: str
    figures: dict[str, Figure]
    unmeasured: dict[str, str]
    """Benchmarks that could not be carried out, and why."""


def main() -> int:
    """Measure, print and write; return 0, or 1 where something could not be measured."""
    names = sorted(path.stem for path in Path(figures.__path__[0]).glob("*.py") if path.stem != "__init__")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; all of them if none")
    parser.add_argument("--short", action="store_true", help="only try that everything works; quote nothing of it")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(names)}")

    console = Console(width=max(120, Console().width))
    stem = f"bench-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    runs = ROOT / "runs"
    measured: dict[str, Figure] = {}
    unmeasured: dict[str, str] = {}
    interrupted = False
    for name in options.names or names:
        directory = runs / stem / name
        directory.mkdir(parents=True)
        console.print(f"[dim]{name} ...[/dim]")
        began_s = time.monotonic()
        try:
            figure = importlib.import_module(f"tests.bench.figures.{name}").measure(Bench(directory, options.short))
        except BenchError as error:
            unmeasured[name] = str(error)
            Console(stderr=True).print(f"{name}: {error}", style="red", markup=False, soft_wrap=True)
        except KeyboardInterrupt:
            interrupted = True
            break
        else:
            measured[name] = figure
            _print(console, name, figure, time.monotonic() - began_s)
    path = runs / f"{stem}.json"
    written = Measured(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        short=options.short,
        machine={
            "cpus": os.cpu_count() or 0,
            "load_average_1_min": os.getloadavg()[0],
            "platform": platform.platform(),
            "python": platform.python_version(),
            "locust": metadata.version("locust"),
        },
        git_revision=_git_revision(),
        figures=measured,
        unmeasured=unmeasured,
    )
    path.write_bytes(msgspec.json.format(msgspec.json.encode(written), indent=1) + b"\n")
    console.print(f"Figures: {path.relative_to(ROOT)}", highlight=False, soft_wrap=True)
    return 130 if interrupted else 1 if unmeasured else 0


def _print(console: Console, name: str, figure: Figure, took_s: float) -> None:
    table = Table(title=f"{name}: {figure.question}", title_justify="left", caption_justify="left")
    for index, column in enumerate(figure.columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in figure.rows:
        table.add_row(*map(_cell, row))
    console.print(table, highlight=False)
    for note in figure.notes:
        console.print(f"  {note}", style="dim", highlight=False, markup=False)
    load = os.getloadavg()[0]
    console.print(
        f"  measured in {took_s:.0f} s; load average {load:.1f} on {os.cpu_count()} CPUs\n",
        style="dim",
        highlight=False,
    )


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    return f"{value:,.{0 if abs(value) >= 100 else 2}f}" if isinstance(value, float) else str(value)


def _git_revision() -> str:
    result = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return result.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
