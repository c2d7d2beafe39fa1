"""What callers do wrong on purpose is neither laid to the target nor counted as somebody else's doing."""

import msgspec
import pytest

from harness.checks.client import all_answered, answered_before_deadline, real_users_served, recovers
from harness.checks.conversations import conversations_kept
from harness.checks.selection import requests, times_asked
from harness.checks.upstream import tool_calls_per_turn, upstream_calls_bounded
from harness.checks.validity import every_caller_is_accounted_for, faults_fired, nothing_was_abandoned
from harness.model import Outcome, Sample, Verdict


def twice(sample: Sample, **fields: object) -> list[Sample]:
    """A request, and the same one sent again half a second later."""
    again = {name: getattr(sample, name) + 500_000_000 for name in ("intended_ns", "sent_ns", "end_ns")}
    return [sample, msgspec.structs.replace(sample, **(again | {"copy": 1, "fault": "send_twice"} | fields))]


def test_a_request_that_was_sent_twice_is_one_request(given):
    samples = [one for sample in given.many(20) for one in twice(sample)]
    evidence = given.evidence(samples=samples)

    assert len(samples) == 40
    assert requests(evidence, ("real",), ("attack",)) == [sample for sample in samples if not sample.copy]
    assert real_users_served(evidence, at_least_share=0.8).observed.startswith("20 of 20 ")
    assert every_caller_is_accounted_for(evidence).observed == "20 callers among the samples"


def test_who_got_an_answer_to_the_second_one_was_answered_and_waited_since_the_first(given):
    first = given.sample(outcome="disconnected", latency_s=0.2)
    evidence = given.evidence(samples=twice(first, outcome=Outcome.ANSWERED))

    (lived,) = requests(evidence, ("real",), ("attack",))
    assert lived.outcome is Outcome.ANSWERED
    assert lived.latency_s == pytest.approx(0.7)
    assert answered_before_deadline(evidence).verdict is Verdict.PASS


def test_who_got_an_answer_to_the_first_one_does_not_mind_a_refusal_of_the_second(given):
    samples = [one for sample in given.many(5) for one in twice(sample, outcome=Outcome.REFUSED)]

    assert all_answered(given.evidence(samples=samples)).verdict is Verdict.PASS


def test_who_got_no_answer_to_either_is_one_who_got_none(given):
    samples = twice(given.sample(outcome="timeout", latency_s=5.0))

    finding = answered_before_deadline(given.evidence(samples=samples))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("1 of 1 ")


def test_who_hung_up_on_purpose_was_not_given_up_by_the_harness(given):
    left = given.many(3, outcome="abandoned", fault="hang_up")
    evidence = given.evidence(samples=[*given.many(20), *left])

    assert nothing_was_abandoned(evidence).verdict is Verdict.PASS
    assert "3 hung up on purpose" in nothing_was_abandoned(evidence).observed
    assert real_users_served(evidence, at_least_share=0.8).observed.startswith("20 of 20 ")


def test_a_copy_is_no_second_turn_of_a_conversation(given):
    first = given.sample(user_id="u1", mark="#h1", at_s=6)
    later = given.sample(user_id="u1", mark="#h2", at_s=8)
    ledger = [
        given.call(route="POST /v1/threads/{thread_id}/messages", at_s=6.1, mark="#h1", conversation="t1"),
        given.call(route="POST /v1/threads/{thread_id}/messages", at_s=8.1, mark="#h2", conversation="t2"),
    ]
    once = given.evidence(samples=[first, later], ledger=ledger)
    again = given.evidence(samples=[*twice(first), later], ledger=ledger)

    # After one turn nobody is known to who asks for two; to have sent that turn twice changes nothing.
    for evidence in (once, again):
        finding = conversations_kept(evidence, minimum_users=1, known_after_turns=2)
        assert finding.verdict is Verdict.INCONCLUSIVE, finding.observed


def test_tool_calls_of_a_turn_that_was_asked_for_twice(given):
    def evidence(calls, *samples):
        ledger = [
            given.generation(f"run_{number}", "requires_action", mark="#h1", tool_calls=(given.tool(),))
            for number in range(calls)
        ]
        return given.evidence(samples=samples, ledger=ledger)

    asked = given.sample(mark="#h1")
    assert tool_calls_per_turn(evidence(4, asked), at_most=2, minimum=1).verdict is Verdict.FAIL
    finding = tool_calls_per_turn(evidence(4, *twice(asked)), at_most=2, minimum=1)
    assert finding.verdict is Verdict.PASS
    assert "1 were asked for twice by their callers" in finding.counted
    assert tool_calls_per_turn(evidence(5, *twice(asked)), at_most=2, minimum=1).verdict is Verdict.FAIL


def test_what_a_caller_sends_twice_is_no_retry_of_the_target(given):
    samples = [one for number in range(5) for one in twice(given.sample(mark=f"#h{number}"))]
    ledger = [given.call(mark=f"#h{number}", body_hash=f"b{number}") for number in range(5) for _ in range(2)]
    evidence = given.evidence(samples=samples, ledger=ledger)

    assert times_asked(evidence) == {f"#h{number}": 2 for number in range(5)}
    finding = upstream_calls_bounded(evidence, upstream="openai", at_most_per_request=1)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "10 calls for 10 requests, 1.00 each"
    assert "repeat" not in finding.counted
    more = given.evidence(samples=samples, ledger=[*ledger, given.call(mark="#h0", body_hash="b0")])
    assert "1 of them repeat" in upstream_calls_bounded(more, upstream="openai", at_most_per_request=2).counted


def test_a_planned_fault_of_callers_that_met_nobody_is_told(given):
    planned = [given.fault_plan("hang_up", after_s=1)]
    armed = [given.event("hang_up", event, family="caller", id="caller-0") for event in ("planned", "armed", "lifted")]
    finding = faults_fired(given.evidence(planned=planned, events=armed))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "hang_up was armed and never fired" in finding.reason
    fired = given.event("hang_up", "fired", family="caller", id="caller-0")
    assert faults_fired(given.evidence(planned=planned, events=[*armed, fired])).verdict is Verdict.PASS


def test_recovery_counts_from_when_callers_behave_again(given):
    events = [given.event("send_twice", "lifted", 11.0, family="caller", id="caller-0")]
    finding = recovers(given.evidence(samples=given.many(8, phase="recovery"), events=events), within_s=2)
    assert finding.verdict is Verdict.PASS
    assert "send_twice was lifted" in finding.observed
