"""Is a percentile one of the values, and the right one?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks.percentile import percentile


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (99.9, 100), (100, 100), (0.1, 1)])
def test_of_one_to_a_hundred(percent, value):
    assert percentile(range(1, 101), percent) == value


def test_floating_point_does_not_move_the_rank():
    assert percentile(range(1, 1001), 99.9) == 999


def test_what_never_ended_is_infinite():
    assert percentile([1.0] * 94 + [math.inf] * 6, 95) == math.inf


@pytest.mark.parametrize("percent", [0, -1, 101])
def test_percent_out_of_range(percent):
    with pytest.raises(ValueError, match="expected more than 0 and at most 100"):
        percentile([1.0], percent)


def test_of_no_values():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 100))
def test_at_least_so_many_do_not_exceed_it(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= len(values) * percent / 100 - 1e-6
