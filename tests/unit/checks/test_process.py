"""Do the checks of the target's process pass, fail and abstain for the right reason?"""

from __future__ import annotations

import msgspec
import pytest

from harness.checks.process import memory_bounded, target_survived
from harness.model import Verdict


def test_target_survived_passes(given):
    finding = target_survived(given.evidence(telemetry=[given.point(1, 80)]))
    assert finding.verdict is Verdict.PASS


@pytest.mark.parametrize("event", ["exited", "oom", "killed"])
def test_target_survived_fails(given, event):
    death = given.event("", event, 7, id="", family="process", detail="at 702 MB")
    finding = target_survived(given.evidence(telemetry=[given.point(1, 80)], events=[death]))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == f"{event} at 7.00 s: at 702 MB"


def test_target_survived_of_nothing(given):
    finding = target_survived(given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("no point of telemetry")


def test_a_planned_kill_and_the_exit_that_follows_are_excused(given):
    events = [
        given.event("kill", "killed", 7, family="process"),
        given.event("", "exited", 7.1, id="", family="process"),
        given.event("", "ready", 8, id="", family="process"),
    ]
    planned, points = [given.fault_plan("kill")], [given.point(1, 80)]
    finding = target_survived(given.evidence(telemetry=points, events=events, planned=planned))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "no unplanned end, 2 planned"
    later = given.event("", "exited", 9, id="", family="process")
    finding = target_survived(given.evidence(telemetry=points, events=[*events, later], planned=planned))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "exited at 9.00 s"


def test_a_planned_kill_of_another_process_excuses_nothing(given):
    events = [
        given.event("kill", "killed", 7, family="process", where="redis"),
        given.event("target", "exited", 7.1, id="", family="process", where="replica 0"),
    ]
    evidence = given.evidence(telemetry=[given.point(1, 80)], events=events, planned=[given.fault_plan("kill")])
    finding = target_survived(evidence)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "exited at 7.10 s"


def test_running_out_of_memory_is_never_excused(given):
    events = [
        given.event("kill", "killed", 7, family="process"),
        given.event("", "oom", 7.1, id="", family="process"),
    ]
    evidence = given.evidence(telemetry=[given.point(1, 80)], events=events, planned=[given.fault_plan("kill")])
    assert target_survived(evidence).verdict is Verdict.FAIL


def test_the_end_that_the_harness_itself_makes_is_none(given):
    events = [given.event("", "exited", 17.5, id="", family="process")]
    assert target_survived(given.evidence(telemetry=[given.point(1, 80)], events=events)).verdict is Verdict.PASS


def test_an_upstream_that_broke_is_not_the_target(given):
    events = [given.event("crash_on_emoji", "killed", 7)]
    assert target_survived(given.evidence(telemetry=[given.point(1, 80)], events=events)).verdict is Verdict.PASS


def test_memory_bounded_passes(given):
    points = given.memory(("steady", 80), ("attack", 120), ("recovery", 82))
    finding = memory_bounded(given.evidence(telemetry=points, size="full"), at_most_growth_mb=10)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("+2.0 MB against steady state, 95 % interval")


def test_memory_bounded_fails(given):
    points = given.memory(("steady", 80), ("attack", 120), ("recovery", 120))
    for size in ("quick", "full"):
        finding = memory_bounded(given.evidence(telemetry=points, size=size), at_most_growth_mb=10)
        assert finding.verdict is Verdict.FAIL
        assert finding.observed.startswith(("+40.0 MB", "at most +40.5 MB"))


def test_memory_bounded_of_nothing(given):
    for size in ("quick", "full"):
        finding = memory_bounded(given.evidence(size=size), at_most_growth_mb=10)
        assert finding.verdict is Verdict.INCONCLUSIVE
        assert "0 points of telemetry" in finding.reason


def test_a_quick_run_says_that_it_judges_a_ceiling_only(given):
    points = given.memory(("steady", 80), ("attack", 84), ("recovery", 82))
    finding = memory_bounded(given.evidence(telemetry=points), at_most_growth_mb=10)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "at most +4.5 MB against steady state"
    assert "absolute ceiling" in finding.counted


def test_memory_that_climbs_around_the_limit_is_inconclusive(given):
    climbing = [given.point(11 + index / 5, 80 + index) for index in range(20)]
    points = [*given.memory(("steady", 80)), *climbing]
    finding = memory_bounded(given.evidence(telemetry=points, size="full"), at_most_growth_mb=10)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "10 MB lies within the interval" in finding.reason


def test_the_replica_that_grew_most_is_judged(given):
    points = given.memory(("steady", 80), ("recovery", 80))
    points += [msgspec.structs.replace(point, replica=1) for point in given.memory(("steady", 80), ("recovery", 150))]
    finding = memory_bounded(given.evidence(telemetry=points, size="full"), at_most_growth_mb=10)
    assert finding.verdict is Verdict.FAIL
