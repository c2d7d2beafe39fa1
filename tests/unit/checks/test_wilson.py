"""Does the Wilson interval have its published values, and the properties of an interval?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.wilson import interval, trials_to_show


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_published_values(successes, trials, low, high):
    assert interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_of_no_trial_anything_is_possible():
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="expected 0 to 3"):
        interval(successes, trials)


@given(st.integers(1, 100_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_it_holds_the_share_and_stays_within_0_and_1(counts):
    successes, trials = counts
    low, high = interval(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    mirrored = interval(trials - successes, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high))


@given(st.floats(0.01, 0.999))
def test_as_many_trials_as_are_asked_for_show_the_share(share):
    trials = trials_to_show(share)
    assert interval(trials, trials).low >= share - 1e-9
    assert trials == 1 or interval(trials - 1, trials - 1).low < share


def test_no_number_of_trials_shows_all():
    assert trials_to_show(1.0) is None
