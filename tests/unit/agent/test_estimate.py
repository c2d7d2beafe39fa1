"""Is what is booked for an answer that was given up close to what answers take?"""

from __future__ import annotations

import pytest

from reference_agent.conversation import Usage
from reference_agent.engines.estimate import BookedOnce, Estimate

_MODEL = "gpt-4o"
_SAID = "x" * 40  # 10 tokens, and 4 for being a message


def _estimated(prompt_tokens: int, completion_tokens: int) -> Usage:
    return Usage(_MODEL, prompt_tokens, completion_tokens, is_estimate=True)


def test_before_any_answer_it_is_the_request_alone() -> None:
    assert Estimate(_MODEL, "x" * 80).of([_SAID]) == _estimated(34, 0)


def test_what_goes_along_is_learned() -> None:
    estimate = Estimate(_MODEL, "x" * 80)
    estimate.learn([_SAID], Usage(_MODEL, 200, 60))
    assert estimate.of([_SAID]) == _estimated(200, 60)
    assert estimate.of([_SAID, _SAID]) == _estimated(214, 60)
    assert estimate.of(["海" * 4]) == _estimated(193, 60), "three bytes a letter"


def test_what_several_answers_took_together_is_what_each_of_them_took() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([_SAID, _SAID, _SAID], Usage(_MODEL, 2 * 100 + 3 * 14, 60), answers=2)
    assert estimate.of([_SAID]) == _estimated(114, 30)


def test_what_was_said_before_counts_until_something_better_is_known() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([_SAID], Usage(_MODEL, 214, 0), is_all=False)
    assert estimate.of([_SAID]).prompt_tokens == 214
    estimate.learn([_SAID], Usage(_MODEL, 114, 0))
    estimate.learn([_SAID], Usage(_MODEL, 514, 0), is_all=False)
    assert estimate.of([_SAID]).prompt_tokens == 114


def test_an_answer_is_as_long_as_recent_ones_are_in_the_mean() -> None:
    estimate = Estimate(_MODEL)
    assert estimate.written([_SAID]) == 0
    for tokens in (10, 20, 60):
        estimate.learn([], Usage(_MODEL, 0, tokens))
    assert estimate.written([_SAID]) == pytest.approx(30, abs=1)
    for _ in range(200):
        estimate.learn([], Usage(_MODEL, 0, 5))
    assert estimate.written([_SAID]) == 5, "recent ones"


def test_a_long_text_is_answered_at_length_where_recent_ones_were() -> None:
    estimate = Estimate(_MODEL)
    for letters, tokens in ((40, 20), (2000, 510), (44, 21), (2400, 612)) * 4:
        estimate.learn(["x" * letters], Usage(_MODEL, 0, tokens))
    assert estimate.written(["x" * 2800]) == pytest.approx(710, abs=5)
    assert estimate.written([_SAID]) == pytest.approx(20, abs=5)
    assert estimate.of(["x" * 2800, _SAID], latest=[_SAID]).completion_tokens == estimate.written([_SAID])


def test_a_long_text_says_nothing_where_answers_are_short_all_the_same() -> None:
    estimate = Estimate(_MODEL)
    for letters, tokens in ((40, 20), (2000, 18), (44, 21), (2400, 19)):
        estimate.learn(["x" * letters], Usage(_MODEL, 0, tokens))
    assert estimate.written(["x" * 8000]) == estimate.written([_SAID]) == pytest.approx(20, abs=1)


def test_what_was_heard_counts_where_it_is_known() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([], Usage(_MODEL, 200, 60))
    assert estimate.of([], ["x" * 8, "x" * 3]) == _estimated(200, 3)
    assert estimate.of([], []) == _estimated(200, 0)


def test_it_is_written_no_faster_than_recent_ones_and_no_longer() -> None:
    estimate = Estimate(_MODEL)
    estimate.learn([], Usage(_MODEL, 200, 60), took_s=1.0)
    estimate.learn([], Usage(_MODEL, 200, 60), took_s=3.0)
    written = [estimate.of([], after_s=seconds).completion_tokens for seconds in (0.0, 0.5, 2.0, 9.0)]
    assert written == [0, 15, 60, 60]


def test_a_generation_is_booked_once_and_ids_are_forgotten_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_agent.engines.estimate._KNOWN", 2)
    booked = BookedOnce()
    assert [booked.is_first(one) for one in ("a", "a", "b", "a", "c", "c")] == [True, False, True, False, True, False]
    assert booked.is_first("a"), "the oldest one of three"
