"""Does a run that proves nothing become inconclusive, and never a fail?"""

from __future__ import annotations

import msgspec
import pytest

from harness.checks.validity import (
    attack_arrived,
    ended_complete,
    every_caller_is_accounted_for,
    faults_fired,
    load_kept_schedule,
    machine_was_left_to_the_run,
    nothing_was_abandoned,
    something_was_sent,
    steady_state_held,
    upstreams_stayed_up,
)
from harness.evidence import Ended
from harness.model import ConstantRate, LoadPlan, Verdict

ATTACKERS = LoadPlan(callers="Bombers", role="attacker", arrivals=ConstantRate(per_s=25))


def test_something_was_sent_passes(given):
    assert something_was_sent(given.evidence(samples=given.many(2))).verdict is Verdict.PASS


def test_something_was_sent_is_violated(given):
    finding = something_was_sent(given.evidence(samples=given.many(2, outcome="unserved")))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.observed == "0 of 2 requests sent"


def test_something_was_sent_of_nothing(given):
    assert something_was_sent(given.evidence()).verdict is Verdict.INCONCLUSIVE


def test_ended_complete_passes(given):
    assert ended_complete(given.evidence()).verdict is Verdict.PASS


def test_ended_complete_is_violated(given):
    finding = ended_complete(given.evidence(ended=Ended(how="interrupted", reason="Ctrl-C")))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "the scenario is interrupted: Ctrl-C"


def test_ended_complete_of_nothing(given):
    finding = ended_complete(given.evidence(phases=()))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("no phase was recorded")


def test_every_caller_is_accounted_for_passes(given):
    twice = given.sample(ordinal=700)
    samples = [*given.many(9), twice, msgspec.structs.replace(twice, turn=1)]
    finding = every_caller_is_accounted_for(given.evidence(samples=samples, ended=Ended(how="complete", scheduled=10)))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "10 callers among the samples"


@pytest.mark.parametrize(("scheduled", "why"), [(12, "their samples were lost"), (8, "nothing had scheduled")])
def test_every_caller_is_accounted_for_is_violated(given, scheduled, why):
    ended = Ended(how="complete", scheduled=scheduled)
    finding = every_caller_is_accounted_for(given.evidence(samples=given.many(10), ended=ended))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert f"{scheduled} callers were to arrive and 10 are among the samples" in finding.reason
    assert why in finding.reason


def test_every_caller_is_accounted_for_of_nothing(given):
    assert every_caller_is_accounted_for(given.evidence()).verdict is Verdict.INCONCLUSIVE


def test_callers_of_two_classes_may_have_the_same_number(given):
    samples = [given.sample(ordinal=0), given.sample(ordinal=0, role="attacker")]
    finding = every_caller_is_accounted_for(given.evidence(samples=samples, ended=Ended(how="complete", scheduled=2)))
    assert finding.verdict is Verdict.PASS


def test_a_schedule_that_was_not_recorded_is_inconclusive_once(given):
    samples = given.many(10)
    complete = given.evidence(samples=samples, ended=Ended(how="complete"))
    assert "was not recorded" in every_caller_is_accounted_for(complete).reason
    # Where the scenario did not end complete, that is said by ended_complete.
    broken = given.evidence(samples=samples, ended=Ended(how="broken"))
    assert every_caller_is_accounted_for(broken).verdict is Verdict.PASS


def test_nothing_was_abandoned_passes(given):
    finding = nothing_was_abandoned(given.evidence(samples=given.many(3)))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "0 of 3 requests given up"


def test_nothing_was_abandoned_is_violated(given):
    samples = [*given.many(3), *given.many(2, outcome="abandoned")]
    finding = nothing_was_abandoned(given.evidence(samples=samples))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("2 requests were given up by the harness before they had ended")
    assert "deadline of 5 s" in finding.reason
    assert len(finding.evidence) == 2


def test_nothing_was_abandoned_of_nothing(given):
    assert nothing_was_abandoned(given.evidence()).verdict is Verdict.INCONCLUSIVE


def test_what_an_interrupted_run_gave_up_is_told_elsewhere(given):
    evidence = given.evidence(samples=given.many(2, outcome="abandoned"), ended=Ended(how="interrupted"))
    assert nothing_was_abandoned(evidence).verdict is Verdict.PASS


def test_load_kept_schedule_passes(given):
    finding = load_kept_schedule(given.evidence(samples=given.many(100, lag_s=0.01, latency_s=0.2)))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "p99 0.010 s over 100 requests, 0 later than the limit"


def test_load_kept_schedule_is_violated(given):
    samples = [*given.many(90), *given.many(10, lag_s=0.4, latency_s=0.5)]
    finding = load_kept_schedule(given.evidence(samples=samples))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "lagged behind its own schedule (p99 0.400 s)" in finding.reason
    assert len(finding.evidence) == 10


def test_load_kept_schedule_of_nothing(given):
    samples = [*given.many(5, outcome="unserved"), *given.many(5, phase="warm_up")]
    assert load_kept_schedule(given.evidence()).verdict is Verdict.INCONCLUSIVE
    assert load_kept_schedule(given.evidence(samples=samples)).verdict is Verdict.INCONCLUSIVE


def test_machine_was_left_to_the_run_passes(given):
    finding = machine_was_left_to_the_run(given.evidence(machine=given.machine(others=0.05)))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "others took 5 % of all CPUs during attack, 65 % were idle"


@pytest.mark.parametrize("phase", ["steady", "attack", "recovery"])
def test_machine_was_left_to_the_run_is_violated(given, phase):
    finding = machine_was_left_to_the_run(given.evidence(machine=given.machine(others=0.5, own=0.5, phase=phase)))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.observed.startswith("others took 50 % of all CPUs ")
    assert "play it again" in finding.reason


def test_machine_was_left_to_the_run_of_nothing(given):
    for machine in (None, (), given.machine(others=0.5, own=0.5)[:1]):
        assert machine_was_left_to_the_run(given.evidence(machine=machine)).verdict is Verdict.PASS, "no excuse"


def test_what_others_take_of_idle_cpus_is_taken_from_nobody(given):
    finding = machine_was_left_to_the_run(given.evidence(machine=given.machine(others=0.5, own=0.1)))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "others took 50 % of all CPUs during attack, 40 % were idle"


def test_what_the_run_itself_takes_is_no_excuse(given):
    finding = machine_was_left_to_the_run(given.evidence(machine=given.machine(others=0.02, own=0.98)))
    assert finding.verdict is Verdict.PASS


def test_steady_state_held_passes(given):
    assert steady_state_held(given.evidence(samples=given.many(16, phase="steady"))).verdict is Verdict.PASS


def test_steady_state_held_is_violated(given):
    samples = [*given.many(16, phase="steady"), *given.many(16, phase="steady", outcome="opaque_error")]
    finding = steady_state_held(given.evidence(samples=samples))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "did not serve its users before the attack already: 16 of 32 (50.0 %)" in finding.reason


def test_steady_state_held_of_nothing(given):
    for samples in ([], given.many(15, phase="steady")):
        finding = steady_state_held(given.evidence(samples=samples))
        assert finding.verdict is Verdict.INCONCLUSIVE
        assert f"too few samples: {len(samples)} requests" in finding.reason


def test_faults_fired_passes(given):
    evidence = given.evidence(
        planned=[given.fault_plan("hang"), given.fault_plan("crash_on_emoji", must_fire=False)],
        events=[given.event("hang", "planned"), given.event("hang", "armed"), given.event("hang", "fired")],
    )
    assert faults_fired(evidence).verdict is Verdict.PASS


def test_faults_fired_is_violated(given):
    evidence = given.evidence(
        planned=[given.fault_plan("hang", upstream="openai")],
        events=[given.event("hang", "planned", where="openai"), given.event("hang", "armed", where="openai")],
    )
    finding = faults_fired(evidence)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "hang on openai was armed and never fired: nothing came its way"


def test_faults_fired_of_nothing(given):
    finding = faults_fired(given.evidence(planned=[given.fault_plan("hang")]))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "hang was never armed"


def test_no_planned_fault_has_nothing_to_fire(given):
    assert faults_fired(given.evidence()).verdict is Verdict.PASS


def test_faults_without_the_upstream_vantage_say_what_brings_it(given):
    evidence = given.evidence(
        planned=[given.fault_plan("hang")],
        events=[given.event("hang", "planned", id="unarmed-0", where="openai")],
        ledger=None,
    )
    finding = faults_fired(evidence)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "hang on openai could not be armed: faults need `--upstreams URL`" in finding.reason


def test_two_faults_of_one_name_cannot_stand_in_for_each_other(given):
    planned = [given.fault_plan("slow", upstream=name) for name in ("time", "weather")]
    once = [given.event("slow", "fired", id="f1") for _ in range(5)]
    assert faults_fired(given.evidence(planned=planned, events=once)).verdict is Verdict.INCONCLUSIVE
    both = [*once, given.event("slow", "fired", id="f2")]
    assert faults_fired(given.evidence(planned=planned, events=both)).verdict is Verdict.PASS


def test_a_fault_of_the_process_happens_by_its_deed(given):
    events = [given.event("kill", "killed", family="process")]
    assert faults_fired(given.evidence(planned=[given.fault_plan("kill")], events=events)).verdict is Verdict.PASS


def test_upstreams_stayed_up_passes(given):
    assert upstreams_stayed_up(given.evidence(ledger=[given.call()])).verdict is Verdict.PASS
    assert upstreams_stayed_up(given.evidence(ledger=None)).verdict is Verdict.PASS


def test_upstreams_stayed_up_is_violated(given):
    end = given.event("upstreams", "exited", 7, id="upstreams", detail="exit code 1")
    finding = upstreams_stayed_up(given.evidence(ledger=[given.call()], events=[end]))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "the bundled upstreams ended at 7.00 s: exit code 1"


def test_upstreams_stayed_up_of_nothing(given):
    finding = upstreams_stayed_up(given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("the ledger is empty")


def test_attack_arrived_passes(given):
    samples = [*given.many(3, role="attacker", outcome="refused"), *given.many(3, role="attacker", outcome="unserved")]
    finding = attack_arrived(given.evidence(samples=samples))
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("3 of 6")


@pytest.mark.parametrize("outcome", ["unserved", "disconnected"])
def test_attack_arrived_is_violated(given, outcome):
    finding = attack_arrived(given.evidence(samples=given.many(4, role="attacker", outcome=outcome)))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "the attack did not arrive: of 4 requests of attackers" in finding.reason


def test_an_attack_of_which_less_than_half_arrived_did_not(given):
    def of(arrived):
        samples = [
            *given.many(arrived, role="attacker", outcome="refused"),
            *given.many(10 - arrived, role="attacker", outcome="unserved"),
        ]
        return attack_arrived(given.evidence(samples=samples))

    assert of(5).verdict is Verdict.PASS
    assert of(4).verdict is Verdict.INCONCLUSIVE
    assert of(4).reason.startswith("the attack did not arrive whole: of 10 requests of attackers 6 were never sent")


def test_attack_arrived_of_nothing(given):
    finding = attack_arrived(given.evidence(load=(ATTACKERS,)))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "the attack did not arrive: Bombers sent nothing"


def test_a_scenario_without_attackers_needs_none(given):
    assert attack_arrived(given.evidence(samples=given.many(3))).verdict is Verdict.PASS


def test_what_the_attack_may_have_ended_says_nothing_of_the_steady_state(given):
    window = given.evidence().window("steady")
    length_s = (window[1] - window[0]) / 1e9
    begin_s = (window[0] - given.ns(0)) / 1e9
    quiet = [given.sample(phase="steady", at_s=begin_s + 0.1) for _ in range(20)]
    caught = [
        given.sample(phase="steady", at_s=begin_s + length_s - 0.2, latency_s=0.5, outcome="opaque_error")
        for _ in range(20)
    ]
    finding = steady_state_held(given.evidence(samples=[*quiet, *caught]))
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("20 of 20")


def test_what_was_waited_for_beyond_the_deadline_in_the_steady_state_counts_against_it(given):
    evidence = given.evidence()
    window = evidence.window("steady")
    due_s = (window[1] - given.ns(0)) / 1e9 - evidence.deadline_s - 0.1
    late = [
        given.sample(phase="warm_up", at_s=due_s, latency_s=evidence.deadline_s + 3, outcome="timeout")
        for _ in range(20)
    ]
    assert steady_state_held(given.evidence(samples=late)).verdict is Verdict.INCONCLUSIVE


def test_who_came_in_the_warm_up_and_was_answered_in_the_steady_state_counts(given):
    begin_s = (given.evidence().window("steady")[0] - given.ns(0)) / 1e9
    samples = [given.sample(phase="warm_up", at_s=begin_s - 0.1, latency_s=0.3) for _ in range(20)]
    finding = steady_state_held(given.evidence(samples=samples))
    assert finding.observed.startswith("20 of 20")
