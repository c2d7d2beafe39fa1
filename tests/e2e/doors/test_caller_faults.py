"""Callers who hang up, read slowly and send twice: planned in a scenario, seen by the agent, told in the evidence."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import read_evidence, read_judgement, read_plan
from harness.model import Outcome, Verdict

SCENARIO = '''"""Callers who do not behave."""

from locust import task

from harness import ConstantRate, Durations, Scenario, check, fault
from harness.load import Attackers, RealUsers

scenario = Scenario(
    title="Misbehaving callers", category="bug", severity="minor", story="They misbehave.", claim="All are served.",
    quick=Durations(warm_up_s=1, steady_s=1.6, attack_s=1.5, recovery_s=0.2, drain_s=2),
    full=Durations(warm_up_s=1, steady_s=5, attack_s=5, recovery_s=1, drain_s=2),
    faults=(
        fault("hang_up", after_s=0.1, role="attacker", times=6, because="they leave while the agent thinks"),
        fault("send_twice", after_s=0.05, role="real", times=8, because="they press the button twice"),
        fault("read_slowly", bytes_per_s=200, callers="Users", during=("steady",), probability=0.5),
    ),
    checks=(check("all_answered", because="they are few"),),
)


class Users(RealUsers):
    arrivals = ConstantRate(per_s=20)

    @task
    def talk(self) -> None:
        self.say("hello")


class Impatient(Attackers):
    arrivals = ConstantRate(per_s=10, during=("attack",))

    @task
    def talk(self) -> None:
        self.say("hurry")
'''
TARGET = 'name = "pausing"\n[reply]\ntext = { json = "reply" }\naudio = "none"\n[declares]\nanswer_within_s = 3\n'


@pytest.fixture
def files(place: Any) -> Path:
    path: Path = place.path
    (path / "mine").mkdir()
    (path / "mine" / "misbehaving.py").write_text(SCENARIO, encoding="utf-8")
    (path / "target.toml").write_text(TARGET, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "door", [["locust"], ["locust", "--processes", "2"], ["harness"]], ids=["locust", "two workers", "harness run"]
)
def test_callers_misbehave_as_planned_whoever_plays_them(
    place: Any, files: Path, free_port: int, workers_port: Any, wait_until: Any, answers: Any, door: list[str]
) -> None:
    notes = files / "notes.jsonl"
    agent = place.start(sys.executable, str(Path(__file__).with_name("pausing_agent.py")), str(free_port), str(notes))
    try:
        wait_until(lambda: answers(free_port), "the agent answers")
        host = f"http://127.0.0.1:{free_port}"
        if door[0] == "locust":
            run = files / "run"
            result = place.locust(
                *("-f", str(files / "mine"), "--host", host, "--target", "target.toml", "--run-dir", "run", *door[1:]),
                *workers_port(),
            )
        else:
            result = place.harness(
                *("run", "--scenarios", "mine", "--host", host, "--target", "target.toml", "--runs", "runs")
            )
            run = next((files / "runs").iterdir())
    finally:
        agent.terminate()
        agent.communicate(timeout=10)

    evidence = read_evidence(run, read_plan(run), "misbehaving")
    judgement = read_judgement(run, "misbehaving")
    assert judgement is not None
    assert judgement.verdict is Verdict.PASS, result.stdout + judgement.summary
    assert result.returncode == 0, result.stdout

    fired = Counter(event.fault for event in evidence.faults if event.event == "fired")
    told = Counter(sample.fault for sample in evidence.samples if sample.fault is not None)
    assert fired == told
    assert (fired["hang_up"], fired["send_twice"]) == (6, 8)
    assert fired["read_slowly"] >= 4  # of 32 callers, half of them drawn from the seed
    for what in ("planned", "armed", "lifted"):
        assert Counter(event.fault for event in evidence.faults if event.event == what) == dict.fromkeys(fired, 1)

    # What the agent saw: who left, and who came twice.
    seen = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    left = {one["message"] for one in seen if one["what"] == "left"}
    came = Counter(one["message"] for one in seen if one["what"] == "came")
    hung_up = [sample for sample in evidence.samples if sample.fault == "hang_up"]
    assert left == {sample.message for sample in hung_up}
    assert all(sample.outcome is Outcome.ABANDONED for sample in hung_up)
    copies = [sample for sample in evidence.samples if sample.copy]
    assert {message for message, times in came.items() if times == 2} == {sample.message for sample in copies}
    assert len(copies) == 8
    assert evidence.ended.scheduled == len({(sample.callers, sample.ordinal) for sample in evidence.samples})
    assert sum(came.values()) == len(evidence.samples) == evidence.ended.scheduled + 8
