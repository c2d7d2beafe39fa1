"""What the command line promises: exit codes, one sentence for every Ctrl-C, a judge that says what it could not do."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import JUDGEMENT, SAMPLES, read_plan, scenario_directory

ROOT = Path(__file__).resolve().parents[3]
TARGET = str(ROOT / "reference_agent" / "target.toml")
PATIENCE_S = 60.0


def interrupted_once_it_says(process: subprocess.Popen[str], ready: Any, presses: int = 1) -> tuple[int, str]:
    """Press Ctrl-C when `ready` says so, and again a moment later; return the exit code and all that was said."""
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "the moment for Ctrl-C never came"
        time.sleep(0.01)
    for _ in range(presses):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # the presses of an impatient person
    output, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output


def test_ctrl_c_while_the_catalogue_is_read(place: Any) -> None:
    scenarios = place.path / "scenarios"
    scenarios.mkdir()
    reading = place.path / "reading"
    (scenarios / "slow.py").write_text(
        f"import time\nopen({str(reading)!r}, 'w').close()\ntime.sleep(60)\n", encoding="utf-8"
    )
    process = place.start(sys.executable, "-m", "harness.cli", "list", "--scenarios", str(scenarios))
    code, output = interrupted_once_it_says(process, reading.exists)

    assert code == 130, output
    assert output.strip() == "Interrupted."


@pytest.mark.parametrize("presses", [1, 3])
def test_ctrl_c_while_the_command_line_is_imported(place: Any, presses: int) -> None:
    """At many moments of it: from the first module of ours on, whichever comes next."""
    begun = place.path / "begun"
    # The harness's own imports, made slow enough to be hit: the first one that is heavy waits.
    (place.path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'harness.launch':\n"
        f"            open({str(begun)!r}, 'w').close()\n"
        "            time.sleep(30)\n"
        "sys.meta_path.insert(0, Slow())\n",
        encoding="utf-8",
    )
    place.environment["PYTHONPATH"] = str(place.path)
    process = place.start(sys.executable, "-m", "harness.cli", "list")
    code, output = interrupted_once_it_says(process, begun.exists, presses)

    assert code == 130, output
    assert output.strip() == "Interrupted."


@pytest.mark.parametrize("presses", [2, 4])
def test_ctrl_c_during_a_run_says_where_the_rest_of_it_is(place: Any, presses: int) -> None:
    """Pressed once, in the middle of an attack: see test_doors."""
    process = place.start(
        *(sys.executable, "-m", "harness.cli", "run", "emotion_dos"),
        *("--target", TARGET, "--variant", "hardened", "--runs", "runs"),
    )
    code, output = interrupted_once_it_says(
        process, lambda: list(place.path.glob(f"runs/*/scenarios/*/{SAMPLES}")), presses
    )

    assert code == 130, output
    assert "Traceback" not in output, output
    run_dir = next((place.path / "runs").iterdir()).relative_to(place.path)
    assert output.count("Interrupted") == 1, output
    sentence = f"Interrupted; what was recorded is in {run_dir}, judge it again with `harness judge {run_dir}`."
    assert output.strip().splitlines()[-1] == sentence
    again = place.harness("judge", str(run_dir))
    assert again.returncode == 3, again.stdout


_of_one_run = pytest.mark.xdist_group("stored")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, place_at: Any, plain_agent_in: Any) -> Path:
    """A short run of two scenarios, interrupted before the first has ended: enough to be judged."""
    with place_at(tmp_path_factory.mktemp("recorded")) as here, plain_agent_in(here) as url:
        process = here.start(
            *(sys.executable, "-m", "harness.cli", "run", "tool_loop", "emotion_dos"), "--host", url, "--runs", "runs"
        )
        # Samples, not only their file: what is written after the end is no evidence, and so corrupts nothing.
        files = f"runs/*/scenarios/*/{SAMPLES}"
        interrupted_once_it_says(process, lambda: [one for one in here.path.glob(files) if one.stat().st_size > 100])
        run_dir: Path = next((here.path / "runs").iterdir())
    return run_dir


@pytest.fixture
def stored(place: Any, recorded: Path) -> Path:
    """The short run once more, to be judged and spoilt; its tests have the `xdist_group` "stored"."""
    run_dir: Path = place.path / "runs" / recorded.name
    return shutil.copytree(recorded, run_dir)


@_of_one_run
def test_one_corrupt_scenario_is_named_and_the_others_are_judged(place: Any, stored: Path) -> None:
    names = [planned.name for planned in read_plan(stored).scenarios]
    first = place.harness("judge", str(stored))
    assert first.returncode == 3, first.stdout
    broken, whole = names
    samples = scenario_directory(stored, broken) / SAMPLES
    samples.parent.mkdir(parents=True, exist_ok=True)
    samples.write_text('{"no": "sample"}\n{"no": "sample"}\n', encoding="utf-8")
    written = (scenario_directory(stored, whole) / JUDGEMENT).stat().st_mtime_ns

    result = place.harness("judge", str(stored))

    assert result.returncode == 4, result.stdout
    assert f"{broken} could not be judged: " in result.stdout
    assert "Traceback" not in result.stdout
    assert (scenario_directory(stored, whole) / JUDGEMENT).stat().st_mtime_ns > written
    assert not (scenario_directory(stored, broken) / JUDGEMENT).exists(), "an old judgement is not shown"
    assert (scenario_directory(stored, broken) / "judgement.old.json").exists(), "and not lost"


@_of_one_run
def test_a_judge_that_is_killed_is_an_error_and_its_old_judgement_is_not_believed(place: Any, stored: Path) -> None:
    first = place.harness("judge", str(stored))
    assert first.returncode == 3, first.stdout
    (place.path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "if 'harness.judge' in ' '.join(sys.orig_argv):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
        encoding="utf-8",
    )
    place.environment["PYTHONPATH"] = str(place.path)

    result = place.harness("judge", str(stored))

    assert result.returncode == 4, result.stdout
    assert "tool_loop could not be judged: judging it was killed by signal 9." in result.stdout
    assert "Traceback" not in result.stdout


@_of_one_run
def test_warnings_of_the_judge_are_no_error(place: Any, stored: Path) -> None:
    (place.path / "sitecustomize.py").write_text(
        "import sys\nsys.stderr.write('a warning of some library\\n')\n", encoding="utf-8"
    )
    place.environment["PYTHONPATH"] = str(place.path)
    result = place.harness("judge", str(stored))
    assert result.returncode == 3, result.stdout


def test_the_upstreams_say_what_to_export(place: Any) -> None:
    process = place.start(
        sys.executable, "-u", "-m", "harness.cli", "upstreams", "--port", "0", "--api-key", "sk-one", "--api-key", "two"
    )
    said: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line.strip())
        if "Ctrl-C" in line:
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert "export OPENAI_API_KEY=sk-one" in said
    assert any(line.startswith("export OPENAI_BASE_URL=http://127.0.0.1:") for line in said)
    assert process.returncode == 0, output


def test_what_is_installed_is_the_same_command(place: Any) -> None:
    script = Path(sys.executable).with_name("harness")
    if not script.exists():
        pytest.skip("not installed as a command")
    assert os.access(script, os.X_OK)
    result = place.run(str(script), "run", "no_such_scenario", "--host", "http://127.0.0.1:1")
    assert result.returncode == 2
    assert "There is no scenario 'no_such_scenario'" in result.stdout
