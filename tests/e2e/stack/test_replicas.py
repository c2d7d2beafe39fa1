"""Do several replicas of a target look like one, and does the death of one of them stay its own?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

Until = Callable[..., Any]
Alive = Callable[[int], bool]


def who_answers(stack: Any, times: int) -> Counter[str]:
    """Ask the one address `times` times; return who answered how often."""
    return Counter(stack.ask("/environment")["REPLICA"] for _ in range(times))


def test_three_replicas_behind_one_address_share_their_home_and_the_requests(stack: Any, until: Until) -> None:
    stack.start("--replicas", "3")
    begun = stack.begin()
    assert who_answers(stack, 9) == {"0": 3, "1": 3, "2": 3}
    status = stack.call("GET", "/status")[1]
    assert status["target"]["host"] == begun["host"]
    assert begun["host"] not in [replica["host"] for replica in status["replicas"]]
    assert len({replica["pid"] for replica in status["replicas"]}) == 3
    assert len({stack.ask("/environment")["HOME"] for _ in range(3)}) == 1
    until(lambda: {point.get("replica", 0) for point in stack.records("telemetry")} == {0, 1, 2})
    until(lambda: {line.get("replica", 0) for line in stack.records("target")} == {0, 1, 2})
    assert stack.call("POST", "/scenario/end", {}) == (200, {})
    ready = [one["where"] for one in stack.records("events") if one["event"] == "ready"]
    assert (sorted(ready[:3]), ready[3:]) == (["replica 0", "replica 1", "replica 2"], ["balancer"])
    stack.begin("two")
    assert who_answers(stack, 3) == {"0": 1, "1": 1, "2": 1}
    assert stack.let_go() == (0, "")
    assert stack.left() == []


def test_one_that_is_killed_is_left_out_and_taken_in_when_it_is_back(stack: Any, until: Until, alive: Alive) -> None:
    stack.start("--replicas", "2")
    stack.begin()
    victim = stack.call("GET", "/status")[1]["replicas"][1]["pid"]
    status, killed = stack.call("POST", "/fault", {"fault": "kill", "replica": 1})
    assert status == 200
    until(lambda: not alive(victim))
    assert who_answers(stack, 4) == {"0": 4}, "nobody notices"
    assert [one["alive"] for one in stack.call("GET", "/status")[1]["replicas"]] == [True, False]
    assert stack.call("POST", "/fault", {"fault": "restart", "replica": 1})[0] == 200
    until(lambda: set(who_answers(stack, 2)) == {"0", "1"}, within_s=30)
    events = [(one["fault"], one["event"], one["where"]) for one in stack.records("events") if one["id"] == "p1"]
    assert (killed["id"], events) == ("p1", [("kill", "killed", "replica 1")])


def test_one_that_stands_still_is_left_out(stack: Any, until: Until) -> None:
    stack.start("--replicas", "2")
    stack.begin()
    _, paused = stack.call("POST", "/fault", {"fault": "pause", "replica": 0})

    def only_the_other_one() -> bool:
        try:
            return bool(stack.ask("/environment", timeout_s=1.0)["REPLICA"] == "1") and who_answers(stack, 4) == {
                "1": 4
            }
        except TimeoutError:
            return False  # it was the turn of the one that stands still

    until(only_the_other_one, within_s=40)
    stack.call("DELETE", f"/fault/{paused['id']}")
    until(lambda: set(who_answers(stack, 2)) == {"0", "1"}, within_s=30)


def test_the_balancer_can_be_broken_and_its_end_is_the_harness_s_trouble(stack: Any, until: Until) -> None:
    stack.start("--replicas", "2")
    stack.begin()
    assert stack.call("POST", "/fault", {"fault": "restart", "process": "balancer"})[0] == 200
    until(lambda: stack.events().count(("balancer", "ready")) == 2)
    assert who_answers(stack, 2) == {"0": 1, "1": 1}
    os.kill(stack.call("GET", "/status")[1]["balancer"]["pid"], signal.SIGKILL)
    exited = until(lambda: stack.event("exited"))
    assert (exited["fault"], exited["family"]) == ("balancer", "upstream")


def test_one_alone_has_no_balancer(stack: Any) -> None:
    stack.start()
    begun = stack.begin()
    status = stack.call("GET", "/status")[1]
    assert status["balancer"] is None
    assert [replica["host"] for replica in status["replicas"]] == [begun["host"]]
    status, answer = stack.call("POST", "/fault", {"fault": "kill", "process": "balancer"})
    assert (status, answer["error"]) == (
        400,
        "There is no balancer: the supervisor starts one where the target has several replicas.",
    )


def test_replicas_that_die_at_start_are_named(stack: Any) -> None:
    stack.target("dies")
    stack.start("--replicas", "2")
    status, answer = stack.call("POST", "/scenario", {"name": "one"})
    assert status == 502
    assert answer["error"].startswith("Replica 0 of the target ended before it was ready (exit code 5).")


@pytest.mark.parametrize(
    ("text", "replicas", "sentence"),
    [
        (None, "0", "--replicas 0: expected 1 to 32."),
        ('host = "http://127.0.0.1:1"', "2", "--replicas has no effect: "),
    ],
)
def test_a_number_that_makes_no_sense(stack: Any, text: str | None, replicas: str, sentence: str) -> None:
    if text is not None:
        (stack.directory / "target.toml").write_text(text)
    command = [sys.executable, "-m", "harness.stack", "--run-dir", str(stack.run), "--replicas", replicas]
    said = subprocess.run(
        [*command, "--target", str(stack.directory / "target.toml")], input="", capture_output=True, text=True
    )
    assert said.returncode == 2
    assert said.stderr.startswith(sentence)
