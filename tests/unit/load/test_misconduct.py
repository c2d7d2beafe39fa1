"""Who misbehaves follows from seed and schedule, is the same for one worker and four, and shows in the samples."""

from __future__ import annotations

import random
import sys
from types import ModuleType
from typing import Any

import gevent
import pytest
from locust import task
from locust.env import Environment

from harness import fault
from harness.campaign import phase_offsets
from harness.faults import AS_USUAL, Manner
from harness.load.arrivals import schedule
from harness.load.callers import Attackers, Callers, RealUsers
from harness.load.declared import ScenarioFileError, planned
from harness.load.misconduct import misconduct
from harness.load.performance import Performance
from harness.load.transport import Exchange
from harness.model import (
    CheckPlan,
    ConstantRate,
    Durations,
    FaultEvent,
    FaultPlan,
    LoadPlan,
    Outcome,
    PlannedScenario,
    Sample,
    Scenario,
)  # fmt: skip

DURATIONS = Durations(warm_up_s=0.1, steady_s=0.1, attack_s=0.2, recovery_s=0.1, drain_s=1)
OFFSETS = phase_offsets(DURATIONS)


class Talkers(RealUsers):
    abstract = True
    arrivals = ConstantRate(per_s=200)

    @task
    def talk(self) -> None:
        self.say("hello")


class Bombers(Attackers):
    abstract = True
    arrivals = ConstantRate(per_s=100, during=("attack",))

    @task
    def bomb(self) -> None:
        self.say("first")
        self.say("second")


CLASSES: list[type[Callers]] = [Talkers, Bombers]


def scenario(*faults: FaultPlan) -> PlannedScenario:
    return PlannedScenario(
        name="some",
        path="some.py",
        declaration=Scenario(
            title="", category="bug", severity="minor", story="", claim="", quick=DURATIONS, full=DURATIONS,
            checks=(CheckPlan(name="any", limits={}, because=""),), faults=faults,
        ),
        load=tuple(LoadPlan(callers=one.__name__, role=one.role, arrivals=one.arrivals) for one in CLASSES),
    )  # fmt: skip


def chosen(*faults: FaultPlan, seed: int = 1, size: Any = "quick") -> dict[tuple[str, int], str]:
    schedules = {
        one.__name__: schedule(one.arrivals, OFFSETS, "quick", random.Random(f"{seed}/some/{one.__name__}/arrivals"))
        for one in CLASSES
    }
    return {who: what.id for who, what in misconduct(scenario(*faults), schedules, OFFSETS, size, seed).items()}


def test_a_fault_meets_who_is_due_in_its_phases_and_of_its_kind() -> None:
    everybody = chosen(fault("send_twice"))
    assert set(everybody) == {("Talkers", n) for n in range(40, 80)} | {("Bombers", n) for n in range(20)}
    assert set(chosen(fault("send_twice", role="attacker"))) == {("Bombers", n) for n in range(20)}
    assert set(chosen(fault("send_twice", callers="Talkers", during=("steady",)))) == {
        ("Talkers", n) for n in range(20, 40)
    }
    assert set(chosen(fault("send_twice", role="attacker", from_s=0.1, for_s=0.05))) == {
        ("Bombers", n) for n in range(10, 15)
    }


def test_times_are_the_first_who_come_and_who_is_taken_is_left_to_the_fault_before() -> None:
    taken = chosen(fault("send_twice", times=3), fault("hang_up", after_s=1, times=2))

    assert taken == {
        ("Talkers", 40): "caller-0",
        ("Bombers", 0): "caller-0",
        ("Talkers", 41): "caller-0",
        ("Talkers", 42): "caller-1",
        ("Bombers", 1): "caller-1",
    }


def test_a_share_of_callers_is_drawn_from_the_seed() -> None:
    plan = fault("hang_up", at="mid_body", probability=0.5, during=("warm_up", "steady", "attack", "recovery"))
    one, same, other = chosen(plan), chosen(plan), chosen(plan, seed=2)

    assert one == same != other
    # 120 callers, half of them, five standard deviations of 5.5 on either side.
    assert abs(len(one) - 60) < 28


def test_the_documented_size_has_its_own_fields() -> None:
    plan = fault("send_twice", times=1, full={"times": 4})

    assert (len(chosen(plan)), len(chosen(plan, size="full"))) == (1, 4)


class Noting:
    """A transport that notes what it is asked, and does at once what a caller would do."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Manner]] = []

    def exchange(self, user_id: str, message: str, done: Exchange, manner: Manner = AS_USUAL) -> None:
        self.asked.append((message, manner))
        done.sent_ns = done.end_ns = len(self.asked)
        done.outcome = Outcome.ANSWERED
        if manner.leaves_after_s is not None:
            done.outcome, done.misbehaved_ns, done.misbehaviour = Outcome.ABANDONED, done.sent_ns, "hung up"


def played(plan: FaultPlan, share: tuple[int, int] = (0, 1)) -> tuple[list[Sample], list[FaultEvent], Noting]:
    samples: list[Sample] = []
    events: list[FaultEvent] = []
    transport: Any = Noting()
    performance = Performance(
        Environment(), scenario(plan), CLASSES, size="quick", seed=1, begin_ns=0, transport=transport,
        record=samples.append, record_fault=events.append, share=share,
    )  # fmt: skip
    performance.start()
    while performance.in_flight:
        gevent.sleep(0.001)
    assert performance.trouble == ""
    return samples, events, transport


def test_a_request_that_is_sent_twice_is_two_samples_of_one_caller() -> None:
    samples, events, transport = played(fault("send_twice", callers="Bombers", times=1, after_s=0.01))

    twice = [sample for sample in samples if sample.callers == "Bombers" and sample.ordinal == 0]
    assert sorted((sample.turn, sample.copy, sample.fault) for sample in twice) == [
        (0, 0, None), (0, 1, "send_twice"), (1, 0, None), (1, 1, "send_twice"),
    ]  # fmt: skip
    for turn in (0, 1):
        first, again = sorted((one for one in twice if one.turn == turn), key=lambda one: one.copy)
        assert first.mark == again.mark is not None
        assert (first.user_id, first.message) == (again.user_id, again.message)
        assert [message for message, _ in transport.asked].count(first.message) == 2
        assert again.intended_ns > first.intended_ns
    assert [(event.fault, event.id, event.event, event.family, event.where) for event in events] == [
        ("send_twice", "caller-0", "fired", "caller", "Bombers")
    ] * 2
    assert events[0].detail == f"0.0 {twice[0].mark}: sent the same request again"
    assert len(samples) == 100 + 40 + 2


def test_a_hang_up_is_told_in_its_sample_and_on_the_timeline() -> None:
    samples, events, _ = played(fault("hang_up", after_s=1, role="real", times=2))

    left = [sample for sample in samples if sample.fault is not None]
    assert [(one.outcome, one.fault, one.callers) for one in left] == [(Outcome.ABANDONED, "hang_up", "Talkers")] * 2
    assert [event.id for event in events] == ["caller-0"] * 2


def test_workers_choose_the_same_callers_between_them() -> None:
    plan = fault("hang_up", after_s=1, probability=0.4, times=7)
    alone, _, _ = played(plan)
    shared = [sample for index in range(3) for sample in played(plan, (index, 3))[0]]

    def who(samples: list[Sample]) -> set[tuple[str, int]]:
        return {(sample.callers, sample.ordinal) for sample in samples if sample.fault is not None}

    assert len(who(alone)) == 7
    assert who(alone) == who(shared)


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (fault("hang_up", after_s=1, callers="Talker"), "for the callers 'Talker'; there are Talkers, Bombers."),
        (fault("send_twice", role="probe"), "for the role 'probe'; the callers here are attacker, real."),
        (
            fault("hang", from_s=0.2),
            "at quick size, the fault hang would never be armed: `from_s` is 0.2, and attack last 0.2 s.",
        ),
        (
            fault("hang", from_s=9, during=("steady", "attack")),
            "the fault hang would never be armed: `from_s` is 9, and steady and attack last 0.3 s.",
        ),
    ],
)
def test_a_fault_that_would_meet_nobody_or_nothing_is_refused_when_the_scenario_is_read(
    plan: FaultPlan, says: str
) -> None:
    module = ModuleType("some")
    module.__file__ = "some.py"
    sys.modules["some"] = module
    try:
        for one in CLASSES:
            setattr(module, one.__name__, type(one.__name__, (one,), {"abstract": False, "__module__": "some"}))
        module.scenario = scenario(plan).declaration  # type: ignore[attr-defined]
        with pytest.raises(ScenarioFileError) as refused:
            planned(module)
    finally:
        del sys.modules["some"]

    assert says in str(refused.value)
