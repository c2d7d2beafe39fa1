"""Do the checks of the samples pass, fail and abstain for the right reason?"""

from __future__ import annotations

import pytest

from harness.checks.client import (
    all_answered,
    answered_before_deadline,
    answered_within,
    errors_are_clear,
    heard_something,
    real_users_served,
    recovers,
)
from harness.model import Outcome, Verdict

# --- real_users_served


def test_real_users_served_passes(given):
    samples = [*given.many(80), *given.many(30, phase="steady")]
    finding = real_users_served(given.evidence(samples=samples), at_least_share=0.9)
    assert finding.verdict is Verdict.PASS
    assert "80 of 80 (100.0 %) during attack" in finding.observed
    assert "in steady state 30 of 30 (100.0 %)" in finding.observed
    assert finding.expected == "at least 90 % of real users' requests answered within 5 s"


def test_real_users_served_fails(given):
    samples = [*given.many(40), *given.many(40, outcome="timeout", latency_s=5.0)]
    finding = real_users_served(given.evidence(samples=samples), at_least_share=0.9)
    assert finding.verdict is Verdict.FAIL
    assert "40 of 80 (50.0 %)" in finding.observed
    assert len(finding.evidence) == 20
    assert "timeout after 5.000 s" in finding.evidence[0]


def test_real_users_served_of_nothing(given):
    finding = real_users_served(given.evidence(), at_least_share=0.9)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "too few samples: 0 requests of real users during attack, it takes 20"


def test_a_share_within_the_interval_is_inconclusive(given):
    finding = real_users_served(given.evidence(samples=given.many(30)), at_least_share=0.95)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == (
        "95 % lies within the interval of 30 requests; at this share it takes about 73 requests to tell"
    )


def test_a_share_below_the_limit_says_about_how_many_requests_would_tell(given):
    samples = [*given.many(32), *given.many(14, outcome="refused")]
    finding = real_users_served(given.evidence(samples=samples), at_least_share=0.8)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "at this share it takes about 75 requests to tell" in finding.reason
    same = given.evidence(samples=[*given.many(32), *given.many(8, outcome="refused")])
    assert "no number of requests can tell" in real_users_served(same, at_least_share=0.8).reason


def test_the_number_of_requests_that_is_asked_for_is_enough(given):
    evidence = given.evidence(samples=given.many(73))
    assert real_users_served(evidence, at_least_share=0.95).verdict is Verdict.PASS


@pytest.mark.parametrize("outcome", ["unserved", "timeout", "refused", "clear_error", "opaque_error", "disconnected"])
def test_everything_but_an_answer_counts_against_the_target(given, outcome):
    finding = real_users_served(given.evidence(samples=given.many(40, outcome=outcome)), at_least_share=0.5)
    assert finding.verdict is Verdict.FAIL


def test_abandoned_requests_count_for_nobody(given):
    samples = [*given.many(40), *given.many(40, outcome="abandoned")]
    finding = real_users_served(given.evidence(samples=samples), at_least_share=0.9)
    assert finding.verdict is Verdict.PASS
    assert "40 of 40" in finding.observed


def test_attackers_are_no_real_users(given):
    finding = real_users_served(given.evidence(samples=given.many(80, role="attacker")), at_least_share=0.5)
    assert finding.verdict is Verdict.INCONCLUSIVE


def test_an_answer_after_the_deadline_is_none(given):
    finding = real_users_served(given.evidence(samples=given.many(40, latency_s=5.5)), at_least_share=0.5)
    assert finding.verdict is Verdict.FAIL


# --- answered_before_deadline


def test_answered_before_deadline_passes(given):
    samples = [*given.many(10), *given.many(10, outcome="clear_error")]
    finding = answered_before_deadline(given.evidence(samples=samples))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "0 of 20 (0.0 %) without any answer during attack"


@pytest.mark.parametrize("outcome", ["timeout", "unserved", "disconnected"])
def test_answered_before_deadline_fails(given, outcome):
    samples = [*given.many(10), *given.many(2, outcome=outcome)]
    finding = answered_before_deadline(given.evidence(samples=samples), at_most_unanswered=1)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("2 of 12")
    assert len(finding.evidence) == 2


def test_answered_before_deadline_of_nothing(given):
    finding = answered_before_deadline(given.evidence(), roles=("attacker", "real"))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "0 requests of attackers and real users during attack" in finding.reason


def test_only_the_phases_that_were_asked_for_count(given):
    samples = [*given.many(5), *given.many(5, phase="recovery", outcome="timeout")]
    evidence = given.evidence(samples=samples)
    assert answered_before_deadline(evidence).verdict is Verdict.PASS
    assert answered_before_deadline(evidence, during=("attack", "recovery")).verdict is Verdict.FAIL


# --- all_answered


def test_all_answered_passes(given):
    samples = [*given.many(6, role="probe"), *given.many(1, role="probe", outcome="clear_error")]
    finding = all_answered(given.evidence(samples=samples), roles=("probe",), at_most_unanswered=1)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "1 of 7 (14.3 %) not answered during attack"


@pytest.mark.parametrize("outcome", ["opaque_error", "clear_error", "disconnected", "timeout", "refused", "unserved"])
def test_all_answered_fails(given, outcome):
    samples = [*given.many(5, role="probe"), *given.many(2, role="probe", outcome=outcome)]
    finding = all_answered(given.evidence(samples=samples), roles=("probe",), at_most_unanswered=1)
    assert finding.verdict is Verdict.FAIL
    assert len(finding.evidence) == 2


def test_all_answered_of_nothing(given):
    assert all_answered(given.evidence()).verdict is Verdict.INCONCLUSIVE
    assert "4 requests of real users" in all_answered(given.evidence(samples=given.many(4))).reason


def test_an_answer_that_came_too_late_was_no_answer(given):
    assert all_answered(given.evidence(samples=given.many(5, latency_s=5.5))).verdict is Verdict.FAIL


# --- errors_are_clear


def test_errors_are_clear_passes(given):
    samples = [*given.many(5), *given.many(5, outcome="clear_error"), *given.many(5, outcome="refused")]
    finding = errors_are_clear(given.evidence(samples=samples))
    assert finding.verdict is Verdict.PASS
    assert "5 answered, 5 refused, 5 clear_error" in finding.counted


@pytest.mark.parametrize("outcome", ["opaque_error", "disconnected"])
def test_errors_are_clear_fails(given, outcome):
    samples = [*given.many(5), given.sample(outcome=outcome, status=500, error="Internal Server Error")]
    finding = errors_are_clear(given.evidence(samples=samples))
    assert finding.verdict is Verdict.FAIL
    assert "status 500, Internal Server Error" in finding.evidence[0]


def test_errors_are_clear_of_nothing(given):
    assert errors_are_clear(given.evidence()).verdict is Verdict.INCONCLUSIVE


def test_silence_is_no_clear_error(given):
    finding = errors_are_clear(given.evidence(samples=given.many(9, outcome="timeout")))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "0 of 9 requests of real users during attack ended in any way" in finding.reason


# --- recovers


def lifted(given, at_s=11.0, **fields):
    return given.event("hang", "lifted", at_s, **fields)


def test_recovers_passes(given):
    samples = [
        given.sample(phase="recovery", at_s=11.2, outcome="timeout"),
        *(given.sample(phase="recovery", at_s=11.5 + step / 4) for step in range(10)),
    ]
    finding = recovers(given.evidence(samples=samples, events=[lifted(given)]), within_s=2)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "served from 0.50 s after hang was lifted (at 11.00 s) on, 10 requests"


def test_recovers_fails(given):
    samples = [
        *(given.sample(phase="recovery", at_s=11.1 + step / 4) for step in range(10)),
        given.sample(phase="recovery", at_s=14.5, outcome="opaque_error"),
    ]
    finding = recovers(given.evidence(samples=samples, events=[lifted(given)]), within_s=2)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("a request 3.50 s after hang was lifted (at 11.00 s) was still not served")


def test_recovers_of_nothing(given):
    assert recovers(given.evidence(), within_s=2).verdict is Verdict.INCONCLUSIVE
    assert recovers(given.evidence(phases=()), within_s=2).verdict is Verdict.INCONCLUSIVE


def test_recovery_counts_from_the_end_of_the_attack_where_nothing_was_lifted(given):
    samples = given.many(12, phase="recovery")
    finding = recovers(given.evidence(samples=samples), within_s=1)
    assert finding.verdict is Verdict.PASS
    assert "after the attack ended (at 11.00 s)" in finding.observed


def test_recovery_counts_from_the_last_lifting(given):
    samples = [
        *(given.sample(phase="recovery", at_s=11.0 + step / 4, outcome="timeout") for step in range(8)),
        *(given.sample(phase="recovery", at_s=13.0 + step / 4) for step in range(8)),
    ]
    events = [lifted(given, 9), lifted(given, 13, id="f2")]
    assert recovers(given.evidence(samples=samples, events=events), within_s=0.5).verdict is Verdict.PASS


def test_the_lifting_of_a_hazard_is_not_waited_for(given):
    evidence = given.evidence(
        samples=given.many(12, phase="recovery", outcome="timeout"),
        events=[lifted(given, 10.9), given.event("crash_on_emoji", "lifted", 14.9, id="f2")],
        planned=[given.fault_plan("hang"), given.fault_plan("crash_on_emoji", must_fire=False)],
    )
    finding = recovers(evidence, within_s=2)
    assert finding.verdict is Verdict.FAIL
    assert "hang was lifted" in finding.observed


def test_a_recovery_without_enough_served_requests_is_inconclusive(given):
    samples = [
        given.sample(phase="recovery", at_s=11.2, outcome="timeout"),
        given.sample(phase="recovery", at_s=11.4),
    ]
    finding = recovers(given.evidence(samples=samples), within_s=2)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "1 served requests at the end of recovery, it takes 3" in finding.reason


def test_a_gap_around_the_limit_is_inconclusive(given):
    samples = [given.sample(phase="recovery", at_s=11.2, outcome="timeout")]
    samples += [given.sample(phase="recovery", at_s=13.5 + step / 10) for step in range(5)]
    finding = recovers(given.evidence(samples=samples), within_s=2)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "no request was due between 0.20 s and 2.50 s" in finding.reason


# --- heard_something


def test_heard_something_passes(given):
    finding = heard_something(given.evidence(samples=given.many(20)), at_least_share=0.8)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "20 of 20 (100.0 %) heard something during attack, 95 % interval 83.9 to 100.0 %"


def test_heard_something_fails(given):
    samples = [*given.many(8), *given.many(12, audio_s=0.0, audio_bytes=44)]
    finding = heard_something(given.evidence(samples=samples), at_least_share=0.8)
    assert finding.verdict is Verdict.FAIL
    assert "12 were answered without playable audio" in finding.observed
    assert len(finding.evidence) == 12


def test_heard_something_of_nothing(given):
    assert heard_something(given.evidence(), at_least_share=0.8).verdict is Verdict.INCONCLUSIVE


def test_a_share_of_heard_replies_within_the_interval_is_inconclusive(given):
    samples = [*given.many(18, role="attacker"), *given.many(2, role="attacker", outcome="refused")]
    finding = heard_something(given.evidence(samples=samples), roles=("attacker",), at_least_share=0.8)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "80 % lies within the interval of 20 requests" in finding.reason


def test_a_target_that_never_speaks_is_not_called_mute(given):
    samples = [*given.many(20, role="attacker", audio_s=0.0), *given.many(20, phase="steady", audio_s=0.0)]
    finding = heard_something(given.evidence(samples=samples), roles=("attacker",), at_least_share=0.8)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("the target never answered with audio (40 answers to anybody): it does not speak")


def test_a_target_that_falls_silent_in_the_attack_is_mute(given):
    samples = [*given.many(20, role="attacker", audio_s=0.0), *given.many(1, phase="steady")]
    finding = heard_something(given.evidence(samples=samples), roles=("attacker",), at_least_share=0.8)
    assert finding.verdict is Verdict.FAIL


def test_a_target_that_answers_nobody_is_mute(given):
    samples = given.many(20, outcome="opaque_error")
    assert heard_something(given.evidence(samples=samples), at_least_share=0.8).verdict is Verdict.FAIL


# --- answered_within


def test_answered_within_passes(given):
    finding = answered_within(given.evidence(samples=given.many(40, latency_s=0.4)), at_most_s=1)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("p95 0.400 s during attack")


def test_answered_within_fails(given):
    samples = [*given.many(30), *given.many(10, latency_s=3.0)]
    finding = answered_within(given.evidence(samples=samples), at_most_s=1)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "p95 3.000 s during attack, 10 of 40 requests above 1 s"


def test_answered_within_of_nothing(given):
    assert answered_within(given.evidence(), at_most_s=1).verdict is Verdict.INCONCLUSIVE


def test_a_request_without_an_answer_took_for_ever(given):
    samples = [*given.many(30), *given.many(10, outcome="clear_error", latency_s=0.01)]
    finding = answered_within(given.evidence(samples=samples), at_most_s=1)
    assert finding.verdict is Verdict.FAIL
    assert "p95 never answered" in finding.observed
    quick = answered_within(
        given.evidence(samples=samples), at_most_s=1, ended_as=(Outcome.ANSWERED, Outcome.CLEAR_ERROR)
    )
    assert quick.verdict is Verdict.PASS


def test_a_high_percentile_takes_more_samples(given):
    evidence = given.evidence(samples=given.many(40))
    finding = answered_within(evidence, at_most_s=1, percentile=99.0)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "too few samples: 40 requests, a p99 takes 100"
