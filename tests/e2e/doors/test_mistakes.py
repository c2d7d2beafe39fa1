"""The mistakes that people make: one clear sentence, the right exit code, no traceback, nothing left behind."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGET = str(ROOT / "reference_agent" / "target.toml")


def one_sentence(output: str, *parts: str) -> None:
    """Assert that the last thing said names what is wrong, and that nothing looks like a crash."""
    assert "Traceback" not in output, output
    for part in parts:
        assert part in output, output


def write_target(place: Any, text: str) -> str:
    path = place.path / "target.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_an_unknown_scenario(place: Any) -> None:
    result = place.harness("run", "thread_bombin", "--target", TARGET)
    assert result.returncode == 2
    one_sentence(result.stdout, "thread_bombin", "Did you mean thread_bombing?")


def test_no_target_at_all(place: Any) -> None:
    result = place.harness("run")
    assert result.returncode == 2
    one_sentence(result.stdout, "There is no target", "--target target.toml", "--host")


def test_a_target_file_that_is_not_there(place: Any) -> None:
    result = place.harness("run", "--target", "targt.toml")
    assert result.returncode == 2
    one_sentence(result.stdout, "targt.toml does not exist")


def test_a_typo_in_the_target_file(place: Any) -> None:
    path = write_target(place, '[start]\ncomand = ["python"]\n')
    result = place.harness("run", "--target", path)
    assert result.returncode == 2
    one_sentence(result.stdout, "target.toml", "comand", "command")


def test_a_target_file_that_is_no_toml(place: Any) -> None:
    result = place.harness("run", "--target", write_target(place, "[start\n"))
    assert result.returncode == 2
    one_sentence(result.stdout, "is no valid TOML")


def test_an_unknown_variant(place: Any) -> None:
    result = place.harness("run", "--target", TARGET, "--variant", "hardend")
    assert result.returncode == 2
    one_sentence(result.stdout, "hardend", "hardened")


def test_expectations_that_were_never_written_down(place: Any) -> None:
    result = place.harness("run", "--target", TARGET, "--expected")
    assert result.returncode == 2
    one_sentence(result.stdout, "--expected needs --variant")


def test_a_wrong_port(place: Any) -> None:
    result = place.harness("run", "tool_loop", "--host", "http://127.0.0.1:1", "--runs", "runs")
    assert result.returncode == 3
    one_sentence(result.stdout, "Nothing answers at http://127.0.0.1:1", "is the port right?")


def test_a_url_that_is_none(place: Any) -> None:
    """What else is none: see the unit test of the same name."""
    result = place.harness("run", "tool_loop", "--host", "127.0.0.1:9", "--runs", "runs")
    assert result.returncode == 2
    one_sentence(result.stdout, "--host", "'127.0.0.1:9' is no URL of", "expected something like http://127.0.0.1:8")
    assert not (place.path / "runs").exists(), "nothing is written for a mistake"


def test_a_url_that_is_none_in_the_target_file(place: Any) -> None:
    result = place.harness("run", "tool_loop", "--target", write_target(place, 'host = "http://127.0.0.1:99999"\n'))
    assert result.returncode == 2
    one_sentence(result.stdout, "http://127.0.0.1:99999")
    assert not (place.path / "runs").exists(), "nothing is written for a mistake"


def test_upstreams_that_do_not_answer(place: Any, plain_agent: str) -> None:
    result = place.harness("run", "tool_loop", "--host", plain_agent, "--upstreams", "http://127.0.0.1:1")
    assert result.returncode == 3
    one_sentence(result.stdout, "The upstreams do not answer at http://127.0.0.1:1", "harness upstreams")


def test_a_program_that_does_not_exist(place: Any) -> None:
    path = write_target(place, '[start]\ncommand = ["no-such-program"]\n')
    result = place.harness("run", "tool_loop", "--target", path)
    assert result.returncode != 0
    one_sentence(result.stdout, "no-such-program")


def test_a_target_that_dies_at_once(place: Any) -> None:
    path = write_target(place, '[start]\ncommand = ["{python}", "-c", "raise SystemExit(\'no database\')"]\n')
    result = place.harness("run", "tool_loop", "--target", path)
    assert result.returncode == 3
    one_sentence(result.stdout, "no database")


def test_a_target_that_never_comes_up(place: Any) -> None:
    path = write_target(
        place,
        '[start]\ncommand = ["{python}", "-c", "import time; time.sleep(60)"]\nready = { within_s = 1 }\n',
    )
    result = place.harness("run", "tool_loop", "--target", path)
    assert result.returncode == 3
    one_sentence(result.stdout, "within 1 s")


def test_a_port_that_is_in_use(place: Any, plain_agent: str) -> None:
    port = plain_agent.rsplit(":", 1)[1]
    result = place.run(sys.executable, "-m", "harness.upstreams", "--port", port)
    assert result.returncode == 2
    one_sentence(result.stdout, port)


def test_a_run_directory_that_cannot_be_written(place: Any) -> None:
    (place.path / "runs").write_text("a file, not a directory", encoding="utf-8")
    result = place.harness("run", "tool_loop", "--target", TARGET)
    assert result.returncode == 2
    one_sentence(result.stdout, "Cannot make the run directory", "--runs")


def test_a_disk_that_is_full(place: Any, plain_agent: str) -> None:
    """A limit on the size of files stands for it: to a program that writes, it is the same error."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))

    result = place.locust(
        "-f", str(ROOT / "scenarios" / "tool_loop.py"), "--host", plain_agent, "--run-dir", "full", preexec_fn=fill
    )
    assert result.returncode == 4
    one_sentence(result.stdout, "Cannot write full/scenarios/tool_loop/", "Free the disk, or choose another place.")
    assert "--runs" not in result.stdout, "an option that plain Locust does not have"


@pytest.mark.parametrize("command", ["judge", "report"])
def test_a_directory_that_holds_no_run(place: Any, command: str) -> None:
    result = place.harness(command, str(place.path))
    assert result.returncode == 2
    one_sentence(result.stdout, "holds no run")


@pytest.mark.parametrize("command", ["judge", "report"])
def test_a_run_of_another_version(place: Any, command: str) -> None:
    (place.path / "plan.json").write_text('{"what": "another version wrote this"}', encoding="utf-8")
    result = place.harness(command, str(place.path))
    assert result.returncode == 2
    one_sentence(result.stdout, "plan.json", "written by another version?")


def test_a_scenario_file_with_a_mistake(place: Any) -> None:
    scenarios = place.path / "scenarios"
    scenarios.mkdir()
    text = (ROOT / "scenarios" / "tool_loop.py").read_text(encoding="utf-8")
    (scenarios / "mine.py").write_text(text.replace('"tool_calls_per_turn"', '"tool_calls_per_tern"'), encoding="utf-8")
    result = place.harness("list", "--scenarios", str(scenarios))
    assert result.returncode == 2
    one_sentence(result.stdout, "mine.py", "tool_calls_per_tern", "tool_calls_per_turn")
