"""The command line: `harness run`, `list`, `judge`, `report`, `upstreams`. Wires; decides nothing."""

from __future__ import annotations

import signal
import sys

_INTERRUPTED = "Interrupted."
try:
    # Half a second of imports, in which a Ctrl-C is as likely as in any other.
    import contextlib
    import os
    import subprocess
    import traceback
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import NoReturn
    from urllib.parse import urlsplit

    import click
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from harness import catalog, evidence, verdict
    from harness.launch import Order, Played, play
    from harness.live import LiveDisplay
    from harness.model import Plan, PlannedScenario, Verdict
    from harness.target import MOST_REPLICAS, TargetError, bare_target, read_target
    from harness.upstreams.process import alone
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one while Python cleans up changes nothing
    sys.stderr.write(f"{_INTERRUPTED}\n")
    raise SystemExit(130) from None

_EXIT_CODES = """\b
Exit codes:
  0    pass (with --expected: everything showed what the target file expects)
  1    fail
  2    usage: an option, a scenario name or a file is wrong
  3    inconclusive: evidence was missing; the findings say which
  4    error: the harness itself went wrong
  130  interrupted"""


_OF_EXIT_CODE = {verdict.exit_code(reached): reached for reached in Verdict}


class _InterruptedRunError(Exception):
    """Ctrl-C during a run; the message says what is left of it."""


def _checked_url(value: str, of_what: str, example: str) -> str:
    """Return `value` if something can listen there: http or https, a host, and a port that there is where one is given.

    Raises:
        click.BadParameter: it cannot.
    """
    expected = f"{value!r} is no URL of {of_what}; expected something like {example}"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise click.BadParameter(f"{expected} ({error}).") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise click.BadParameter(f"{expected}.")
    return value


def _target_url(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    del context, option  # a callback of click is given them
    return None if value is None else _checked_url(value, "a target", "http://127.0.0.1:8000")


def _control_url(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    del context, option
    return None if value is None else _checked_url(value, "upstreams", "http://127.0.0.1:8100")


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
@click.option("--host", callback=_target_url, help="Base URL of an agent that is already running.")
@click.option(
    "--upstreams", callback=_control_url, help="Control URL of the bundled upstreams that the running agent calls."
)
@click.option("--full", is_flag=True, help="Play the documented size (100,000 user ids) instead of the quick one.")
@click.option(
    "--replicas",
    type=click.IntRange(1, MOST_REPLICAS),
    help="How many processes of the target are started, behind a balancer (default: as the target file says).",
)
@click.option("--seed", default=1, show_default=True, help="One seed reproduces every choice of a run.")
@click.option(
    "--deadline", "deadline_s", type=float, help="Seconds until a caller gives up (default: the target's own)."
)
@click.option("--pid", type=int, help="Process id of an agent that is already running here: it is watched.")
@click.option("--log-file", type=click.Path(path_type=Path), help="What an agent that is already running logs to.")
@click.option("--metrics-url", help="Where an agent that is already running gives its Prometheus metrics.")
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
    replicas: int | None,
    pid: int | None,
    log_file: Path | None,
    metrics_url: str | None,
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
        if host is None and described.start is not None and (pid is not None or log_file or metrics_url):
            msg = "--pid, --log-file and --metrics-url have no effect: what the harness starts it watches anyway."
            raise click.UsageError(msg)
        described.observed(pid, None if log_file is None else str(log_file), metrics_url)
        if replicas is not None and (host is not None or described.start is None):
            msg = "--replicas has no effect: the harness does not start this agent. Start more of it behind a balancer."
            raise click.UsageError(msg)
        if expected and (not expectations or None in expectations):
            msg = f"--expected needs --variant, and for every one of them `expect` in {target or 'a target file'}."
            raise click.UsageError(msg)
        chosen = catalog.select(catalog.read(directory or catalog.BUNDLED), scenarios)
        run_dirs = _run_directories(runs, name or described.name, variants)
    except (TargetError, catalog.CatalogError) as error:
        raise click.UsageError(str(error)) from error
    except evidence.EvidenceError as error:
        _fail(error, verdict.EXIT_USAGE)

    orders = [
        Order(
            run_dir=run_dir,
            scenario_files=[Path(scenario.path) for scenario in chosen],
            target=target,
            variant=variant,
            host=host,
            upstreams=upstreams,
            full=full,
            seed=seed,
            deadline_s=deadline_s,
            replicas=replicas,
            pid=pid,
            log_file=log_file,
            metrics_url=metrics_url,
            settings=settings,
        )
        for run_dir, variant in zip(run_dirs, variants or (None,), strict=True)
    ]
    titles = [
        f"{described.name if target else host}{f' ({order.variant})' if order.variant else ''}" for order in orders
    ]
    place = run_dirs[0].parent if len(run_dirs) > 1 else run_dirs[0]
    try:
        code = _campaigns(console, orders, titles, _order_of_play(chosen), place, expected)
    except KeyboardInterrupt:
        raise _InterruptedRunError(_what_is_left(place, run_dirs)) from None
    if code == verdict.EXIT_INTERRUPTED:
        raise _InterruptedRunError(_what_is_left(place, run_dirs))
    sys.exit(code)


def _campaigns(
    console: Console,
    orders: Sequence[Order],
    titles: Sequence[str],
    order_of_play: tuple[str, ...],
    place: Path,
    expected: bool,
) -> int:
    """Play one campaign after the other, report them, and return the exit code of the worst verdict."""
    recorded: list[Path] = []
    reached: list[Verdict] = []
    played = Played(verdict.EXIT_ERROR)
    for order, title in zip(orders, titles, strict=True):
        with LiveDisplay(console, title, order_of_play) as display:
            played = play(order, display.follow)
        judged: list[Verdict] = []
        if (order.run_dir / evidence.PLAN).exists():
            recorded.append(order.run_dir)
            judged = _verdicts(order.run_dir)
        reached += _beyond_judgements(played, judged) if expected else [*judged, *_beyond_judgements(played, judged)]
        if played.trouble or played.exit_code in (verdict.EXIT_USAGE, verdict.EXIT_INTERRUPTED):
            break
    if recorded:
        try:
            _report(console, recorded, place)
        except evidence.EvidenceError as error:
            _say(error)
            reached.append(Verdict.ERROR)
    if played.exit_code == verdict.EXIT_INTERRUPTED:
        return verdict.EXIT_INTERRUPTED
    if expected and recorded:
        reached += _surprises(console, recorded)
    if played.trouble:
        _say(played.trouble)
    if played.exit_code == verdict.EXIT_USAGE:
        return verdict.EXIT_USAGE
    # With --expected, nothing that is worse than a surprise is a pass.
    return verdict.exit_code(verdict.worst([Verdict.PASS, *reached]))


def _verdicts(run_dir: Path) -> list[Verdict]:
    """Return the verdict on every scenario of a run: inconclusive where there is none, error where it is unreadable."""
    try:
        names = [planned.name for planned in evidence.read_plan(run_dir).scenarios]
    except evidence.EvidenceError:
        return [Verdict.ERROR]  # the report, which comes next, says why
    return [_verdict_on(run_dir, name) for name in names]


def _verdict_on(run_dir: Path, scenario: str) -> Verdict:
    try:
        judgement = evidence.read_judgement(run_dir, scenario)
    except evidence.EvidenceError:
        return Verdict.ERROR
    return judgement.verdict if judgement else Verdict.INCONCLUSIVE


def _beyond_judgements(played: Played, judged: Sequence[Verdict]) -> list[Verdict]:
    """Return what the exit code of a campaign says that its judgements do not: that it broke, or never began."""
    said = _OF_EXIT_CODE.get(played.exit_code, Verdict.ERROR)
    known = bool(judged) and verdict.worst([said, *judged]) is verdict.worst(judged)
    return [] if known else [said]


def _what_is_left(place: Path, run_dirs: Iterable[Path]) -> str:
    if not any((run_dir / evidence.PLAN).exists() for run_dir in run_dirs):
        return "Interrupted before anything was recorded."
    return f"Interrupted; what was recorded is in {place}, judge it again with `harness judge {place}`."


@main.command("list")
@click.option("--scenarios", "directory", type=click.Path(path_type=Path), help="A directory of one's own scenarios.")
@click.option("--checks", is_flag=True, help="List the checks and their limits instead.")
@click.option("--faults", is_flag=True, help="List the faults and their fields instead.")
@click.option(
    "--target",
    type=click.Path(path_type=Path),
    help="List the parts of a target instead, and which scenario shows it when one is turned back.",
)
def list_(directory: Path | None, checks: bool, faults: bool, target: Path | None) -> None:
    """List the scenarios, or the checks or faults that a scenario can be written with, or the parts of a target."""
    console = Console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    if checks:
        import harness.checks

        table.add_column("check", no_wrap=True)
        table.add_column("what it asks, and its limits")
        for check in harness.checks.catalog().values():
            details = ["asked of every scenario"] if check.implicit else list(check.limits)
            table.add_row(Text(check.name), _described(check.question, details))
    elif faults:
        import harness.faults
        from harness.proxy import LINE_FAULTS

        table.add_column("fault", no_wrap=True)
        table.add_column("what it breaks, and its fields")
        of_lines = {f"{name} (of a line)": kind for name, kind in LINE_FAULTS.items()}
        for name, kind in {**harness.faults.catalogue(), **of_lines}.items():
            first_line = (kind.__doc__ or "").strip().splitlines()[0]
            table.add_row(Text(name), _described(first_line, kind.__struct_fields__))
    elif target is not None:
        _list_parts(table, target, directory)
    else:
        try:
            scenarios = catalog.read(directory or catalog.BUNDLED)
        except catalog.CatalogError as error:
            raise click.UsageError(str(error)) from error
        table.add_column("scenario", no_wrap=True)
        table.add_column("severity", no_wrap=True)
        table.add_column("what must hold")
        for scenario in scenarios:
            declared = scenario.declaration
            table.add_row(Text(scenario.name), Text(declared.severity), Text(declared.claim))
    console.print(table)


def _list_parts(table: Table, target: Path, directory: Path | None) -> None:
    """Fill a table with what each part of a target is there for."""
    import harness.checks

    try:
        described = read_target(target)
        # A file may speak of the bundled scenarios and of a team's own.
        known = {
            scenario.name
            for where in {catalog.BUNDLED, directory or catalog.BUNDLED}
            for scenario in catalog.read(where)
        }
        described.check_names(known, harness.checks.catalog())
    except (TargetError, catalog.CatalogError) as error:
        raise click.UsageError(str(error)) from error
    if described.ablation is None:
        msg = f"{target} has no [ablation] and [parts], so it does not say what its parts are there for."
        raise click.UsageError(msg)
    for heading in ("part", "turned back by"):
        table.add_column(heading, no_wrap=True)
    table.add_column("what is then to be seen")
    for name, part in described.parts.items():
        matters = "" if not part.engines else f"matters for {' and '.join(part.engines)}"
        for variant, scenarios in part.weaker.items():
            seen = [f"{scenario}: {text}" for scenario, text in scenarios.items()] or ["green in every scenario"]
            table.add_row(
                Text(name), Text(f"{part.switch}={variant}"), _described("\n".join(seen), [matters] if matters else [])
            )
            name = ""


def _described(what: str, details: Sequence[str]) -> Text:
    return Text.assemble(what, *([("\n" + ", ".join(details), "dim")] if details else []))


@main.command(epilog=_EXIT_CODES)
@click.argument("directory", type=click.Path(path_type=Path))
def judge(directory: Path) -> None:
    """Judge a stored run again, from what it recorded. Nothing is started and nothing is sent."""
    console = Console()
    try:
        plans = {run_dir: evidence.read_plan(run_dir) for run_dir in evidence.run_directories(directory)}
    except evidence.EvidenceError as error:
        _fail(error, verdict.EXIT_USAGE)
    reached = [one for run_dir, plan in plans.items() for one in _judge_again(run_dir, plan)]
    _table(console, list(plans))
    sys.exit(verdict.exit_code(verdict.worst(reached)))


def _judge_again(run_dir: Path, plan: Plan) -> list[Verdict]:
    """Judge a run in a process of its own, and what that could not judge scenario by scenario; return the verdicts.

    Only a judgement that was written just now counts. An old one of a scenario that cannot be judged any more is put
    aside as `judgement.old.json`, so that no table shows it.
    """
    names = [planned.name for planned in plan.scenarios]
    before = {name: _written(run_dir, name) for name in names}
    code, words = _judge_process(run_dir)
    missing = [name for name in names if _written(run_dir, name) == before[name]]
    reached = [_verdict_on(run_dir, name) for name in names if name not in missing]
    if not missing and code not in _OF_EXIT_CODE:
        _say(f"Judging {run_dir} {_how_it_ended(code)}. Its judgements are written, but nobody knows what is missing.")
        reached.append(Verdict.ERROR)
    elif not missing:
        reached += _beyond_judgements(Played(code), reached)
        if code == verdict.EXIT_ERROR and Verdict.ERROR not in [_verdict_on(run_dir, name) for name in names]:
            _say(words or f"Judging {run_dir} {_how_it_ended(code)}.")
    for name in missing:
        code, words = _judge_process(run_dir, name)
        if _written(run_dir, name) != before[name] and code in _OF_EXIT_CODE:
            reached += [_verdict_on(run_dir, name), _OF_EXIT_CODE[code]]
            continue
        judgement = evidence.scenario_directory(run_dir, name) / evidence.JUDGEMENT
        with contextlib.suppress(OSError):
            judgement.replace(judgement.with_name("judgement.old.json"))
        _say(f"{name} could not be judged: {words or f'judging it {_how_it_ended(code)}.'}")
        reached.append(Verdict.ERROR)
    return reached


def _written(run_dir: Path, scenario: str) -> tuple[int, int] | None:
    """Return what tells one writing of a judgement from the next, None where there is none: it is always a new file."""
    try:
        status = (evidence.scenario_directory(run_dir, scenario) / evidence.JUDGEMENT).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _judge_process(run_dir: Path, scenario: str | None = None) -> tuple[int, str]:
    """Judge a run, or one scenario of it, in a process of its own; return its exit code and its complaint."""
    command = [sys.executable, "-m", "harness.judge", str(run_dir)]
    command += ["--scenario", scenario] if scenario else []
    result = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    words = result.stderr.decode(errors="replace").strip()
    if "Traceback (most recent call last)" in words:
        return result.returncode, words  # a mistake of ours is shown whole
    return result.returncode, words.splitlines()[-1] if words else ""


def _how_it_ended(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"


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
        _fail(error, verdict.EXIT_USAGE)


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

    _table(console, run_dirs)
    path = output or place / "report.html"
    try:
        reports.html.write(run_dirs, path)
    except OSError as error:
        msg = f"Cannot write {path}: {error.strerror or error}. Choose another place with --output."
        raise evidence.EvidenceError(msg) from error
    console.print(Text(f"Report: {path}"), soft_wrap=True)


def _surprises(console: Console, run_dirs: Sequence[Path]) -> list[Verdict]:
    """Say what did not show what the target file expects; return how bad each of it is."""
    surprises: list[Verdict] = []
    for run_dir in run_dirs:
        plan = evidence.read_plan(run_dir)
        for planned in plan.scenarios:
            wanted = plan.expect_scenarios.get(planned.name, plan.expect)
            got = _verdict_on(run_dir, planned.name)
            if wanted is not None and got is not wanted:
                # A pass where a fail was expected is as bad as the reverse: something no longer tells the two apart.
                surprises.append(Verdict.FAIL if got is Verdict.PASS else got)
                said = f"{plan.variant}: {planned.name} was expected to {wanted} and is {got}."
                console.print(Text(said, "red"), soft_wrap=True)
    if not surprises:
        console.print(Text("Every scenario showed what the target file expects of it.", "green"))
    return surprises


def _say(message: object) -> None:
    Console(stderr=True).print(Text(str(message), "red"), soft_wrap=True)


def _fail(message: object, code: int) -> NoReturn:
    _say(message)
    sys.exit(code)


def command_line(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: what `harness` and `python -m harness.cli` start.

    Exits as the help says: with the verdict's code; 2 with one sentence for a mistake of the user; 130 with one
    sentence for Ctrl-C, whenever it comes; 4 with a traceback for a mistake of the harness.

    Args:
        arguments: the words behind the command's name (default: those of this process).
    """
    sys.excepthook = _last_resort
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a sign shows another: no reason to lose a run.
        with contextlib.suppress(AttributeError, OSError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # only real streams have it
    try:
        code = _exit_code(arguments)
    except KeyboardInterrupt:
        code = _interrupted(_INTERRUPTED)
    # What to say has been said: a Ctrl-C while Python cleans up changes nothing.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


def _exit_code(arguments: Sequence[str] | None) -> int:
    """Run the command line, say what went wrong, and return the exit code."""
    try:
        code = main.main(arguments, prog_name="harness", standalone_mode=False)
    except _InterruptedRunError as error:
        return _interrupted(str(error))
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _interrupted(_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return verdict.EXIT_USAGE
    except (TargetError, catalog.CatalogError) as error:
        _say(error)
        return verdict.EXIT_USAGE
    except evidence.EvidenceError as error:
        _say(error)
        return verdict.EXIT_ERROR
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else verdict.EXIT_PASS
    except Exception:
        traceback.print_exc()
        _say("This is a mistake of the harness, not of your agent: please report it with the lines above.")
        return verdict.EXIT_ERROR
    return code if isinstance(code, int) else verdict.EXIT_PASS


def _interrupted(sentence: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _say(sentence)
    return verdict.EXIT_INTERRUPTED


def _last_resort(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Say what nobody caught: a Ctrl-C in the few instructions between catching one and ignoring the next."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stderr.write(f"{_INTERRUPTED}\n")
    sys.stderr.flush()
    os._exit(verdict.EXIT_INTERRUPTED)


if __name__ == "__main__":
    command_line()
