"""Does the supervisor start, watch, break and end real processes, and leave nothing behind, however it ends?"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Until = Callable[..., Any]
Alive = Callable[[int], bool]


# --- scenarios ------------------------------------------------------------------------------------------------------


def test_every_scenario_has_a_fresh_target_and_its_own_records(stack: Any, until: Until, alive: Alive) -> None:
    stack.start("--variant", "special", "--set", "EXTRA=a=b", "--seed", "7")
    first = stack.begin("one", latency="documented", latency_scale=0.1)
    assert 0 < first["ready_after_s"] < 20
    assert alive(first["pid"])
    environment = stack.ask("/environment")
    assert environment["MODE"] == "special"
    assert environment["EXTRA"] == "a=b"
    assert environment["DEADLINE"] == "5"
    assert environment["OPENAI_BASE_URL"] == f"{stack.control}/openai"
    assert environment["HOME_AGAIN"] == environment["HOME"] != os.environ.get("HOME")
    assert "PYTEST_CURRENT_TEST" not in environment, "the environment is scrubbed"
    home = Path(environment["HOME"])
    assert home.is_dir()
    until(lambda: len(stack.records("telemetry")) >= 10 and any("health_ms" in p for p in stack.records("telemetry")))
    until(lambda: len(stack.records("machine")) >= 2)
    assert stack.call("POST", "/scenario/end", {}) == (200, {})
    machine = stack.records("machine")
    assert {point["cpus"] for point in machine} == {os.cpu_count()}
    assert all(later["busy_s"] >= earlier["busy_s"] for earlier, later in itertools.pairwise(machine))
    assert 0 < machine[0]["own_s"] <= machine[-1]["own_s"]

    second = stack.begin("two")
    assert second["pid"] != first["pid"]
    assert not alive(first["pid"])
    assert not home.exists()
    assert stack.events("one") == [("target", "started"), ("target", "ready"), ("target", "stopped")]
    assert stack.events("two") == [("target", "started"), ("target", "ready")]
    points = stack.records("telemetry", "one")
    assert all(5e6 < point["rss_bytes"] < 200e6 and point["threads"] >= 1 for point in points)
    gaps = [later["at_ns"] - earlier["at_ns"] for earlier, later in itertools.pairwise(points)]
    assert min(gaps) == pytest.approx(0.1e9, rel=0.3), "a busy machine makes some longer, and none shorter"
    assert 200 in [point.get("health_status") for point in points]
    assert [(line["stream"], line["text"]) for line in stack.records("target", "one")] == [
        ("stdout", "starting in mode ''"),
        ("stderr", "listening"),
    ]
    control = [json.loads(line) for line in (stack.run / "scenarios" / "control.jsonl").read_text().splitlines()]
    assert [one["path"] for one in control] == ["/_control/epoch", "/_control/flush", "/_control/epoch"]
    assert control[0]["body"] == {"name": "one", "seed": 7, "latency": "documented", "latency_scale": 0.1}


def test_the_bundled_upstreams_record_beside_the_supervisor(stack: Any) -> None:
    stack.start("--seed", "7", bundled=True)
    stack.begin("one")
    openai = stack.ask("/environment")["OPENAI_BASE_URL"]
    headers = {"Authorization": "Bearer sk-any", "OpenAI-Beta": "assistants=v2", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{openai}/threads", data=b"{}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        response.read()
    assert stack.call("POST", "/scenario/end", {}) == (200, {})
    assert [call["upstream"] for call in stack.records("ledger")] == ["openai"]
    stack.begin("two")
    assert stack.records("ledger", "two") == [], "a new epoch"
    assert stack.let_go() == (0, "")
    assert stack.left() == []


def test_a_target_without_a_health_path_is_ready_when_its_port_is_open(stack: Any) -> None:
    stack.target(ready="{within_s = 20}")
    stack.start()
    stack.begin()
    assert stack.ask("/environment")
    assert all("health_status" not in point for point in stack.records("telemetry"))


def test_a_target_that_already_runs_is_left_alone(stack: Any) -> None:
    (stack.directory / "target.toml").write_text('host = "http://127.0.0.1:1"')
    stack.start()
    assert stack.begin() == {"host": "http://127.0.0.1:1", "pid": None, "ready_after_s": 0.0}
    status, answer = stack.call("POST", "/fault", {"fault": "kill"})
    assert (status, answer["error"]) == (400, "There is no replica 0 of the target: none is started.")


def test_a_target_that_dies_at_start_is_noticed_at_once(stack: Any, until: Until) -> None:
    stack.target("dies")
    stack.start()
    began_s = time.monotonic()
    status, answer = stack.call("POST", "/scenario", {"name": "one"})
    assert time.monotonic() - began_s < 10, "it was given 20 s to become ready"
    assert status == 502
    assert answer["error"].startswith("The target ended before it was ready (exit code 5). It last said: ")
    assert "no module named 'brain'" in answer["error"]
    assert stack.events() == [("target", "started"), ("target", "exited")]
    stack.target()
    assert stack.call("POST", "/scenario", {"name": "two"})[0] == 502, "the target file is read once"


def test_a_target_that_never_comes_up(stack: Any, until: Until) -> None:
    stack.target("silent", ready='{path = "/health", within_s = 0.5}')
    stack.start()
    status, answer = stack.call("POST", "/scenario", {"name": "one"})
    assert status == 502
    assert answer["error"] == (
        "The target was not ready within 0.5 s (GET /health: connection refused): is ready in [start] right, or does "
        "it need longer? It last said: starting in mode 'silent'"
    )
    assert stack.call("GET", "/status")[1]["target"]["alive"] is False
    assert stack.events() == [("target", "started"), ("target", "stopped")]
    assert stack.let_go()[0] == 0
    until(lambda: not stack.left())


# --- what breaks, and what is broken --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/hog", "/child_hog"])
def test_a_memory_hog_is_killed(stack: Any, until: Until, path: str) -> None:
    stack.start()
    pid = stack.begin()["pid"]
    try:
        stack.ask(path)
    except (OSError, urllib.error.URLError):
        assert path == "/hog", "the connection ends with the process"
    oom = until(lambda: stack.event("oom"))
    assert (oom["fault"], oom["family"]) == ("target", "process")
    assert oom["detail"].endswith("MB resident, the limit is 200 MB")
    until(lambda: not [one for one in stack.left() if one == pid])
    assert stack.call("GET", "/status")[1]["target"]["alive"] is False
    assert stack.call("POST", "/scenario/end", {})[0] == 200
    assert stack.events() == [("target", "started"), ("target", "ready"), ("target", "oom")]
    stack.begin("two")
    assert len(stack.left()) == 2, "the upstreams and a fresh target"


def test_a_target_that_ends_by_itself_is_an_event(stack: Any, until: Until) -> None:
    stack.start()
    stack.begin()
    stack.ask("/exit")
    exited = until(lambda: stack.event("exited"))
    assert exited["detail"] == "exit code 3"
    until(lambda: "I am leaving" in [line["text"] for line in stack.records("target")])
    status, answer = stack.call("POST", "/fault", {"fault": "kill"})
    assert (status, answer["error"]) == (400, "Replica 0 does not run (exit code 3): kill needs one that does.")


def test_a_planned_kill_and_a_restart_at_the_same_address(stack: Any, until: Until, alive: Alive) -> None:
    stack.start()
    begun = stack.begin()
    home = stack.ask("/environment")["HOME"]
    status, killed = stack.call("POST", "/fault", {"fault": "kill", "replica": 0})
    assert status == 200
    until(lambda: not alive(begun["pid"]))
    status, restarted = stack.call("POST", "/fault", {"fault": "restart"})
    assert status == 200
    until(lambda: stack.events().count(("target", "ready")) == 2)
    target = stack.call("GET", "/status")[1]["target"]
    assert target["alive"]
    assert target["host"] == begun["host"]
    assert target["pid"] != begun["pid"]
    assert stack.ask("/environment")["HOME"] == home, "what it kept on disk is still there"
    status, again = stack.call("POST", "/fault", {"fault": "restart"})
    assert status == 200
    until(lambda: stack.events().count(("target", "ready")) == 3)
    assert stack.events() == [
        ("target", "started"),
        ("target", "ready"),
        ("kill", "killed"),
        ("restart", "fired"),
        ("target", "started"),
        ("target", "ready"),
        ("restart", "stopped"),
        ("target", "started"),
        ("target", "ready"),
    ]
    ids = {one["id"] for one in stack.records("events") if one["fault"] in ("kill", "restart")}
    assert ids == {killed["id"], restarted["id"], again["id"]}


def test_a_pause_stops_the_target_until_it_is_lifted(stack: Any) -> None:
    stack.start()
    stack.begin()
    _, paused = stack.call("POST", "/fault", {"fault": "pause"})
    with pytest.raises(TimeoutError):
        stack.ask("/environment", timeout_s=0.3)
    assert stack.call("POST", "/fault", {"fault": "pause"})[0] == 400
    assert stack.call("DELETE", f"/fault/{paused['id']}") == (200, {})
    assert stack.ask("/environment")
    status, answer = stack.call("POST", "/fault", {"fault": "resume"})
    assert (status, answer["error"]) == (400, "Replica 0 is not paused: there is nothing to resume.")
    events = [one for one in stack.events() if one[0] != "target"]
    assert events == [("pause", "fired"), ("pause", "lifted"), ("resume", "fired")]


def test_nonsense_is_refused_with_one_sentence(stack: Any) -> None:
    stack.start()
    stack.begin()
    for path, body, sentence in [
        ("/fault", {"fault": "pauze"}, "There is no fault `pauze`. Did you mean `pause`?"),
        ("/fault", {"fault": "hang"}, "The fault 'hang' is not one of the target's process"),
        (
            "/fault",
            {"fault": "send_twice"},
            "The fault 'send_twice' is not one of the target's process: plan it in a scenario, the load carries it out",
        ),
        (
            "/fault",
            {"fault": "kill", "replica": 3},
            "There is no replica 3 of the target: there are 1, counted from 0.",
        ),
        ("/fault", [], "The request's body is not what was expected"),
        ("/scenario", {"name": "../x"}, "A scenario's name is made of letters, digits"),
        ("/scenario", {"name": "x", "latancy": "fast"}, "The request's body is not what was expected"),
    ]:
        status, answer = stack.call("POST", path, body)
        assert (status, answer["error"][: len(sentence)]) == (400, sentence)
    assert stack.ask("/environment"), "the target runs on"


# --- the end --------------------------------------------------------------------------------------------------------


def test_the_end_of_standard_input_ends_everything(stack: Any, until: Until) -> None:
    stack.start()
    stack.begin()
    scratch = Path(stack.ask("/environment")["HOME"]).parent
    escaped = stack.ask("/escape")
    assert escaped in stack.left()
    assert stack.let_go() == (0, "")
    assert stack.left() == []
    assert not scratch.exists()
    assert stack.events()[-1] == ("target", "stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything(stack: Any, number: signal.Signals) -> None:
    stack.start()
    stack.begin()
    stack.process.send_signal(number)
    assert stack.process.wait(timeout=30) == 0
    assert stack.left() == []


def test_shutdown_ends_everything_also_a_target_that_ignores_sigterm(stack: Any, until: Until) -> None:
    stack.target("stubborn")
    stack.start()
    stack.begin()
    began_s = time.monotonic()
    assert stack.call("POST", "/shutdown")[0] == 200
    assert stack.process.wait(timeout=30) == 0
    assert time.monotonic() - began_s >= 2, "it has two seconds to end by itself"
    assert stack.left() == []
    stopped = stack.event("stopped")
    assert stopped is not None
    assert stopped["detail"] == "killed: still running 2 s after SIGTERM"


def test_a_target_that_is_being_started_does_not_hold_up_the_end(stack: Any, until: Until) -> None:
    stack.target("silent", ready="{within_s = 600}")
    stack.start()
    request = subprocess.Popen(
        ["curl", "-s", "-X", "POST", "-d", '{"name": "one"}', f"{stack.url}/scenario"], stdout=subprocess.PIPE
    )
    until(lambda: stack.call("GET", "/status")[1]["target"]["alive"])
    assert stack.let_go()[0] == 0
    assert stack.left() == []
    answer, _ = request.communicate(timeout=10)
    assert answer == b"" or b"The supervisor is being stopped." in answer


def test_a_supervisor_that_is_killed_leaves_no_process(stack: Any, until: Until, alive: Alive) -> None:
    stack.start()
    pid = stack.begin()["pid"]
    scratch = Path(stack.ask("/environment")["HOME"]).parent
    escaped = stack.ask("/escape")
    assert len(stack.left()) == 3, "upstreams, target, and what escaped from it"
    stack.process.send_signal(signal.SIGKILL)
    stack.process.wait()
    until(lambda: not stack.left())
    assert not alive(pid)
    assert not alive(escaped)
    until(lambda: not scratch.exists())
    assert [one["event"] for one in stack.records("events")] == ["started", "ready"], "what was recorded is readable"


def test_upstreams_that_end_by_themselves_are_noticed(stack: Any, until: Until) -> None:
    stack.start(then="exit")
    stack.begin()
    exited = until(lambda: stack.event("exited"))
    assert (exited["fault"], exited["family"]) == ("upstreams", "upstream")
    status, answer = stack.call("POST", "/scenario/end", {})
    assert status == 502
    assert answer["error"] == (
        "The upstreams' process has ended (exit code 7); they last said: upstreams: cannot go on. Start the run again."
    )
    assert stack.call("GET", "/status")[1]["upstreams_alive"] is False


# --- mistakes -------------------------------------------------------------------------------------------------------


def said_when_ending(stack: Any, exit_code: int, *arguments: str, **options: Any) -> str:
    """Expect that it ends by itself with one clear sentence; return it."""
    with stack.launch(*arguments, **options) as process:
        out, said = process.stdout.read(), process.stderr.read()  # its standard input stays open meanwhile
    assert process.returncode == exit_code, said
    assert out == ""
    assert "Traceback" not in said
    return str(said.splitlines()[-1])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "none.toml"], "none.toml does not exist: expected a target file"),
        (["--variant", "speciall"], "has no variant 'speciall': it has sharing, special. Did you mean 'special'?"),
        (["--set", "x"], "--set 'x': expected ENV=VALUE, e.g. --set LOG_LEVEL=debug."),
        (["--size", "big"], "invalid choice: 'big'"),
        (["--run-dir", "/dev/null/run"], "Cannot write /dev/null/run/scenarios"),
        (["--upstreams-command", "nothing"], "--upstreams-command cannot be started: there is no program 'nothing'"),
    ],
)
def test_a_mistake_in_an_argument(stack: Any, arguments: list[str], sentence: str) -> None:
    assert sentence in said_when_ending(stack, 2, *arguments)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[start]\ncomand = ["x"]', "unknown key 'start.comand': expected one of command"),
        ('[start]\ncommand = ["no-agent"]', "start.command cannot be started: there is no program 'no-agent' in PATH."),
        ('[start]\ncommand = ["{python}"]\ndirectory = "nowhere"', "start.directory is "),
    ],
)
def test_a_mistake_in_the_target_file(stack: Any, text: str, sentence: str) -> None:
    path = stack.directory / "target.toml"
    path.write_text(text)
    assert said_when_ending(stack, 2).startswith(f"{path}: {sentence}")


def test_a_standard_input_that_cannot_tie_it_to_anybody(stack: Any) -> None:
    assert said_when_ending(stack, 2, stdin=subprocess.DEVNULL).startswith("Standard input must be a pipe")


def test_upstreams_that_do_not_start(stack: Any) -> None:
    sentence = "The upstreams could not be started (exit code 2): Port 8089 is in use: choose another one with --port."
    assert said_when_ending(stack, 2, then="fail") == sentence
    assert said_when_ending(stack, 4, then="babble").startswith("The upstreams should print")
