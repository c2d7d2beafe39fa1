"""Which of the agents is to be shipped, and why? Put in words from the stored verdicts; nothing is judged here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model import Verdict
from reports.content.outside_text import one_line
from reports.content.quantities import count, words
from reports.content.stored import Standing, StoredRun, StoredScenario, fix_first


@dataclass(frozen=True)
class Reason:
    """What speaks for or against one run."""

    label: str
    verdict: Verdict
    sentence: str
    lists: tuple[tuple[str, tuple[StoredScenario, ...]], ...]
    """Its scenarios under a heading: what to fix first (in that order), what is unproven; else what held."""
    surprises: str
    """Where it differs from what the target file expects; empty where it expects nothing or is right."""


@dataclass(frozen=True)
class Decision:
    """The sentence that a reader should see first, and its reasons."""

    headline: str
    lead: str
    reasons: tuple[Reason, ...]
    caveats: tuple[str, ...]


def _titles(scenarios: Sequence[StoredScenario]) -> str:
    names = [scenario.name.replace("_", " ") for scenario in scenarios]
    return words([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])


def _stood(run: StoredRun) -> str:
    """Say in one sentence (without a subject) how a run stands."""
    total = len(run.plan.scenarios)
    if total == 0:
        return "played no scenario, which proves nothing."
    failed, errors = run.having(Verdict.FAIL), run.having(Verdict.ERROR)
    held = run.having(Verdict.PASS)
    unclear = [one for one in run.having(Verdict.INCONCLUSIVE) if one.planned is not None]
    foreign = [one for one in run.scenarios.values() if one.planned is None]
    parts = []
    if len(held) == total:
        parts.append(f"held in {'all ' if total > 1 else ''}{count(total, 'scenario')}")
    if failed:
        parts.append(f"failed {len(failed)} of {count(total, 'scenario')} ({_titles(failed)})")
    if errors:
        parts.append(f"left {len(errors)} where the harness itself failed to judge ({_titles(errors)})")
    if unclear:
        parts.append(f"left {len(unclear)} of {count(total, 'scenario')} unproven ({_titles(unclear)})")
    if held and len(held) < total:
        parts.append(f"held in {len(held)}")
    if foreign:
        parts.append(f"was not put through {_titles(foreign)}")
    return words(parts) + "."


def _surprises(run: StoredRun) -> str:
    expected = {
        name: run.plan.expect_scenarios.get(name, run.plan.expect)
        for name, scenario in run.scenarios.items()
        if scenario.planned is not None
    }
    if not expected or all(verdict is None for verdict in expected.values()):
        return ""
    wrong = [
        f"{name.replace('_', ' ')} ({run.scenarios[name].standing.value} instead of {verdict.value})"
        for name, verdict in expected.items()
        if verdict is not None and run.scenarios[name].verdict != verdict
    ]
    if not wrong:
        return ""
    return f"Not as the target file expects: {one_line(words(wrong), 400)}."


def _reason(run: StoredRun) -> Reason:
    failed = fix_first(run)
    unproven = run.having(Verdict.ERROR, Verdict.INCONCLUSIVE)
    lists = [("Fix first", failed), ("Unproven", unproven)]
    if not failed and not unproven:
        lists = [("What held", run.having(Verdict.PASS))]
    shown = tuple((heading, tuple(scenarios)) for heading, scenarios in lists if scenarios)
    return Reason(run.label, run.verdict, _stood(run), shown, _surprises(run))


def _sound(run: StoredRun) -> bool:
    return bool(run.scenarios) and run.verdict is Verdict.PASS


def _headline_of_one(run: StoredRun) -> tuple[str, str]:
    if not run.scenarios:
        return f"No verdict on {run.label}.", "It played no scenario, which proves nothing."
    if _sound(run):
        return f"{run.label} can ship.", f"It {_stood(run)}"
    if run.having(Verdict.FAIL):
        return f"Do not ship {run.label}.", f"It {_stood(run)}"
    if run.having(Verdict.ERROR):
        return f"No verdict on {run.label}.", f"It {_stood(run)} A crashed check says nothing about the target."
    return f"{run.label} is not proven.", f"It failed nothing, but {_stood(run)}"


def _headline_of_several(runs: Sequence[StoredRun]) -> tuple[str, str]:
    sound = [run for run in runs if _sound(run)]
    rest = [run for run in runs if not _sound(run)]
    stood = " ".join(f"{run.label} {_stood(run)}" for run in [*sound, *rest])
    if not rest:
        either = "Either" if len(runs) == 2 else "Any"
        return f"{either} can ship.", f"{stood} No verdict tells them apart."
    if sound:
        return (
            f"Ship {words([run.label for run in sound], 'or')}, not {words([run.label for run in rest], 'or')}.",
            stood,
        )
    held = sorted((len(run.having(Verdict.PASS)) for run in runs), reverse=True)
    if held[0] > held[1]:
        nearest = next(run for run in runs if len(run.having(Verdict.PASS)) == held[0])
        stood += f" {nearest.label} is the {'nearer' if len(runs) == 2 else 'nearest'} one."
    return "Ship neither yet." if len(runs) == 2 else "Ship none of them yet.", stood


def _caveats(runs: Sequence[StoredRun]) -> tuple[str, ...]:
    caveats: list[str] = []
    quick = [run.label for run in runs if run.plan.size == "quick"]
    if quick:
        which = "" if len(quick) == len(runs) else f" ({words(quick)})"
        caveats.append(
            f"Quick size{which}: seconds per scenario instead of the documented load. "
            "What it leaves out is said at each scenario; --full plays it."
        )
    differing = [
        what
        for what, values in (
            ("size", {run.plan.size for run in runs}),
            ("seed", {run.plan.seed for run in runs}),
            ("git revision", {run.plan.git_revision for run in runs}),
            ("set of scenarios", {tuple(sorted(planned.name for planned in run.plan.scenarios)) for run in runs}),
            ("package versions", {tuple(sorted(run.plan.versions.items())) for run in runs}),
        )
        if len(values) > 1
    ]
    if differing:
        caveats.append(f"Compare with care: the runs differ in {words(differing)}.")
    cut_short = [
        f"{run.label}: {_titles(ended)}"
        for run in runs
        if (
            ended := [
                one
                for one in run.scenarios.values()
                if one.planned is not None
                and (one.standing is Standing.NOT_PLAYED or one.ended is None or one.ended.how != "complete")
            ]
        )
    ]
    if cut_short:
        caveats.append(f"Not played to the end: {'; '.join(cut_short)}.")
    return tuple(caveats)


def decide(runs: Sequence[StoredRun]) -> Decision:
    """Put in words which of the runs' targets to ship, and why.

    Args:
        runs: at least one, as `read_runs` returns them.
    """
    headline, lead = _headline_of_one(runs[0]) if len(runs) == 1 else _headline_of_several(runs)
    return Decision(headline, lead, tuple(_reason(run) for run in runs), _caveats(runs))
