"""How do figures and records read in a finding?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from harness.checks.wilson import Interval
from harness.evidence import Evidence
from harness.model import Call, FaultEvent, Generation, Phase, Role, Sample

MOST_LINES: Final = 20
"""Lines of evidence that a finding carries at most."""


def figure(value: float) -> str:
    """Return a number as people write it: `40`, `1,000`, `2.5`."""
    return f"{round(value):,}" if float(value).is_integer() else f"{value:,.4g}"


def share(part: int, whole: int) -> str:
    """Return `57 of 60 (95.0 %)`; of nothing, `0 of 0`."""
    return f"{part:,} of {whole:,} ({part / whole:.1%})".replace("%)", " %)") if whole else "0 of 0"


def percent(value: float) -> str:
    """Return a share of 0 to 1 as `95 %` or `97.5 %`."""
    return f"{value * 100:.4g} %"


def bounds(interval: Interval) -> str:
    """Return a 95 % interval of a share in words."""
    return f"95 % interval {interval.low * 100:.1f} to {interval.high * 100:.1f} %"


def phases(during: Iterable[Phase]) -> str:
    """Return `during attack and recovery`."""
    return "during " + " and ".join(phase.replace("_", "-") for phase in during)


def people(roles: Iterable[Role]) -> str:
    """Return `real users and attackers`."""
    names: dict[Role, str] = {"real": "real users", "attacker": "attackers", "probe": "probes"}
    return " and ".join(names[role] for role in roles)


def moment(evidence: Evidence, at_ns: int) -> str:
    """Return when something was, in seconds after the scenario began."""
    begin_ns = min((window.begin_ns for window in evidence.phases), default=None)
    return f"at {at_ns} ns" if begin_ns is None else f"at {(at_ns - begin_ns) / 1e9:.2f} s"


def sample_lines(evidence: Evidence, samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return the first samples as lines of evidence."""
    return _first(sample_line(evidence, sample) for sample in samples)


def sample_line(evidence: Evidence, sample: Sample) -> str:
    """Return one request as a line of evidence."""
    status = "" if sample.status is None else f", status {sample.status}"
    error = f", {sample.error[:120]}" if sample.error else ""
    mark = f" {sample.mark}" if sample.mark else ""
    again = " again" if sample.copy else ""
    return (
        f"{sample.callers} {sample.ordinal}.{sample.turn}{again}{mark} {moment(evidence, sample.intended_ns)}"
        f" ({sample.phase}): {sample.outcome} after {sample.latency_s:.3f} s{status}{error}"
    )


def call_lines(evidence: Evidence, calls: Iterable[Call]) -> tuple[str, ...]:
    """Return the first calls as lines of evidence."""
    return _first(call_line(evidence, call) for call in calls)


def call_line(evidence: Evidence, call: Call) -> str:
    """Return one upstream call as a line of evidence."""
    names = [name for name in (call.conversation, call.generation, call.mark) if name]
    characters = f", {call.characters:,} characters" if call.characters else ""
    fault = f", fault {call.fault}" if call.fault else ""
    return (
        f"ledger {call.seq} {moment(evidence, call.begin_ns)} for {(call.end_ns - call.begin_ns) / 1e9:.3f} s:"
        f" {call.upstream} {call.route} {'no answer' if call.status is None else call.status}"
        f"{' ' if names else ''}{' '.join(names)}{characters}{fault}"
    )


def generation_lines(evidence: Evidence, states: Iterable[Generation]) -> tuple[str, ...]:
    """Return the first generation states as lines of evidence."""
    return _first(generation_line(evidence, state) for state in states)


def generation_line(evidence: Evidence, state: Generation) -> str:
    """Return one state of a generation as a line of evidence."""
    asked = ", ".join(f"{call.name}({call.arguments[:60]})" for call in state.tool_calls)
    mark = f" {state.mark}" if state.mark else ""
    return (
        f"ledger {state.seq} {moment(evidence, state.at_ns)}: {state.id}{mark} {state.state}"
        f"{', asks for ' if asked else ''}{asked}"
    )


def event_lines(evidence: Evidence, events: Iterable[FaultEvent]) -> tuple[str, ...]:
    """Return the first events of faults as lines of evidence."""
    return _first(
        f"fault {event.id} {event.fault} {moment(evidence, event.at_ns)}: {event.event}"
        f"{' ' if event.where else ''}{event.where}{': ' if event.detail else ''}{event.detail[:120]}"
        for event in events
    )


def _first(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(line for line, _ in zip(lines, range(MOST_LINES), strict=False))
