"""What happened when? The records of one scenario on one time axis, in seconds after its beginning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from harness.evidence import Evidence
from harness.model import FaultEvent, Outcome

OUTCOME_GROUPS: dict[str, tuple[Outcome, ...]] = {
    "answered": (Outcome.ANSWERED,),
    "refused": (Outcome.REFUSED,),
    "clear error": (Outcome.CLEAR_ERROR,),
    "lost": (Outcome.OPAQUE_ERROR, Outcome.TIMEOUT, Outcome.DISCONNECTED, Outcome.UNSERVED),
}
"""What is stacked in the plot, bottom to top. Abandoned requests count for and against nobody."""

_GROUP_OF = {outcome: group for group, outcomes in OUTCOME_GROUPS.items() for outcome in outcomes}


@dataclass(frozen=True)
class FaultSpan:
    """One fault, from its arming to its lifting. Times in seconds; None where the event was never seen."""

    fault: str
    where: str
    id: str
    armed_s: float | None
    lifted_s: float | None
    fired_s: tuple[float, ...]
    must_fire: bool


@dataclass(frozen=True)
class ProcessEvent:
    """Something that became of the target's process."""

    at_s: float
    event: str
    detail: str


@dataclass(frozen=True)
class Timeline:
    """All that is drawn of one scenario of one run. A vantage that was missing is None."""

    span_s: float
    phases: tuple[tuple[str, float, float], ...]
    """Phase, begin, end."""
    deadline_s: float
    requests: pd.DataFrame
    """Columns at_s (intended start), latency_s (NaN where nothing was sent), role, group."""
    memory: pd.DataFrame | None
    """Columns at_s, rss_bytes, replica."""
    calls: pd.DataFrame | None
    """Columns at_s, upstream."""
    faults: tuple[FaultSpan, ...]
    process_events: tuple[ProcessEvent, ...]


def _fault_spans(events: Sequence[FaultEvent], origin_ns: int) -> tuple[FaultSpan, ...]:
    by_id: dict[str, list[FaultEvent]] = {}
    for event in events:
        if event.event in ("planned", "armed", "fired", "lifted"):
            by_id.setdefault(event.id, []).append(event)

    def first(group: list[FaultEvent], kind: str) -> float | None:
        return next(((event.at_ns - origin_ns) / 1e9 for event in group if event.event == kind), None)

    return tuple(
        FaultSpan(
            fault=group[0].fault,
            where=next((event.where for event in group if event.where), ""),
            id=identity,
            armed_s=first(group, "armed"),
            lifted_s=first(group, "lifted"),
            fired_s=tuple((event.at_ns - origin_ns) / 1e9 for event in group if event.event == "fired"),
            must_fire=group[0].must_fire,
        )
        for identity, group in by_id.items()
    )


def timeline(evidence: Evidence) -> Timeline | None:
    """Put the records of a scenario on one time axis; None where nobody called and no phase was ever ended.

    A phase is written down when it ends: of a run that was interrupted the last one is known by its samples only.
    """
    begins = [window.begin_ns for window in evidence.phases] + [sample.intended_ns for sample in evidence.samples[:1]]
    if not begins:
        return None
    origin_ns = min(begins)
    end_ns = max([window.end_ns for window in evidence.phases] + [sample.intended_ns for sample in evidence.samples])
    counted = [sample for sample in evidence.samples if sample.outcome in _GROUP_OF]
    memory = calls = None
    if evidence.telemetry is not None:
        memory = pd.DataFrame(
            {
                "at_s": [(point.at_ns - origin_ns) / 1e9 for point in evidence.telemetry],
                "rss_bytes": [point.rss_bytes for point in evidence.telemetry],
                "replica": [point.replica for point in evidence.telemetry],
            }
        )
    if evidence.ledger is not None:
        calls = pd.DataFrame(
            {
                "at_s": [(call.begin_ns - origin_ns) / 1e9 for call in evidence.calls],
                "upstream": [call.upstream for call in evidence.calls],
            }
        )
    return Timeline(
        span_s=max((end_ns - origin_ns) / 1e9, 0.001),
        phases=tuple(
            (window.phase, (window.begin_ns - origin_ns) / 1e9, (window.end_ns - origin_ns) / 1e9)
            for window in evidence.phases
        ),
        deadline_s=evidence.deadline_s,
        requests=pd.DataFrame(
            {
                "at_s": [(sample.intended_ns - origin_ns) / 1e9 for sample in counted],
                "latency_s": [
                    math.nan if sample.outcome is Outcome.UNSERVED else sample.latency_s for sample in counted
                ],
                "role": [sample.role for sample in counted],
                "group": [_GROUP_OF[sample.outcome] for sample in counted],
            }
        ),
        memory=memory,
        calls=calls,
        faults=_fault_spans(evidence.faults, origin_ns),
        process_events=tuple(
            ProcessEvent((event.at_ns - origin_ns) / 1e9, event.event, event.detail)
            for event in evidence.faults
            if event.event in ("exited", "oom", "started", "ready", "killed", "stopped")
        ),
    )


def bin_width_s(span_s: float, bins: int = 60) -> float:
    """Return the width in seconds (1, 2 or 5 times a power of ten) that cuts `span_s` into at most `bins` bins."""
    least = max(span_s, 1e-3) / bins
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def rates(frame: pd.DataFrame, by: str, columns: Sequence[str], span_s: float, width_s: float) -> pd.DataFrame:
    """Count events per second in bins.

    Args:
        frame: events, with their time in seconds in the column `at_s`; those outside 0..span_s count in no bin.
        by: the column that tells them apart.
        columns: the values of `by` that are wanted, in this order.
        span_s: seconds that are looked at.
        width_s: seconds of one bin.

    Returns:
        One row per bin (its begin in seconds is the index), one column for each value, events per second.
    """
    bins = max(1, math.ceil(span_s / width_s - 1e-9))
    inside = frame[(frame["at_s"] >= 0) & (frame["at_s"] < bins * width_s)]
    number = (inside["at_s"] / width_s).astype(int)
    counted = pd.crosstab(number, inside[by]).reindex(index=range(bins), columns=list(columns), fill_value=0)
    counted.index = pd.Index([index * width_s for index in range(bins)], name="at_s")
    return counted / width_s
