"""An agent that somebody else started is watched where its owner says: whether it survived can then be told."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import read_evidence, read_judgement, read_plan
from harness.model import Verdict

SCENARIO = '''"""People who talk."""

from locust import task

from harness import ConstantRate, Durations, Scenario, check
from harness.load import RealUsers

scenario = Scenario(
    title="Talk", category="bug", severity="minor", story="They talk.", claim="The agent lives.",
    quick=Durations(warm_up_s=0.5, steady_s=2, attack_s=1.5, recovery_s=0.2, drain_s=1),
    full=Durations(warm_up_s=1, steady_s=5, attack_s=5, recovery_s=1, drain_s=2),
    checks=(check("target_survived", because="nobody should have to start it again"),),
)


class Users(RealUsers):
    arrivals = ConstantRate(per_s=20)

    @task
    def talk(self) -> None:
        self.say("hello")
'''


@pytest.fixture
def agent(place: Any, free_port: int, wait_until: Any, answers: Any) -> Any:
    (place.path / "mine").mkdir()
    (place.path / "mine" / "talk.py").write_text(SCENARIO, encoding="utf-8")
    process = place.start(sys.executable, str(Path(__file__).with_name("plain_agent.py")), str(free_port))
    wait_until(lambda: answers(free_port), "the agent answers")
    yield process.pid, f"http://127.0.0.1:{free_port}"
    process.kill()
    process.communicate()


def test_an_agent_that_lives_has_survived(place: Any, agent: tuple[int, str]) -> None:
    pid, host = agent
    (place.path / "agent.log").write_text("before\n", encoding="utf-8")
    (place.path / "target.toml").write_text(f'[observe]\npid = {pid}\nlog_file = "agent.log"\n', encoding="utf-8")

    result = place.harness(
        *("run", "--scenarios", "mine", "--host", host, "--target", "target.toml", "--runs", "runs"),
    )

    assert result.returncode == 0, result.stdout
    run = next((place.path / "runs").iterdir())
    evidence = read_evidence(run, read_plan(run), "talk")
    assert evidence.vantages == ("client", "process")
    assert evidence.telemetry
    assert all(point.rss_bytes > 1_000_000 for point in evidence.telemetry)
    judgement = read_judgement(run, "talk")
    assert judgement is not None
    assert f"--target target.toml --host {host}" in judgement.replay


def test_an_agent_that_is_killed_has_not(place: Any, agent: tuple[int, str], wait_until: Any) -> None:
    pid, host = agent
    command = ("--headless", "--only-summary", "-f", "mine", "--host", host, "--pid", str(pid), "--run-dir", "run")
    campaign = place.start(sys.executable, "-m", "locust", *command)
    samples = place.path / "run" / "scenarios" / "talk" / "samples.jsonl"
    try:
        wait_until(lambda: samples.exists() and samples.read_bytes().count(b'"phase":"attack"') > 5, "the attack began")
        os.kill(pid, signal.SIGKILL)
        output, _ = campaign.communicate(timeout=60)
    finally:
        campaign.kill()
        campaign.wait()

    assert campaign.returncode == 1, output
    judgement = read_judgement(place.path / "run", "talk")
    assert judgement is not None
    survived = next(finding for finding in judgement.findings if finding.check == "target_survived")
    assert survived.verdict is Verdict.FAIL
    assert f"the process {pid} has ended" in survived.observed
    assert f"--pid {pid}" in judgement.replay


@pytest.mark.parametrize("door", ["harness", "locust"])
def test_a_process_that_is_not_there_is_a_mistake_in_one_sentence(
    place: Any, agent: tuple[int, str], door: str
) -> None:
    _, host = agent
    if door == "harness":
        result = place.harness("run", "--scenarios", "mine", "--host", host, "--pid", "4194999", "--runs", "runs")
    else:
        result = place.locust("-f", "mine", "--host", host, "--pid", "4194999", "--run-dir", "run")

    assert result.returncode == 2, result.stdout
    assert "There is no process 4194999 on this machine: is the agent started, and is --pid right?" in result.stdout
    assert "Traceback" not in result.stdout
