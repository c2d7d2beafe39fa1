"""A mistake in a scenario's task, or in the load itself, is told; its arrival does not vanish."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from locust import task
from locust.env import Environment

from harness.faults import Manner
from harness.load.callers import RealUsers
from harness.load.performance import Performance
from harness.load.transport import Exchange
from harness.model import (
    CheckPlan,
    ConstantRate,
    Durations,
    LoadPlan,
    Outcome,
    PlannedScenario,
    Sample,
    Scenario,
)  # fmt: skip

DURATIONS = Durations(warm_up_s=0, steady_s=0, attack_s=0.1, recovery_s=0, drain_s=1)


class Stumbling(RealUsers):
    """Their task breaks after the first thing they said."""

    abstract = True
    arrivals = ConstantRate(per_s=20, during=("attack",))

    @task
    def stumble(self) -> None:
        self.say("hello")
        raise KeyError("nobody expected this")


class Answering:
    """A transport that answers at once."""

    def exchange(self, user_id: str, message: str, done: Exchange, manner: Manner) -> None:
        done.sent_ns = done.end_ns = 1
        done.outcome = Outcome.ANSWERED


class Breaking:
    """A transport that breaks in a way that nobody foresaw."""

    def exchange(self, user_id: str, message: str, done: Exchange, manner: Manner) -> None:
        done.sent_ns = 1
        raise ZeroDivisionError


def performed(transport: Any) -> tuple[Performance, list[Sample]]:
    declaration = Scenario(
        title="", category="bug", severity="minor", story="", claim="", quick=DURATIONS, full=DURATIONS,
        checks=(CheckPlan(name="any", limits={}, because=""),),
    )  # fmt: skip
    planned = PlannedScenario(
        name="some", path="some.py", declaration=declaration,
        load=(LoadPlan(callers="Stumbling", role="real", arrivals=Stumbling.arrivals),),
    )  # fmt: skip
    samples: list[Sample] = []
    performance = Performance(
        Environment(),
        planned,
        [Stumbling],
        size="quick",
        seed=1,
        begin_ns=0,
        transport=transport,
        record=samples.append,
        record_fault=lambda event: None,
    )
    performance.start()
    while performance.in_flight:
        gevent.sleep(0.001)
    return performance, samples


def test_a_task_that_breaks_is_told_and_its_samples_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    performance, samples = performed(Answering())
    assert [sample.outcome for sample in samples] == [Outcome.ANSWERED] * 2
    assert performance.trouble == "a task of Stumbling broke with KeyError: 'nobody expected this'"
    assert "Traceback" in caplog.text


def test_an_exchange_that_breaks_leaves_a_sample_that_says_how_far_it_came() -> None:
    performance, samples = performed(Breaking())
    assert [(sample.outcome, sample.sent_ns) for sample in samples] == [(Outcome.ABANDONED, 1)] * 2
    assert "ZeroDivisionError" in performance.trouble
