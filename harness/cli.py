"""The command line: `harness run`, `list`, `judge`, `report`, `upstreams`. Wires; decides nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from harness import catalog, evidence, verdict
from harness.launch import Order, play
from harness.live import LiveDisplay
from harness.model import PlannedScenario, Verdict
from harness.target import TargetError, bare_target, read_target
from harness.upstreams.process import alone

_EXIT_CODES = """\b
Exit codes:
  0    pass (with --expected: everything showed what the target file expects)
  1    fail
  2    usage: an option, a scenario name or a file is wrong
  3    inconclusive: evidence was missing; the findings say which
  4    error: the harness itself went wrong
  130  interrupted"""


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.version_option(package_name="agent-harness", prog_name="harness")
def main() -> None:
    """Load-test and chaos evaluation of LLM chat agents.

    Replays documented attacks and outages against an agent, watches it from three sides (client, upstreams, process),
    and says pass or fail with evidence.
    """


main.add_command(alone)


@main.command(epilog=_EXIT_CODES)
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--target", type=click.Path(path_type=Path), help="target.toml: how the agent is started and spoken to.")
@click.option("--variant", "variants", multiple=True, help="A variant of the target file; may be given several times.")
@click.option("--host", help="Base URL of an agent that is already running.")
@click.option("--upstreams", help="Control URL of the bundled upstreams that the running agent calls.")
@click.option("--full", is_flag=True, help="Play the documented size (100,000 user ids) instead of the quick one.")
@click.option("--seed", default=1, show_default=True, help="One seed reproduces every choice of a run.")
@click.option(
    "--deadline", "deadline_s", type=float, help="Seconds until a caller gives up (default: the target's own)."
)
@click.option("--expected", is_flag=True, help="Exit 0 when every scenario shows what the target file expects of it.")
@click.option(
    "--runs", default=Path("runs"), show_default=True, type=click.Path(path_type=Path), help="Where to record."
)
@click.option("--name", help="Name of the run directory, behind the time.")
@click.option("--scenarios", "directory", type=click.Path(path_type=Path), help="A directory of one's own scenarios.")
@click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="One more environment variable for the target."
)
def run(
    scenarios: tuple[str, ...],
    target: Path | None,
    variants: tuple[str, ...],
    host: str | None,
    upstreams: str | None,
    full: bool,
    seed: int,
    deadline_s: float | None,
    expected: bool,
    runs: Path,
    name: str | None,
    directory: Path | None,
    settings: tuple[str, ...],
) -> None:
    """Play scenarios against an agent, judge them, and write a report.

    Without SCENARIO, all of them. With several --variant, one campaign each, and one report side by side.
    """
    console = Console()
    try:
        described = read_target(target) if target is not None else bare_target()
        expectations = [described.variant(variant).expect for variant in variants]
        if target is None and host is None:
            msg = "There is no target. Give --target target.toml, or --host http://127.0.0.1:8000 for a running agent."
            raise click.UsageError(msg)
        if host is None and described.host is None and described.start is None:
            msg = f"{target} has no [start], so nothing can be started. Give the URL of the running agent with --host."
            raise click.UsageError(msg)
        if expected and (not expectations or None in expectations):
            msg = f"--expected needs --variant, and for every one of them `expect` in {target or 'a target file'}."
            raise click.UsageError(msg)
        chosen = catalog.select(catalog.read(directory or catalog.BUNDLED), scenarios)
        run_dirs = _run_directories(runs, name or described.name, variants)
    except (TargetError, catalog.CatalogError) as error:
        raise click.UsageError(str(error)) from error
    except evidence.EvidenceError as error:
        _fail(console, error, verdict.EXIT_USAGE)

    code = verdict.EXIT_PASS
    recorded: list[Path] = []
    for run_dir, variant in zip(run_dirs, variants or (None,), strict=True):
        order = Order(
            run_dir=run_dir,
            scenario_files=[Path(scenario.path) for scenario in chosen],
            target=target,
            variant=variant,
            host=host,
            upstreams=upstreams,
            full=full,
            seed=seed,
            deadline_s=deadline_s,
            settings=settings,
        )
        title = f"{described.name if target else host}{f' ({variant})' if variant else ''}"
        try:
            with LiveDisplay(console, title, _order_of_play(chosen)) as display:
                played = play(order, display.follow)
        except evidence.EvidenceError as error:
            _fail(console, error, verdict.EXIT_ERROR)
        if played.trouble and not recorded:
            _fail(console, played.trouble, played.exit_code)
        code = max(code, played.exit_code)
        if (run_dir / evidence.PLAN).exists():
            recorded.append(run_dir)
        if played.trouble or played.exit_code == verdict.EXIT_INTERRUPTED:
            break
    _report(console, recorded, run_dirs[0].parent if len(run_dirs) > 1 else run_dirs[0])
    if played.trouble:
        _fail(console, played.trouble, code)
    if expected and code != verdict.EXIT_INTERRUPTED:
        code = _against_expectation(console, recorded)
    sys.exit(code)


@main.command("list")
@click.option("--scenarios", "directory", type=click.Path(path_type=Path), help="A directory of one's own scenarios.")
@click.option("--checks", is_flag=True, help="List the checks and their limits instead.")
@click.option("--faults", is_flag=True, help="List the faults and their fields instead.")
def list_(directory: Path | None, checks: bool, faults: bool) -> None:
    """List the scenarios, or the checks or faults that a scenario can be written with."""
    console = Console()
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    if checks:
        import harness.checks

        table.add_column("check", no_wrap=True)
        table.add_column("what it asks, and its limits")
        for check in harness.checks.catalog().values():
            details = ["asked of every scenario"] if check.implicit else list(check.limits)
            table.add_row(
                check.name, "\n".join([check.question, *([f"[dim]{', '.join(details)}[/dim]"] if details else [])])
            )
    elif faults:
        import harness.faults

        table.add_column("fault", no_wrap=True)
        table.add_column("what it breaks, and its fields")
        for name, kind in harness.faults.catalogue().items():
            first_line = (kind.__doc__ or "").strip().splitlines()[0]
            table.add_row(name, f"{first_line}\n[dim]{', '.join(kind.__struct_fields__)}[/dim]")
    else:
        try:
            scenarios = catalog.read(directory or catalog.BUNDLED)
        except catalog.CatalogError as error:
            raise click.UsageError(str(error)) from error
        table.add_column("scenario", no_wrap=True)
        table.add_column("severity", no_wrap=True)
        table.add_column("what must hold")
        for scenario in scenarios:
            table.add_row(scenario.name, scenario.declaration.severity, scenario.declaration.claim)
    console.print(table)


@main.command(epilog=_EXIT_CODES)
@click.argument("directory", type=click.Path(path_type=Path))
def judge(directory: Path) -> None:
    """Judge a stored run again, from what it recorded. Nothing is started and nothing is sent."""
    console = Console()
    try:
        run_dirs = list(evidence.run_directories(directory))
    except evidence.EvidenceError as error:
        _fail(console, error, verdict.EXIT_USAGE)
    verdicts: list[Verdict] = []
    for run_dir in run_dirs:
        result = subprocess.run(
            [sys.executable, "-m", "harness.judge", str(run_dir)], check=False, capture_output=True, text=True
        )
        if result.stderr:
            _fail(console, result.stderr.strip(), verdict.EXIT_ERROR)
        for planned in evidence.read_plan(run_dir).scenarios:
            judgement = evidence.read_judgement(run_dir, planned.name)
            verdicts.append(judgement.verdict if judgement else Verdict.INCONCLUSIVE)
    _table(console, run_dirs)
    sys.exit(verdict.exit_code(verdict.worst(verdicts)))


@main.command()
@click.argument("directories", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Where to write it (default: beside the run).")
def report(directories: tuple[Path, ...], output: Path | None) -> None:
    """Write the HTML report of stored runs; several runs are shown side by side."""
    console = Console()
    try:
        run_dirs = [run_dir for directory in directories for run_dir in evidence.run_directories(directory)]
        _report(console, run_dirs, directories[0], output)
    except evidence.EvidenceError as error:
        _fail(console, error, verdict.EXIT_USAGE)


def _run_directories(runs: Path, name: str, variants: Sequence[str]) -> list[Path]:
    """Name the run directories: one, or one for each variant below a common one."""
    parent = evidence.new_run_directory(runs, name if len(variants) != 1 else f"{name}-{variants[0]}")
    return [parent / variant for variant in variants] if len(variants) > 1 else [parent]


def _order_of_play(scenarios: Sequence[PlannedScenario]) -> tuple[str, ...]:
    return tuple(one.name for one in sorted(scenarios, key=lambda one: (one.declaration.destructive, one.name)))


def _table(console: Console, run_dirs: Sequence[Path]) -> None:
    from reports import terminal

    terminal.print_table(run_dirs, console)


def _report(console: Console, run_dirs: Sequence[Path], place: Path, output: Path | None = None) -> None:
    import reports.html

    if not run_dirs:
        return
    _table(console, run_dirs)
    path = output or place / "report.html"
    try:
        reports.html.write(run_dirs, path)
    except OSError as error:
        msg = f"Cannot write {path}: {error.strerror or error}. Choose another place with --output."
        raise evidence.EvidenceError(msg) from error
    console.print(f"Report: {path}", highlight=False, soft_wrap=True)


def _against_expectation(console: Console, run_dirs: Sequence[Path]) -> int:
    """Say what did not show what the target file expects; return the exit code."""
    surprises: list[Verdict] = []
    for run_dir in run_dirs:
        plan = evidence.read_plan(run_dir)
        for planned in plan.scenarios:
            wanted = plan.expect_scenarios.get(planned.name, plan.expect)
            judgement = evidence.read_judgement(run_dir, planned.name)
            got = judgement.verdict if judgement else Verdict.INCONCLUSIVE
            if wanted is not None and got is not wanted:
                # A pass where a fail was expected is as bad as the reverse: something no longer tells the two apart.
                surprises.append(Verdict.FAIL if got is Verdict.PASS else got)
                console.print(
                    f"{plan.variant}: {planned.name} was expected to {wanted} and is {got}.",
                    style="red",
                    highlight=False,
                )
    if not surprises:
        console.print("Every scenario showed what the target file expects of it.", style="green")
        return verdict.EXIT_PASS
    return verdict.exit_code(verdict.worst(surprises))


def _fail(console: Console, message: object, code: int) -> None:
    Console(stderr=True).print(str(message), style="red", highlight=False, markup=False, soft_wrap=True)
    del console
    sys.exit(code)


if __name__ == "__main__":
    main()
