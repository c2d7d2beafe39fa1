"""Schedules are open-model, seeded, and keep to their phases and rates."""

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaign import phase_offsets
from harness.load.arrivals import schedule
from harness.model import ConstantRate, Durations, Poisson

DURATIONS = Durations(warm_up_s=1, steady_s=3, attack_s=4, recovery_s=2, drain_s=5)
OFFSETS = phase_offsets(DURATIONS)


def test_a_constant_rate_sends_at_equal_distances_and_only_in_its_phases() -> None:
    arrivals = schedule(ConstantRate(per_s=10, during=("attack",)), OFFSETS, "quick", random.Random(1))

    assert len(arrivals) == 40
    assert {arrival.phase for arrival in arrivals} == {"attack"}
    gaps = [later.offset_s - earlier.offset_s for earlier, later in itertools.pairwise(arrivals)]
    assert all(math.isclose(gap, 0.1, abs_tol=1e-9) for gap in gaps)
    assert arrivals[0].offset_s == pytest.approx(4.05)


def test_phases_that_follow_one_another_are_one_stretch() -> None:
    arrivals = schedule(ConstantRate(per_s=3, during=("steady", "attack")), OFFSETS, "quick", random.Random(1))

    assert [arrival.phase for arrival in arrivals].count("steady") == 9
    gaps = {round(b.offset_s - a.offset_s, 9) for a, b in itertools.pairwise(arrivals)}
    assert gaps == {round(1 / 3, 9)}


def test_the_documented_size_has_its_own_rate() -> None:
    process = ConstantRate(per_s=1, full_per_s=5, during=("attack",))

    assert len(schedule(process, OFFSETS, "quick", random.Random(1))) == 4
    assert len(schedule(process, OFFSETS, "full", random.Random(1))) == 20


def test_poisson_arrivals_have_exponential_gaps() -> None:
    offsets = phase_offsets(Durations(warm_up_s=0, steady_s=0, attack_s=2000, recovery_s=0, drain_s=0))

    arrivals = schedule(Poisson(per_s=10, during=("attack",)), offsets, "quick", random.Random(7))

    # 20,000 arrivals are expected, with a standard deviation of 141: five of them on either side.
    assert abs(len(arrivals) - 20_000) < 5 * 141
    gaps = [b.offset_s - a.offset_s for a, b in itertools.pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert mean == pytest.approx(0.1, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.03)  # the mark of the exponential distribution


@given(seed=st.integers(), per_s=st.floats(0.1, 200), process=st.sampled_from([ConstantRate, Poisson]))
def test_schedules_are_ordered_numbered_in_phase_and_reproducible(
    seed: int, per_s: float, process: type[ConstantRate] | type[Poisson]
) -> None:
    arrivals = schedule(process(per_s=per_s), OFFSETS, "quick", random.Random(seed))

    assert arrivals == schedule(process(per_s=per_s), OFFSETS, "quick", random.Random(seed))
    assert [arrival.ordinal for arrival in arrivals] == list(range(len(arrivals)))
    assert arrivals == sorted(arrivals, key=lambda arrival: arrival.offset_s)
    for arrival in arrivals:
        begin_s, end_s = OFFSETS[arrival.phase]
        assert begin_s <= arrival.offset_s <= end_s
