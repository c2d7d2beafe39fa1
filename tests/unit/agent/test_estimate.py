"""Is what is booked for an answer that was given up close to what answers take?"""

from __future__ import annotations

from reference_agent.conversation import Usage
from reference_agent.engines.estimate import Estimate

_MODEL = "gpt-4o"
_SAID = "x" * 40


def test_before_any_answer_it_is_the_request_alone() -> None:
    assert Estimate(_MODEL, "x" * 80).of([_SAID]) == Usage(_MODEL, 30, 0)


def test_what_goes_along_and_how_long_an_answer_is_are_learned() -> None:
    estimate = Estimate(_MODEL, "x" * 80)
    estimate.learn([_SAID], Usage(_MODEL, 200, 60))
    assert estimate.of([_SAID]) == Usage(_MODEL, 200, 60)
    assert estimate.of([_SAID, _SAID]) == Usage(_MODEL, 210, 60)
    assert estimate.of(["海" * 4]) == Usage(_MODEL, 193, 60), "three bytes a letter"


def test_what_was_heard_counts_where_it_is_known() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([], Usage(_MODEL, 200, 60))
    assert estimate.of([], ["x" * 8, "x" * 3]) == Usage(_MODEL, 200, 3)
    assert estimate.of([], []) == Usage(_MODEL, 200, 0)


def test_it_is_written_no_faster_than_the_latest_one_and_no_longer() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([], Usage(_MODEL, 200, 60), took_s=2.0)
    written = [estimate.of([], after_s=seconds).completion_tokens for seconds in (0.0, 0.5, 2.0, 9.0)]
    assert written == [0, 15, 60, 60]
