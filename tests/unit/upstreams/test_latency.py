"""How long things take: the profiles as they are stated, the same for the same subject."""

from __future__ import annotations

import statistics

import pytest

from harness.upstreams.chance import Identifiers, choice, fraction
from harness.upstreams.latency import PROFILES, Latency, LogNormal, Span


def drawn(latency: Latency, doing: str, characters: int = 0) -> list[float]:
    return [latency.draw(doing, f"#h{number:08}", 0, characters) for number in range(4000)]


def test_realistic_model_turns_have_the_stated_median_and_tail() -> None:
    turns = drawn(Latency("realistic", seed=3), "model_turn")
    assert statistics.median(turns) == pytest.approx(3.0, rel=0.1)
    tail = [turn for turn in turns if turn > 59]
    assert 0.005 < len(tail) / len(turns) < 0.02
    assert all(60 <= turn <= 90 for turn in tail)


def test_realistic_first_tokens_and_tools() -> None:
    assert statistics.median(drawn(Latency("realistic"), "first_token")) == pytest.approx(0.9, rel=0.1)
    assert statistics.median(drawn(Latency("realistic"), "voicevox", 40)) == pytest.approx(2.1 + 40 * 0.053, rel=0.1)
    assert 1 / 130 <= min(drawn(Latency("realistic"), "token")) <= max(drawn(Latency("realistic"), "token")) <= 1 / 45


def test_the_documented_trace_takes_about_sixteen_seconds() -> None:
    # Three tools one after the other, two turns of the model, a message, speech of 40 characters; the rest of the
    # documented 15.9 s is polling once a second.
    latency = Latency("documented")
    once = [latency.draw(doing, "x", 0) for doing in ("time", "weather", "fortune", "write", "write", "read")]
    turns = [latency.draw(doing, "x", turn) for turn in (0, 1) for doing in ("run_queue", "model_turn")]
    total = sum(once) + sum(turns) + latency.draw("speech", "x", 0, 40)
    assert sum(once[:3]) == pytest.approx(5.5)
    assert 13.5 < total < 16.5


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_knows_everything_that_is_done(profile: str) -> None:
    assert PROFILES[profile].keys() == PROFILES["fast"].keys()  # type: ignore[index]


def test_a_scale_multiplies_and_nought_answers_at_once() -> None:
    assert Latency("documented", 0.5).draw("weather", "x", 0) == pytest.approx(1.75)
    assert Latency("documented", 0.0).draw("weather", "x", 0) == 0.0
    assert Latency("fast", 0.0).poll_after_ms == 1


def test_the_draw_depends_on_the_subject_its_ordinal_and_the_seed_only() -> None:
    latency = Latency(seed=1)
    assert latency.draw("news", "a", 0) == Latency(seed=1).draw("news", "a", 0)
    draws = {latency.draw("news", "a", 0), latency.draw("news", "a", 1), latency.draw("news", "b", 0)}
    assert len(draws | {Latency(seed=2).draw("news", "a", 0)}) == 4


def test_spans_and_log_normals() -> None:
    assert Span(1.0, 3.0, 0.1).draw(0.5, 10) == 3.0
    assert LogNormal(2.0, 0.5).draw(0.5, 0) == pytest.approx(2.0)
    assert LogNormal(2.0, 0.5).draw(0.0, 0) > 0
    assert LogNormal(2.0, 0.5, tail_share=0.1, tail_low_s=10, tail_high_s=20).draw(0.95, 0) == pytest.approx(15.0)


def test_chance_is_even_and_ids_are_different() -> None:
    fractions = [fraction("seed", number) for number in range(2000)]
    assert statistics.mean(fractions) == pytest.approx(0.5, abs=0.03)
    assert all(0 <= one < 1 for one in fractions)
    assert {choice("abc", number) for number in range(50)} == {"a", "b", "c"}


def test_ids_are_those_of_the_seed_and_never_the_same_twice() -> None:
    one, again, other = Identifiers(1), Identifiers(1), Identifiers(2)
    runs = [one.new("run_") for _ in range(1000)]
    assert len(set(runs)) == 1000
    assert {len(id_) for id_ in runs} == {len("run_") + 24}
    assert [again.new("run_") for _ in range(3)] == runs[:3]
    assert other.new("run_") not in runs
    assert one.new("msg_")[4:] not in {id_[4:] for id_ in runs}
