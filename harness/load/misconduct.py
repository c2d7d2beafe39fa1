"""Which callers do something wrong on purpose, and what? Drawn from the schedule before anything is sent."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.campaign import fault_fields, fault_window
from harness.faults import CallerFault, Manner, parse
from harness.load.arrivals import Arrival
from harness.model import Phase, PlannedScenario, Size


class Misconduct(NamedTuple):
    """What one caller does wrong with every request of the visit."""

    id: str
    """Of the planned fault."""
    fault: str
    """Its name."""
    manner: Manner


def caller_fault_id(index: int) -> str:
    """Return the id of a scenario's `index`-th fault, where that is one of callers: known to all without asking."""
    return f"caller-{index}"


def misconduct(
    planned: PlannedScenario,
    schedules: Mapping[str, Sequence[Arrival]],
    offsets: Mapping[Phase, tuple[float, float]],
    size: Size,
    seed: int,
) -> dict[tuple[str, int], Misconduct]:
    """Choose the callers who misbehave.

    Args:
        planned: the scenario with its faults.
        schedules: the whole schedule of every class of callers, also what other processes play of it.
        offsets: (begin, end) of every phase, seconds after the start.
        size: quick or full.
        seed: the run's.

    Returns:
        What each of them does, by class and ordinal. Whom several faults would meet does what was planned first.
    """
    roles = {load.callers: load.role for load in planned.load}
    chosen: dict[tuple[str, int], Misconduct] = {}
    for index, plan in enumerate(planned.declaration.faults):
        fault = parse(fault_fields(plan, size))
        if not isinstance(fault, CallerFault):
            continue
        id_ = caller_fault_id(index)
        begin_s, end_s = fault_window(plan, offsets)
        met = sorted(
            (arrival.offset_s, name, arrival.ordinal)
            for name, arrivals in schedules.items()
            if fault.callers in (None, name) and fault.role in (None, roles[name])
            for arrival in arrivals
            if begin_s <= arrival.offset_s < end_s and (name, arrival.ordinal) not in chosen
        )
        drawn = [
            (name, ordinal)
            for _, name, ordinal in met
            if fault.probability >= 1.0
            or random.Random(f"{seed}/{planned.name}/{id_}/{name}/{ordinal}").random() < fault.probability
        ]
        chosen |= dict.fromkeys(drawn[: fault.times], Misconduct(id_, fault.name, fault.manner))
    return chosen
