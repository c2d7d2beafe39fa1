"""What does a stored run look like in a terminal? Scenarios down, variants across, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.content.decision import Decision, decide
from reports.content.outside_text import one_line
from reports.content.stored import MARKS, ReportError, Standing, StoredRun, StoredScenario, fix_first, read_runs

_STYLES = {
    Standing.PASS: "green",
    Standing.FAIL: "bold red",
    Standing.INCONCLUSIVE: "yellow",
    Standing.ERROR: "bold magenta",
    Standing.NOT_JUDGED: "yellow",
    Standing.NOT_PLAYED: "dim",
}
_ASCII_MARKS = {"✓": "+", "✗": "x", "–": "-"}
_NARROWEST_VARIANT = 24
"""Columns below which summaries break into a word a line: then variants go down instead of across."""


def _plain(text: str, console: Console, limit: int = 300) -> str:
    line = one_line(text, limit)
    return line.encode(console.encoding, "replace").decode(console.encoding)


def _mark(standing: Standing, console: Console) -> str:
    mark = MARKS[standing]
    return _ASCII_MARKS.get(mark, mark) if console.options.ascii_only else mark


def _badge(standing: Standing, console: Console) -> Text:
    return Text.assemble((f"{_mark(standing, console)} {standing.value.upper()}", _STYLES[standing]))


def _cell(scenario: StoredScenario, fix: int | None, console: Console) -> Text:
    cell = _badge(scenario.standing, console)
    if fix is not None:
        cell.append(f"  fix no. {fix}", style="bold")
    if scenario.standing is not Standing.PASS:
        cell.append("\n" + _plain(scenario.summary, console, 260))
    return cell


def _name(scenario: StoredScenario, console: Console) -> Text:
    name = Text.assemble((_plain(scenario.name, console, 60), "bold"))
    if scenario.planned is not None:
        name.append(f"\n{scenario.planned.declaration.severity}", style="dim")
    return name


def _fix_numbers(run: StoredRun) -> dict[str, int]:
    return {scenario.name: number for number, scenario in enumerate(fix_first(run), start=1)}


def _across(runs: Sequence[StoredRun], console: Console) -> Table:
    table = Table(show_lines=True, header_style="bold", expand=console.width < 120)
    table.add_column("Scenario", min_width=14, max_width=24, overflow="fold")
    for run in runs:
        table.add_column(_plain(run.label, console), ratio=1, overflow="fold")
    numbers = [_fix_numbers(run) for run in runs]
    for name in runs[0].scenarios:
        planned = next(run.scenarios[name] for run in runs if run.scenarios[name].planned is not None)
        cells = [_cell(run.scenarios[name], fixes.get(name), console) for run, fixes in zip(runs, numbers, strict=True)]
        table.add_row(_name(planned, console), *cells)
    return table


def _down(runs: Sequence[StoredRun], console: Console) -> Table:
    table = Table(header_style="bold", expand=console.width < 120)
    for title in ("Scenario", "Variant"):
        table.add_column(title, overflow="fold", max_width=24)
    table.add_column("Verdict", overflow="fold", ratio=1)
    numbers = [_fix_numbers(run) for run in runs]
    for name in runs[0].scenarios:
        for index, (run, fixes) in enumerate(zip(runs, numbers, strict=True)):
            scenario = run.scenarios[name]
            table.add_row(
                Text(_plain(name, console, 60), style="bold") if index == 0 else "",
                Text(_plain(run.label, console)),
                _cell(scenario, fixes.get(name), console),
                end_section=run is runs[-1],
            )
    return table


def _print_decision(decision: Decision, console: Console) -> None:
    console.print(Text(_plain(decision.headline, console), style="bold"))
    console.print(Text(_plain(decision.lead, console, 1000)))
    for reason in decision.reasons:
        if reason.surprises:
            console.print(Text(_plain(f"{reason.label}: {reason.surprises}", console, 600), style="yellow"))
    for caveat in decision.caveats:
        console.print(Text(_plain(caveat, console, 600), style="dim"))


def print_table(runs: Sequence[Path], console: Console) -> None:
    """Print the verdict table of stored runs, and under it the sentence that says which of them to ship.

    Legible without colour and from 60 columns on; text from outside cannot move the cursor.

    Args:
        runs: run directories, one for each variant, in the order of the columns.
        console: where to print to.

    Raises:
        ReportError: no run was given.
        harness.evidence.EvidenceError: a run has no readable plan.
    """
    stored = read_runs(runs)
    if stored[0].scenarios:
        room = (console.width - 30) // len(stored)
        console.print(_across(stored, console) if room >= _NARROWEST_VARIANT - 3 else _down(stored, console))
    _print_decision(decide(stored), console)


def write(runs: Sequence[Path], path: Path) -> None:
    """Write the table as plain text of 100 columns.

    Args:
        runs: run directories, one for each variant.
        path: the file to write.

    Raises:
        ReportError: no run was given, or the file cannot be written.
        harness.evidence.EvidenceError: a run has no readable plan.
    """
    try:
        with path.open("w", encoding="utf-8") as file:
            print_table(runs, Console(file=file, width=100, color_system=None, force_terminal=False))
    except OSError as error:
        msg = f"Cannot write {path}: {error.strerror or error}. Choose another place for the report."
        raise ReportError(msg) from error
