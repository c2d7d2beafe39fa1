"""The conductor: what happens next, with a clock that the test holds."""

import itertools
from collections.abc import Sequence

import pytest

from harness import campaign
from harness.campaign import (
    Action,
    Arm,
    Conductor,
    End,
    Enter,
    Finish,
    HasEnded,
    Interrupt,
    Judged,
    Leave,
    Lift,
    Play,
    Prepared,
    PrepareFailed,
    Tick,
)
from harness.model import CheckPlan, Durations, FaultPlan, PlannedScenario, Scenario, Verdict

SECOND = 1_000_000_000


def planned(name: str = "one", *faults: FaultPlan) -> PlannedScenario:
    durations = Durations(warm_up_s=1, steady_s=2, attack_s=3, recovery_s=1, drain_s=5)
    return PlannedScenario(
        name=name,
        path=f"{name}.py",
        load=(),
        declaration=Scenario(
            title=name,
            category="bug",
            severity="major",
            story="",
            claim="",
            quick=durations,
            full=durations,
            faults=faults,
            checks=(CheckPlan(name="any", limits={}, because=""),),
        ),
    )


class Stopwatch:
    """Drives a conductor second by second and keeps what it asked for, with the second in which it did."""

    def __init__(self, *scenarios: PlannedScenario, deadline_s: float = 2) -> None:
        self.conductor = Conductor(scenarios, "quick", deadline_s)
        self.now_ns = 100 * SECOND
        self.asked: list[tuple[float, Action]] = []
        self._begin_ns = 0
        self.take(self.conductor.begin())

    def take(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Play):
                self._begin_ns = action.begin_ns
            self.asked.append(((self.now_ns - self._begin_ns) / SECOND, action))

    def tell(self, event: campaign.Event) -> None:
        self.take(self.conductor.on(event, self.now_ns))

    def run_to(self, offset_s: float, in_flight: int = 1, step_s: float = 0.02) -> None:
        while self.now_ns < self._begin_ns + offset_s * SECOND:
            self.now_ns += round(step_s * SECOND)
            self.tell(Tick(in_flight))

    def settle(self) -> None:
        """Let nothing be in flight for long enough."""
        for _ in range(60):
            self.now_ns += round(0.02 * SECOND)
            self.tell(Tick(0))

    def when(self, kind: type[Action], index: int = 0) -> float:
        return [at_s for at_s, action in self.asked if isinstance(action, kind)][index]

    def kinds(self) -> list[str]:
        return [type(action).__name__ for _, action in self.asked]


def test_a_scenario_is_prepared_played_ended_and_judged_in_this_order() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()
    watch.tell(HasEnded())
    watch.tell(Judged("one", Verdict.PASS))

    # fmt: off
    assert watch.kinds() == [
        "Prepare", "Play",
        "Enter", "Leave", "Enter", "Leave", "Enter", "Leave", "Enter", "Leave", "Enter", "Leave",
        "End", "Judge", "Finish",
    ]
    # fmt: on
    assert watch.conductor.verdicts == {"one": Verdict.PASS}
    assert watch.conductor.finished


def test_phases_begin_when_they_are_due_and_windows_have_no_gaps() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()

    entered = [(round(at_s, 1), action.phase) for at_s, action in watch.asked if isinstance(action, Enter)]
    assert entered == [(0.0, "warm_up"), (1.0, "steady"), (3.0, "attack"), (6.0, "recovery"), (7.0, "drain")]
    windows = [action.window for _, action in watch.asked if isinstance(action, Leave)]
    assert all(a.end_ns == b.begin_ns for a, b in itertools.pairwise(windows))


def test_the_drain_ends_a_second_after_the_last_answer() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.9)
    watch.run_to(8.8, in_flight=0)
    assert "End" not in watch.kinds(), "what the target does after its last answer belongs to the scenario"
    watch.run_to(9.0, in_flight=0)
    assert "End" in watch.kinds()


def test_something_in_flight_again_begins_the_second_anew() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.9)
    watch.run_to(8.5, in_flight=0)
    watch.run_to(8.6, in_flight=1)
    watch.run_to(9.5, in_flight=0)
    assert "End" not in watch.kinds()


def test_a_drain_outlasts_the_longest_wait_of_a_caller() -> None:
    watch = Stopwatch(planned(), deadline_s=30)
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(37.5)
    assert "End" not in watch.kinds()
    watch.run_to(38.1)
    assert "End" in watch.kinds()


def test_the_drain_ends_when_its_time_is_over_though_something_is_in_flight() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(12.1, in_flight=3)

    assert watch.when(End) == pytest.approx(12.0, abs=0.05)


def test_nothing_in_flight_before_the_drain_ends_nothing() -> None:
    watch = Stopwatch(planned())
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(5, in_flight=0)

    assert "End" not in watch.kinds()


def test_faults_are_armed_and_lifted_on_time_the_earlier_one_lifted_before_the_next_is_armed() -> None:
    first = FaultPlan(spec={"fault": "hang"}, from_s=0, for_s=1)
    second = FaultPlan(spec={"fault": "reset"}, from_s=1, for_s=1)
    whole = FaultPlan(spec={"fault": "slow"}, during=("warm_up", "steady", "attack", "recovery"))
    watch = Stopwatch(planned("one", first, second, whole))
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()

    moves = [
        (round(at_s, 1), type(action).__name__, action.plan.spec["fault"])
        for at_s, action in watch.asked
        if isinstance(action, Arm | Lift)
    ]
    assert moves == [
        (0.0, "Arm", "slow"),
        (3.0, "Arm", "hang"),
        (4.0, "Lift", "hang"),
        (4.0, "Arm", "reset"),
        (5.0, "Lift", "reset"),
        (7.0, "Lift", "slow"),
    ]


@pytest.mark.parametrize("first", ["judged", "prepared"])
def test_the_next_scenario_is_prepared_while_the_one_before_is_judged_and_played_after_both(first: str) -> None:
    watch = Stopwatch(planned("one"), planned("two"))
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()
    watch.tell(HasEnded())
    assert watch.kinds()[-3:] == ["End", "Judge", "Prepare"]
    assert watch.conductor.scenario.name == "two"

    both = [Judged("one", Verdict.FAIL), Prepared("http://127.0.0.1:2")]
    one, other = both if first == "judged" else reversed(both)
    watch.tell(one)
    watch.run_to(30, step_s=1)
    assert watch.kinds()[-1] == "Prepare"
    watch.tell(other)
    assert watch.kinds()[-1] == "Play"
    assert watch.conductor.verdicts == {"one": Verdict.FAIL}
    assert not watch.conductor.finished


def test_an_interrupt_while_one_is_judged_and_the_next_prepared_waits_for_both_judgements() -> None:
    watch = Stopwatch(planned("one"), planned("two"), planned("three"))
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()
    watch.tell(HasEnded())
    watch.tell(Interrupt("Ctrl-C"))
    watch.tell(HasEnded())
    watch.tell(Judged("two", Verdict.INCONCLUSIVE))
    assert not watch.conductor.finished
    watch.tell(Judged("one", Verdict.PASS))

    assert watch.kinds()[-5:] == ["Judge", "Prepare", "End", "Judge", "Finish"]
    assert watch.conductor.verdicts == {"one": Verdict.PASS, "two": Verdict.INCONCLUSIVE}


def test_a_target_that_does_not_come_up_again_ends_the_campaign_when_all_is_judged() -> None:
    watch = Stopwatch(planned("one"), planned("two"), planned("three"))
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(7.5)
    watch.settle()
    watch.tell(HasEnded())
    watch.tell(PrepareFailed("it did not start"))
    watch.tell(HasEnded())
    watch.tell(Judged("one", Verdict.PASS))
    assert not watch.conductor.finished
    watch.tell(Judged("two", Verdict.INCONCLUSIVE))

    assert watch.asked[-1][1] == Finish(interrupted=False, reason="it did not start")


def test_a_target_that_never_comes_up_ends_the_campaign_and_the_rest_is_not_tried() -> None:
    watch = Stopwatch(planned("one"), planned("two"))
    watch.tell(PrepareFailed("it did not start"))
    watch.tell(HasEnded())
    watch.tell(Judged("one", Verdict.INCONCLUSIVE))

    assert watch.kinds() == ["Prepare", "End", "Judge", "Finish"]
    ended = next(action for _, action in watch.asked if isinstance(action, End))
    assert (ended.ended.how, ended.ended.reason) == ("broken", "it did not start")
    assert watch.asked[-1][1] == Finish(interrupted=False, reason="it did not start")


def test_an_interrupt_in_the_middle_lifts_what_is_broken_and_judges_what_is_there() -> None:
    watch = Stopwatch(planned("one", FaultPlan(spec={"fault": "hang"})), planned("two"))
    watch.tell(Prepared("http://127.0.0.1:1"))
    watch.run_to(4)
    watch.tell(Interrupt("Ctrl-C"))
    watch.tell(HasEnded())
    watch.tell(Judged("one", Verdict.INCONCLUSIVE))

    assert watch.kinds()[-5:] == ["Lift", "Leave", "End", "Judge", "Finish"]
    assert watch.asked[-1][1] == Finish(interrupted=True, reason="Ctrl-C")


@pytest.mark.parametrize("state", ["preparing", "ending", "judging"])
def test_an_interrupt_is_heeded_in_every_state(state: str) -> None:
    watch = Stopwatch(planned("one"), planned("two"))
    if state != "preparing":
        watch.tell(Prepared("http://127.0.0.1:1"))
        watch.run_to(7.5)
        watch.settle()
    if state == "judging":
        watch.tell(HasEnded())
    watch.tell(Interrupt("Ctrl-C"))
    watch.tell(HasEnded())
    watch.tell(Judged("one", Verdict.PASS))
    watch.tell(Judged("two", Verdict.INCONCLUSIVE))

    assert isinstance(watch.asked[-1][1], Finish)
    assert watch.conductor.finished


def test_a_second_interrupt_and_events_out_of_place_change_nothing() -> None:
    watch = Stopwatch(planned())
    watch.tell(Judged("one", Verdict.PASS))
    watch.tell(HasEnded())
    watch.tell(Tick(0))
    assert watch.kinds() == ["Prepare"]
    watch.tell(Interrupt("once"))
    before = watch.kinds()
    watch.tell(Interrupt("twice"))
    assert watch.kinds() == before


def test_a_campaign_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one scenario"):
        Conductor((), "quick", deadline_s=2)
