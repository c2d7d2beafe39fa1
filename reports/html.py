"""What does a stored run look like in a browser? One HTML file that needs nothing else: no network, no fonts, no files.

The page is built so that a mistake in the template cannot let text from outside act: every string is made showable and
escaped on its way into the page, and the page's own policy forbids every script but the one known by its hash.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.evidence import EvidenceError
from harness.model import Finding, PlannedScenario, Role, Vantage, Verdict
from harness.verdict import worst
from reports.content.decision import decide
from reports.content.glance import Glance
from reports.content.outside_text import label, one_line, showable, tail
from reports.content.quantities import count, duration, memory, share, words
from reports.content.stored import (
    MARKS,
    WORST_FIRST,
    ReportError,
    Standing,
    StoredRun,
    StoredScenario,
    fix_first,
    read_runs,
)
from reports.content.timeline import OUTCOME_GROUPS, FaultSpan, Timeline, timeline
from reports.content.waits import BEYOND, ROLES, Waits, waits

_VANTAGES: tuple[Vantage, ...] = ("client", "upstream", "process")
_TEMPLATES = "templates"


@dataclass(frozen=True)
class _FindingRow:
    """One question, and what each run has to say to it (None where it was not asked)."""

    question: str
    expected: str
    because: str
    vantages: tuple[Vantage, ...]
    findings: tuple[Finding | None, ...]

    @property
    def held(self) -> bool:
        """Whether every run was asked, and had a good answer."""
        return all(finding is not None and finding.verdict is Verdict.PASS for finding in self.findings)


@dataclass(frozen=True)
class _Seen:
    """What is kept of the evidence of one scenario of one run."""

    timeline: Timeline | None = None
    waits: tuple[Waits, ...] = ()
    vantages: tuple[Vantage, ...] = ()
    """Those that are present; none at all where there is no evidence."""
    problem: str = ""
    """Why the evidence cannot be read."""


@dataclass(frozen=True)
class _Side:
    """One scenario of one run."""

    label: str
    stored: StoredScenario
    fix: int | None
    """Its place in the order of repair, from 1; None where it did not fail."""
    present: tuple[Vantage, ...]
    missing: tuple[Vantage, ...]
    ended: str
    """How it ended, where it was not played to its end."""
    unreadable: str
    waits: tuple[Waits, ...]
    svg: Markup
    alternative: str
    """The plot in words."""
    faults: tuple[FaultSpan, ...]
    replay: str


@dataclass(frozen=True)
class _Section:
    """One scenario of all runs."""

    anchor: str
    planned: PlannedScenario
    sides: tuple[_Side, ...]
    open_rows: tuple[_FindingRow, ...]
    """The questions to which not every run has a good answer."""
    held_rows: tuple[_FindingRow, ...]
    roles: tuple[Role, ...]
    """Who called."""
    quick: bool


@dataclass(frozen=True)
class _RunFacts:
    """What was run, for the table of facts."""

    label: str
    facts: tuple[tuple[str, str], ...]


def _rows(findings: Sequence[tuple[Finding, ...]]) -> tuple[_FindingRow, ...]:
    """Put the findings of several runs side by side, by check and question, those that went worst first."""
    rows: dict[tuple[str, str, int], list[Finding | None]] = {}
    for column, found in enumerate(findings):
        asked: Counter[tuple[str, str]] = Counter()
        for finding in found:
            name = (finding.check, finding.question)
            asked[name] += 1
            rows.setdefault((*name, asked[name]), [None] * len(findings))[column] = finding

    def rank(row: list[Finding | None]) -> int:
        return WORST_FIRST.index(worst(finding.verdict for finding in row if finding))

    # Sorting is stable: rows that stand alike stay in the order in which the scenario lists its checks.
    firsts = [(next(finding for finding in row if finding), row) for row in sorted(rows.values(), key=rank)]
    return tuple(
        _FindingRow(first.question, first.expected, first.because, first.vantages, tuple(row)) for first, row in firsts
    )


def _how_it_ended(scenario: StoredScenario) -> str:
    if not scenario.played:
        return ""
    if scenario.ended is None:
        return "The run was stopped before the scenario had ended."
    if scenario.ended.how == "complete":
        return ""
    return f"{scenario.ended.how.capitalize()}: {scenario.ended.reason or 'no reason was recorded'}."


def _in_words(drawn: Timeline, figures: Sequence[Waits]) -> str:
    """Say what the plot shows, for those who do not see it."""
    sentences = [f"Timeline of {duration(drawn.span_s)}."]
    sentences += [
        f"{one.phase}: {count(one.requests, 'real request')}, {share(one.answered, one.requests)} answered, "
        f"median {duration(one.p50_s)}, longest {duration(one.max_s)}."
        for one in figures
        if one.role == "real" and one.phase in ("steady", "attack", "recovery")
    ]
    if drawn.memory is not None and len(drawn.memory):
        rss = drawn.memory["rss_bytes"]
        sentences.append(f"Memory from {memory(float(rss.min()))} to {memory(float(rss.max()))}.")
    if drawn.calls is not None:
        sentences.append(f"{count(len(drawn.calls), 'call')} to upstreams.")
    return " ".join(sentences)


def _look(run: StoredRun, name: str, glance: Glance) -> _Seen:
    """Read the evidence of one scenario, and keep of it what the report shows."""
    if not run.scenarios[name].played:
        return _Seen()
    try:
        evidence = run.evidence(name)
    except EvidenceError as error:
        return _Seen(problem=str(error))
    glance.add(evidence)
    return _Seen(timeline(evidence), tuple(waits(evidence)), evidence.vantages)


def _drawings(looks: Sequence[_Seen], anchor: str) -> list[str]:
    if all(seen.timeline is None for seen in looks):
        return ["" for _ in looks]
    # Not above: a run in which nothing could be played is told without the import of matplotlib.
    from reports.content.plot import timeline_svgs

    return timeline_svgs([seen.timeline for seen in looks], anchor)


def _section(runs: Sequence[StoredRun], name: str, number: int, glances: Sequence[Glance]) -> _Section:
    anchor = f"s{number}"
    looks = [_look(run, name, glance) for run, glance in zip(runs, glances, strict=True)]
    sides = []
    for run, seen, svg in zip(runs, looks, _drawings(looks, anchor), strict=True):
        stored = run.scenarios[name]
        order = [one.name for one in fix_first(run)]
        problem = stored.unreadable or seen.problem
        sides.append(
            _Side(
                label=run.label,
                stored=stored,
                fix=order.index(name) + 1 if name in order else None,
                present=seen.vantages,
                missing=tuple(one for one in _VANTAGES if one not in seen.vantages) if seen.vantages else (),
                ended=_how_it_ended(stored),
                unreadable=problem,
                waits=seen.waits,
                # The drawing escapes its own labels; they are printable ASCII besides.
                svg=Markup(svg),
                alternative=_in_words(seen.timeline, seen.waits) if seen.timeline is not None else "",
                faults=seen.timeline.faults if seen.timeline is not None else (),
                replay=stored.judgement.replay if stored.judgement is not None else "",
            )
        )
    rows = _rows([side.stored.judgement.findings if side.stored.judgement else () for side in sides])
    return _Section(
        anchor=anchor,
        planned=next(side.stored.planned for side in sides if side.stored.planned is not None),
        sides=tuple(sides),
        open_rows=tuple(row for row in rows if not row.held),
        held_rows=tuple(row for row in rows if row.held),
        roles=tuple(role for role in ROLES if any(one.role == role for seen in looks for one in seen.waits)),
        quick=any(run.plan.size == "quick" for run in runs),
    )


def _when(anchor: str) -> str:
    try:
        return datetime.fromisoformat(anchor).strftime("%Y-%m-%d %H:%M:%S %Z").strip()
    except ValueError:
        return one_line(anchor, 60)


def _occasion(runs: Sequence[StoredRun]) -> list[str]:
    """Say in a few words what kind of run it was, and when."""
    plans = [run.plan for run in runs]
    return [
        f"{' and '.join(dict.fromkeys(plan.size for plan in plans))} size",
        f"seed {' and '.join(dict.fromkeys(str(plan.seed) for plan in plans))}",
        _when(min(plan.wall_clock_anchor for plan in plans)),
    ]


def _facts(run: StoredRun, glance: Glance) -> _RunFacts:
    plan = run.plan
    lasted = None if glance.last_end_ns is None else (glance.last_end_ns - plan.monotonic_anchor_ns) / 1e9
    return _RunFacts(
        run.label,
        (
            ("Target", plan.target_name + (f", variant {plan.variant}" if plan.variant else "")),
            ("Reached at", plan.host or "started by the harness"),
            ("Size", plan.size),
            ("Seed", str(plan.seed)),
            ("Started", _when(plan.wall_clock_anchor)),
            ("Lasted", "nothing was played" if lasted is None else duration(lasted)),
            ("Callers give up after", duration(plan.deadline_s)),
            (
                "Declared by the target",
                ", ".join(f"{key} {value:g}" for key, value in sorted(plan.declared.items())) or "nothing",
            ),
            ("Expected by the target file", plan.expect.value if plan.expect else "nothing"),
            ("Git revision", plan.git_revision or "unknown"),
            ("Versions", ", ".join(f"{key} {value}" for key, value in sorted(plan.versions.items())) or "not recorded"),
            ("Command", " ".join(plan.command)),
            ("Run", plan.run_id),
        ),
    )


def _finalize(value: Any) -> Any:
    """Make every string that goes into the page showable, so that no expression of the template can forget it."""
    return showable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters.update(
        duration=duration, memory=memory, one_line=one_line, label=label, tail=tail, words=words, showable=showable
    )
    environment.globals.update(share=share, count=count, zip_longest=zip_longest)
    return environment


def render(runs: Sequence[Path]) -> str:
    """Return stored runs as one HTML page.

    Args:
        runs: run directories, one for each variant, in the order in which they are put side by side. They may be
            interrupted, not judged, or lack a vantage; the page says so.

    Raises:
        ReportError: no run was given.
        harness.evidence.EvidenceError: a run has no readable plan.
    """
    stored = read_runs(runs)
    environment = _environment()
    loader = environment.loader
    assert loader is not None

    def own(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0].strip())

    script = own("report.js")
    glances = [Glance() for _ in stored]
    sections = [_section(stored, name, number, glances) for number, name in enumerate(stored[0].scenarios, start=1)]
    return environment.get_template("report.html.j2").render(
        runs=stored,
        decision=decide(stored),
        sections=sections,
        anchors={section.planned.name: section.anchor for section in sections},
        titles={section.planned.name: section.planned.declaration.title for section in sections},
        glances=glances,
        facts=[_facts(run, glance) for run, glance in zip(stored, glances, strict=True)],
        occasion=_occasion(stored),
        targets=words(list(dict.fromkeys(run.plan.target_name for run in stored))),
        outcome_groups=tuple(OUTCOME_GROUPS),
        marks=MARKS,
        Standing=Standing,
        beyond=BEYOND,
        style=own("report.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def write(runs: Sequence[Path], path: Path) -> None:
    """Write stored runs as one HTML file that needs nothing else.

    Args:
        runs: run directories, one for each variant; see `render`.
        path: the file to write; its directory is made where it is missing.

    Raises:
        ReportError: no run was given, or the file cannot be written.
        harness.evidence.EvidenceError: a run has no readable plan.
    """
    page = render(runs)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", newline="\n")
    except OSError as error:
        msg = f"Cannot write {path}: {error.strerror or error}. Choose another place for the report."
        raise ReportError(msg) from error
