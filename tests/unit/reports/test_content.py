"""Are the figures in the report right, and the texts showable?"""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence import Evidence
from harness.model import Durations, Outcome, PhaseWindow, Sample, Scenario
from reports.content.glance import Glance
from reports.content.outside_text import label, one_line, plot_label, showable, tail
from reports.content.plot import timeline_svgs
from reports.content.quantities import count, duration, memory, share, words
from reports.content.timeline import bin_width_s, rates, timeline
from reports.content.waits import percentile, waits

_SHORT = Durations(warm_up_s=1, steady_s=1, attack_s=1, recovery_s=1, drain_s=1)


def evidence(*samples: Sample, phases: tuple[PhaseWindow, ...] = ()) -> Evidence:
    return Evidence(
        name="x",
        scenario=Scenario(
            title="X", category="bug", severity="minor", story="", claim="", quick=_SHORT, full=_SHORT, checks=()
        ),
        size="quick",
        seed=1,
        deadline_s=5.0,
        declared={},
        phases=phases,
        samples=samples,
        ledger=None,
        telemetry=None,
        log_lines=None,
        faults=(),
    )


def sample(latency_s: float, outcome: Outcome = Outcome.ANSWERED, lag_s: float = 0.0) -> Sample:
    sent = None if outcome is Outcome.UNSERVED else round(lag_s * 1e9)
    return Sample(
        callers="Real",
        role="real",
        task="t",
        ordinal=0,
        phase="attack",
        user_id="u",
        intended_ns=0,
        sent_ns=sent,
        end_ns=round(latency_s * 1e9),
        outcome=outcome,
    )


def test_a_percentile_needs_samples_beyond_it() -> None:
    assert percentile([1.0] * 39, 0.95) is None
    assert percentile([1.0] * 40, 0.95) == 1.0
    assert percentile([1.0] * 199, 0.99) is None
    assert percentile([1.0] * 200, 0.99) == 1.0
    assert percentile([], 0.5) is None


def test_waits_count_from_the_intended_start_over_all_outcomes() -> None:
    answered = [sample(0.1, lag_s=0.05)] * 30
    timed_out = [sample(5.0, Outcome.TIMEOUT)] * 10
    unserved = [sample(0.0, Outcome.UNSERVED)] * 10
    abandoned = [sample(9.0, Outcome.ABANDONED)] * 10
    (one,) = waits(evidence(*answered, *timed_out, *unserved, *abandoned))
    assert (one.requests, one.answered, one.unserved) == (50, 30, 10)
    assert one.p50_s == pytest.approx(0.1)
    assert one.p95_s == one.max_s == pytest.approx(5.0)
    assert one.service_p50_s == pytest.approx(0.05)
    assert one.lag_is_max
    assert one.lag_p99_s == pytest.approx(0.05)


def test_nothing_was_called() -> None:
    assert waits(evidence()) == []
    assert timeline(evidence()) is None
    assert timeline_svgs([None, None], "s1") == ["", ""]
    assert {figure.figure for figure in (lambda glance: (glance.add(evidence()), glance.rows)[1])(Glance())} == {"–"}


def test_what_was_never_sent_has_no_latency() -> None:
    phases = (PhaseWindow(phase="attack", begin_ns=0, end_ns=1_000_000_000),)
    drawn = timeline(evidence(sample(0.0, Outcome.UNSERVED), sample(0.2), phases=phases))
    assert drawn is not None
    assert list(drawn.requests["latency_s"].isna()) == [True, False]
    assert list(drawn.requests["group"]) == ["lost", "answered"]
    (svg,) = timeline_svgs([drawn], "s1")
    assert svg.startswith("<svg")


def test_a_phase_that_never_ended_is_drawn_as_far_as_its_samples_go() -> None:
    late = Sample(
        callers="Real",
        role="real",
        task="t",
        ordinal=1,
        phase="recovery",
        user_id="u",
        intended_ns=3_000_000_000,
        sent_ns=3_000_000_000,
        end_ns=3_100_000_000,
        outcome=Outcome.ANSWERED,
    )
    phases = (PhaseWindow(phase="attack", begin_ns=0, end_ns=1_000_000_000),)
    drawn = timeline(evidence(sample(0.2), late, phases=phases))
    assert drawn is not None
    assert drawn.span_s == pytest.approx(3.0)
    without_phases = timeline(evidence(sample(0.2), late))
    assert without_phases is not None
    assert without_phases.span_s == pytest.approx(3.0)


@pytest.mark.parametrize(("span_s", "width_s"), [(13.0, 0.5), (6.0, 0.1), (60.0, 1.0), (61.0, 2.0), (3600.0, 100.0)])
def test_bins_have_round_widths(span_s: float, width_s: float) -> None:
    assert bin_width_s(span_s) == pytest.approx(width_s)


@given(st.lists(st.tuples(st.floats(0, 9.99), st.sampled_from("ab")), max_size=60), st.sampled_from([0.1, 0.5, 1.0]))
def test_every_event_is_counted_once(events: list[tuple[float, str]], width_s: float) -> None:
    frame = pd.DataFrame({"at_s": [at_s for at_s, _ in events], "kind": [kind for _, kind in events]})
    frame["at_s"] = frame["at_s"].astype(float)
    table = rates(frame, "kind", ["a", "b"], 10.0, width_s)
    assert len(table) == math.ceil(10 / width_s)
    assert float(table.to_numpy().sum()) * width_s == pytest.approx(len(events))
    assert list(table.columns) == ["a", "b"]


@pytest.mark.parametrize(
    ("seconds", "words_"),
    [
        (None, "–"),
        (0.0, "0 ms"),
        (0.0042, "4 ms"),
        (0.0999, "0.10 s"),
        (9.999, "10.0 s"),
        (65, "65.0 s"),
        (200, "3 min 20 s"),
    ],
)
def test_durations(seconds: float | None, words_: str) -> None:
    assert duration(seconds) == words_


def test_a_share_is_0_or_100_only_where_it_is_exactly_that() -> None:
    assert [share(*pair) for pair in ((0, 1000), (1, 1000), (999, 1000), (1000, 1000), (0, 0))] == [
        "0 %",
        "1 %",
        "99 %",
        "100 %",
        "–",
    ]


def test_words() -> None:
    assert [words(list(names)) for names in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert [count(number, "reply", "replies") for number in (0, 1, 2000)] == ["0 replies", "1 reply", "2,000 replies"]
    assert memory(None) == "–"
    assert memory(3 * 2**20) == "3 MB"


@given(st.text())
def test_shown_text_has_nothing_invisible_and_can_be_written(text: str) -> None:
    shown = showable(text, 50)
    shown.encode()
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u2028\u2029")
    assert "\n" not in one_line(text)
    assert len(label(text)) <= 40
    assert plot_label(text).isascii()


def test_language_is_kept() -> None:
    text = "안녕하세요😀こんにちは🇰🇷 👩‍👩‍👧 مرحبا é"
    assert showable(text) == text


def test_lone_surrogates_and_stacked_accents() -> None:
    assert showable("a\ud800b") == "a‹U+D800›b"
    assert showable("e" + "\u0301" * 50) == "e" + "\u0301" * 3


def test_what_was_cut_is_counted() -> None:
    assert showable("x" * 2000, 3) == "xxx… (2,000 characters)"
    assert tail("first\nsecond\nthird\n", 10) == "…\nthird\n"
    assert tail("short", 10) == "short"
