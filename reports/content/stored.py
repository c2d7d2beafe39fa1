"""What is there to report: which runs, which scenarios, and how did each of them stand?

Reads plans and judgements, which are small; the evidence of a scenario is read when it is its turn, and let go again.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.evidence import (
    ENDED,
    PHASES,
    SAMPLES,
    Ended,
    Evidence,
    EvidenceError,
    read_evidence,
    read_json,
    read_judgement,
    read_plan,
    scenario_directory,
)
from harness.model import Judgement, Plan, PlannedScenario, Verdict
from harness.verdict import worst
from reports.content.outside_text import label


class ReportError(EvidenceError):
    """A report cannot be written; the message says why, and what to do.

    Whoever reads run directories catches `EvidenceError` anyway: to them a report is one more file of a run.
    """


class Standing(enum.StrEnum):
    """How a scenario stands in a run: its verdict, or why there is none."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NOT_JUDGED = "not judged"
    NOT_PLAYED = "not played"


MARKS = {
    Standing.PASS: "✓",
    Standing.FAIL: "✗",
    Standing.INCONCLUSIVE: "?",
    Standing.ERROR: "!",
    Standing.NOT_JUDGED: "?",
    Standing.NOT_PLAYED: "–",
}
"""One sign for each standing, so that colour is never needed."""

WORST_FIRST = (Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
"""The order in which findings are read."""

_SEVERITIES = ("critical", "major", "minor", "ungraded")


@dataclass(frozen=True)
class StoredScenario:
    """One scenario of one run."""

    name: str
    planned: PlannedScenario | None
    """None where the plan of this run does not have it (that of another run in the report does)."""
    judgement: Judgement | None
    ended: Ended | None
    """None where nothing says how it ended: it was not played, or the run was killed."""
    played: bool
    unreadable: str = ""
    """Why the judgement or the ending cannot be read."""

    @property
    def standing(self) -> Standing:
        """The verdict, or why there is none."""
        if self.judgement is not None:
            return Standing(self.judgement.verdict.value)
        return Standing.NOT_JUDGED if self.played else Standing.NOT_PLAYED

    @property
    def verdict(self) -> Verdict:
        """The verdict for counting: what was not judged or not played is inconclusive."""
        return Verdict.INCONCLUSIVE if self.judgement is None else self.judgement.verdict

    @property
    def summary(self) -> str:
        """One sentence: the worst finding, or why there is none."""
        if self.unreadable:
            return self.unreadable
        if self.judgement is not None:
            return self.judgement.summary
        if self.planned is None:
            return "This run's plan does not have it."
        if not self.played:
            return "The run ended before its turn."
        return "Played, but not judged: `harness judge` does it from what was stored."


@dataclass(frozen=True)
class StoredRun:
    """One run: one variant of a target through some scenarios."""

    directory: Path
    label: str
    """What it is called in the report: the variant, made unique."""
    plan: Plan
    scenarios: dict[str, StoredScenario]
    """By name, every scenario that any run of the report has planned, in report order."""

    @property
    def verdict(self) -> Verdict:
        """The worst of its scenarios; inconclusive where there is none."""
        return worst(scenario.verdict for scenario in self.scenarios.values())

    def having(self, *verdicts: Verdict) -> list[StoredScenario]:
        """Return its scenarios with one of these verdicts, in report order."""
        return [scenario for scenario in self.scenarios.values() if scenario.verdict in verdicts]

    def evidence(self, scenario: str) -> Evidence:
        """Read the evidence of one scenario; raises EvidenceError where it is malformed."""
        return read_evidence(self.directory, self.plan, scenario)


def _read_scenario(run: Path, name: str, planned: PlannedScenario | None) -> StoredScenario:
    directory = scenario_directory(run, name)
    judgement, ended, unreadable = None, None, ""
    if planned is not None:
        try:
            judgement = read_judgement(run, name)
            ended = read_json(directory / ENDED, Ended) if (directory / ENDED).exists() else None
        except EvidenceError as error:
            unreadable = str(error)
    played = planned is not None and any((directory / file).exists() for file in (PHASES, SAMPLES))
    return StoredScenario(name, planned, judgement, ended, played or judgement is not None, unreadable)


def _labels(plans: Sequence[Plan]) -> list[str]:
    names = [label(plan.variant or plan.target_name or plan.run_id) for plan in plans]
    return [
        name if names.count(name) == 1 else f"{name} ({label(plan.run_id)})"
        for name, plan in zip(names, plans, strict=True)
    ]


def repair_order(planned: PlannedScenario) -> tuple[int, int]:
    """Return the key that sorts failures by what to repair first: documented phase, then severity."""
    declaration = planned.declaration
    return declaration.repair_phase or 4, _SEVERITIES.index(declaration.severity)


def read_runs(directories: Sequence[Path]) -> list[StoredRun]:
    """Read what there is to report.

    Args:
        directories: run directories, one for each variant.

    Returns:
        The runs in the order given. Their scenarios are ordered alike: those that failed somewhere first, as they are
        to be repaired, then those that are open somewhere, then those that held everywhere; else as planned.

    Raises:
        ReportError: no directory was given.
        EvidenceError: a plan is missing or malformed.
    """
    if not directories:
        msg = "There is nothing to report: no run directory was given. `harness run` prints the one it writes."
        raise ReportError(msg)
    plans = [read_plan(directory) for directory in directories]
    planned_of = [{planned.name: planned for planned in plan.scenarios} for plan in plans]
    names = list(dict.fromkeys(planned.name for plan in plans for planned in plan.scenarios))
    by_name = {
        name: [
            _read_scenario(directory, name, planned.get(name))
            for directory, planned in zip(directories, planned_of, strict=True)
        ]
        for name in names
    }
    rank = {Verdict.ERROR: 0, Verdict.FAIL: 0, Verdict.INCONCLUSIVE: 1, Verdict.PASS: 2}

    def order(name: str) -> tuple[int, int, int]:
        planned = next(one[name] for one in planned_of if name in one)
        return rank[worst(scenario.verdict for scenario in by_name[name])], *repair_order(planned)

    names.sort(key=order)
    return [
        StoredRun(directory, label, plan, {name: by_name[name][index] for name in names})
        for index, (directory, label, plan) in enumerate(zip(directories, _labels(plans), plans, strict=True))
    ]


def fix_first(run: StoredRun) -> list[StoredScenario]:
    """Return the scenarios that failed in `run`, in the order in which they are to be repaired."""
    failing = [one for one in run.having(Verdict.FAIL) if one.planned is not None]
    return sorted(failing, key=lambda one: repair_order(one.planned) if one.planned else (9, 9))
