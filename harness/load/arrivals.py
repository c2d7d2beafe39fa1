"""When callers arrive: open-model schedules, drawn before anything is sent, never moved by how the target answers."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

from harness.model import Arrivals, ConstantRate, Phase, Size

_PLAYED: tuple[Phase, ...] = ("warm_up", "steady", "attack", "recovery")


class Arrival(NamedTuple):
    """One arrival: `offset_s` seconds after the scenario's start, in which phase, the how-manieth of its class."""

    offset_s: float
    ordinal: int
    phase: Phase


def schedule(
    arrivals: Arrivals, offsets: Mapping[Phase, tuple[float, float]], size: Size, draw: random.Random
) -> list[Arrival]:
    """Draw the arrivals of one class of callers.

    Args:
        arrivals: the process: constant rate or Poisson, with its phases.
        offsets: (begin, end) of every phase, seconds after the start.
        size: which of the two rates is meant.
        draw: the source of randomness, seeded by what identifies the schedule; a constant rate draws nothing.

    Returns:
        Arrivals in the order of time. Neighbouring phases are one stretch: nobody notices a border between them.
    """
    per_s = arrivals.full_per_s if size == "full" and arrivals.full_per_s is not None else arrivals.per_s
    times: list[float] = []
    for begin_s, end_s in _stretches(arrivals.during, offsets):
        if isinstance(arrivals, ConstantRate):
            # From half a gap on, so that populations of different rates do not start in the same instant.
            count = round((end_s - begin_s) * per_s)
            times += [begin_s + (index + 0.5) / per_s for index in range(count)]
        else:
            at_s = begin_s + draw.expovariate(per_s)
            while at_s < end_s:
                times.append(at_s)
                at_s += draw.expovariate(per_s)
    return [Arrival(at_s, ordinal, _phase_at(at_s, offsets)) for ordinal, at_s in enumerate(times)]


def _stretches(during: tuple[Phase, ...], offsets: Mapping[Phase, tuple[float, float]]) -> list[tuple[float, float]]:
    stretches: list[tuple[float, float]] = []
    for phase in _PLAYED:
        if phase not in during:
            continue
        begin_s, end_s = offsets[phase]
        if stretches and stretches[-1][1] == begin_s:
            stretches[-1] = (stretches[-1][0], end_s)
        else:
            stretches.append((begin_s, end_s))
    return stretches


def _phase_at(at_s: float, offsets: Mapping[Phase, tuple[float, float]]) -> Phase:
    for phase in _PLAYED:
        begin_s, end_s = offsets[phase]
        if begin_s <= at_s < end_s:
            return phase
    # A constant rate whose last gap was rounded up ends on the border itself.
    return next(phase for phase in reversed(_PLAYED) if offsets[phase][0] < at_s)
