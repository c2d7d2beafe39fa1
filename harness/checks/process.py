"""What became of the target's process? Checks of its telemetry and of the events about it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

from harness.checks import check, failed, inconclusive, passed
from harness.checks.selection import Amount, Minimum, Phases
from harness.checks.wording import event_lines, figure, moment, phases
from harness.evidence import Evidence
from harness.model import FaultEvent, Finding, Phase, TelemetryPoint

_DEATHS: Final = frozenset({"exited", "oom", "killed"})
_MB: Final = 1_000_000
_BATCHES: Final = 5
# Student's t for 95 % with 2 x _BATCHES - 2 = 8 degrees of freedom.
_T_95: Final = 2.306


@check(vantages=("process",), question="Did the target survive?")
def target_survived(evidence: Evidence) -> Finding:
    """Look for an end of the target's process that nobody planned: it exited, was killed, or ran out of memory."""
    expected = "the target's process lives until the end, except where its end was planned"
    points = evidence.telemetry or ()
    if not evidence.phases:
        why = evidence.ended.reason or "it never became ready"
        return inconclusive(expected=expected, observed="nothing was played", reason=f"nothing was played: {why}")
    end_ns = max(window.end_ns for window in evidence.phases)
    events = [event for event in evidence.faults if event.family == "process"]
    # After the last phase the harness itself stops the target.
    deaths = [event for event in events if event.event in _DEATHS and event.at_ns <= end_ns]
    excused = [event for event in deaths if _was_planned(evidence, event, events)]
    unplanned = [event for event in deaths if event not in excused]
    counted = f"{len(points):,} points of telemetry, {len(deaths)} ends of a process, {len(excused)} of them planned"
    if unplanned:
        first = unplanned[0]
        detail = f": {first.detail}" if first.detail else ""
        observed = f"{first.event} {moment(evidence, first.at_ns)}{detail}"
        return failed(expected=expected, observed=observed, counted=counted, evidence=event_lines(evidence, unplanned))
    if not points:
        reason = "no point of telemetry was recorded: nothing shows that the target lived"
        return inconclusive(expected=expected, observed="no telemetry", reason=reason, counted=counted)
    observed = "no unplanned end" + (f", {len(excused)} planned" if excused else "")
    return passed(expected=expected, observed=observed, counted=counted, evidence=event_lines(evidence, excused))


def _was_planned(evidence: Evidence, death: FaultEvent, events: Sequence[FaultEvent]) -> bool:
    """Return whether a planned fault of that very process explains an end: it is that deed, or follows it at once."""
    if death.event == "oom":
        return False
    events = [event for event in events if event.where == death.where]
    names = {str(plan.spec.get("fault")) for plan in evidence.scenario.faults}
    if death.fault in names:
        return True
    deeds = [event for event in events if event.fault in names and event.at_ns <= death.at_ns]
    if not deeds:
        return False
    back = [event for event in events if event.event == "ready" and deeds[-1].at_ns < event.at_ns < death.at_ns]
    return not back


class _Level(NamedTuple):
    """Mean resident memory of a stretch, and the variance of that mean, in MB."""

    mean: float
    variance: float


@check(vantages=("process",), question="Did memory stay bounded?")
def memory_bounded(
    evidence: Evidence, *, at_most_growth_mb: Amount, during: Phases = ("recovery",), minimum: Minimum = 10
) -> Finding:
    """Judge how far the target's resident memory rose above its steady state, the process that grew most.

    At full size by the level in `during` with a 95 % interval from batch means (points 100 ms apart are not
    independent of each other). In a quick run warm-up noise is larger than what a slow leak adds, so only the highest
    point of attack and recovery is held against the limit, as a ceiling.

    Args:
        at_most_growth_mb: MB of 1,000,000 bytes.
        during: the phases whose level is compared at full size.
        minimum: points that it takes in steady state, and as many afterwards.
    """
    expected = f"resident memory at most {figure(at_most_growth_mb)} MB above its steady state"
    full = evidence.size == "full"
    after_phases: tuple[Phase, ...] = during if full else ("attack", "recovery")
    replicas = sorted({point.replica for point in evidence.telemetry or ()})
    before = {replica: _points(evidence, replica, ("steady",)) for replica in replicas}
    after = {replica: _points(evidence, replica, after_phases) for replica in replicas}
    counted = (
        f"mean resident memory {phases(during)} against steady state, 95 % interval of {_BATCHES} batch means each"
        if full
        else "only the highest point of attack and recovery, as an absolute ceiling: a quick run is too short to judge"
        " growth, which takes the full size"
    )
    fewest = min((min(len(before[one]), len(after[one])) for one in replicas), default=0)
    if fewest < max(minimum, _BATCHES):
        reason = (
            f"too few samples: {fewest} points of telemetry in steady state or {phases(after_phases)}, it takes"
            f" {max(minimum, _BATCHES)} in each"
        )
        return inconclusive(expected=expected, observed="too little telemetry", reason=reason, counted=counted)
    if not full:
        peaks = {
            one: max(point.rss_bytes for point in after[one]) / _MB
            - statistics.median(point.rss_bytes for point in before[one]) / _MB
            for one in replicas
        }
        growth = max(peaks.values())
        observed = f"at most {growth:+.1f} MB against steady state"
        conclude = passed if growth <= at_most_growth_mb else failed
        return conclude(expected=expected, observed=observed, counted=counted)
    grown = [_growth(_level(before[one]), _level(after[one])) for one in replicas]
    growth, half = max(grown)
    observed = f"{growth:+.1f} MB against steady state, 95 % interval {growth - half:+.1f} to {growth + half:+.1f} MB"
    if growth + half <= at_most_growth_mb:
        return passed(expected=expected, observed=observed, counted=counted)
    if growth - half > at_most_growth_mb:
        return failed(expected=expected, observed=observed, counted=counted)
    reason = f"{figure(at_most_growth_mb)} MB lies within the interval; a longer recovery narrows it"
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)


def _points(evidence: Evidence, replica: int, during: Phases) -> list[TelemetryPoint]:
    windows = [window for window in evidence.phases if window.phase in during]
    return [
        point
        for point in evidence.telemetry or ()
        if point.replica == replica and any(window.begin_ns <= point.at_ns < window.end_ns for window in windows)
    ]


def _level(points: Sequence[TelemetryPoint]) -> _Level:
    size = len(points) / _BATCHES
    means = [
        statistics.fmean(point.rss_bytes for point in points[int(batch * size) : int((batch + 1) * size)]) / _MB
        for batch in range(_BATCHES)
    ]
    return _Level(statistics.fmean(means), statistics.variance(means) / _BATCHES)


def _growth(before: _Level, after: _Level) -> tuple[float, float]:
    """Return the growth and half the width of its 95 % interval, in MB."""
    return after.mean - before.mean, _T_95 * math.sqrt(before.variance + after.variance)
