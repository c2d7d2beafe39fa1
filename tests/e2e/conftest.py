"""Commands as a user gives them, agents and upstreams to point them at, and a look for what they left behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.evidence import read_judgement
from harness.model import Verdict
from harness.target import read_target
from tests.waiting import listens, until

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "reference_agent" / "target.toml"
PATIENCE_S = 30.0
_STARTS_WITHIN_S = 100.0  # three seconds of CPU, on a machine that may have much else to do


def _free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def _wait_until(condition: Callable[[], bool], what: str, bound_s: float = PATIENCE_S) -> None:
    """Wait for a condition, not for a time."""
    until(condition, lambda: what, bound_s)


class Place:
    """A directory of one test, the commands given in it, and the processes that carry its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Scratch homes and everything else temporary lies below: that is how a left-over process is recognised.
        self.environment = os.environ | {"TMPDIR": str(path), "COLUMNS": "200", "HARNESS_TEST_PLACE": str(path)}

    def start(self, *command: str, **options: object) -> subprocess.Popen[str]:
        """Start a command in this place."""
        return subprocess.Popen(
            command, cwd=self.path, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, **options,  # type: ignore[call-overload]
        )  # fmt: skip

    def run(self, *command: str, bound_s: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command in this place to its end."""
        with self.start(*command, **options) as process:
            output, _ = process.communicate(timeout=bound_s)
        return subprocess.CompletedProcess(command, process.returncode, output, "")

    def harness(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `harness ...`."""
        return self.run(sys.executable, "-m", "harness.cli", *arguments, **options)  # type: ignore[arg-type]

    def locust(self, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run `locust --headless ...`."""
        return self.run(sys.executable, "-m", "locust", "--headless", "--only-summary", *arguments, **options)  # type: ignore[arg-type]

    def left_behind(self) -> list[str]:
        """Return the processes that were started from here and still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and str(self.path) in " ".join(
                    [*process.cmdline(), *process.environ().values()]
                ):
                    found.append(f"{process.pid}: {' '.join(process.cmdline())[:200]}")
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


@contextmanager
def _place_at(path: Path) -> Iterator[Place]:
    here = Place(path)
    yield here
    _wait_until(lambda: not here.left_behind(), f"left behind: {here.left_behind()}", 10)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of one's own; the test fails if a process is left behind in it."""
    with _place_at(tmp_path) as here:
        yield here


@pytest.fixture(scope="session")
def place_at() -> Callable[[Path], AbstractContextManager[Place]]:
    """A place for what several tests share: nothing is left behind when the context ends."""
    return _place_at


def ended(process: subprocess.Popen[str]) -> None:
    """End a process by its id and take what it wrote."""
    process.terminate()
    try:
        process.communicate(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@contextmanager
def _plain_agent_in(place: Place) -> Iterator[str]:
    port = _free_port()
    process = place.start(sys.executable, str(ROOT / "tests/e2e/doors/plain_agent.py"), str(port))
    try:
        _wait_until(lambda: listens(port), "the agent answers")
        yield f"http://127.0.0.1:{port}"
    finally:
        ended(process)


@pytest.fixture
def plain_agent(place: Place) -> Iterator[str]:
    """The URL of somebody else's agent."""
    with _plain_agent_in(place) as url:
        yield url


@pytest.fixture(scope="session")
def plain_agent_in() -> Callable[[Place], AbstractContextManager[str]]:
    """Somebody else's agent for as long as the context lasts; its URL."""
    return _plain_agent_in


@contextmanager
def _upstreams_in(place: Place) -> Iterator[dict[str, Any]]:
    """Yield the addresses of running upstreams."""
    process = place.start(sys.executable, "-m", "harness.upstreams", "--port", "0")
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        ended(process)


@contextmanager
def _target_in(place: Place, variant: str, addresses: dict[str, str]) -> Iterator[str]:
    """Start the reference agent as its owner would, from what its file says; yield its URL."""
    target = read_target(TARGET)
    port = _free_port()
    facts = target.facts("quick") | addresses | {
        "port": str(port), "host": "127.0.0.1", "python": sys.executable, "home": str(place.path),
    }  # fmt: skip
    # A home of its own: an agent may keep what it knows there.
    environment = place.environment | {"HOME": str(place.path)} | target.environment(variant, facts)
    with (place.path / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            target.command(facts), cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        _wait_until(lambda: listens(port), "the target answers", _STARTS_WITHIN_S)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _play_on_a_running_agent(place: Place, variant: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Verdict]]:
    with _upstreams_in(place) as upstreams, _target_in(place, variant, upstreams["upstreams"]) as host:
        result = place.locust(
            *("-f", str(ROOT / "scenarios" / "emotion_dos.py"), "--host", host, "--upstreams", upstreams["control"]),
            *("--target", str(TARGET), "--run-dir", "run"),
        )
    found = read_judgement(place.path / "run", "emotion_dos")
    assert found is not None, result.stdout
    return result, {finding.check: finding.verdict for finding in found.findings}


@pytest.fixture(scope="session")
def play_on_a_running_agent() -> Callable[[Place, str], tuple[subprocess.CompletedProcess[str], dict[str, Verdict]]]:
    """Play `emotion_dos` by plain Locust on a variant that its owner has started; return verdicts by check, too."""
    return _play_on_a_running_agent


@pytest.fixture
def free_port() -> int:
    """A port that was free a moment ago."""
    return _free_port()


@pytest.fixture
def workers_port() -> Callable[[], list[str]]:
    """Options for a port of one's own on which Locust's workers find their master."""

    def options() -> list[str]:
        port = str(_free_port())
        return ["--master-bind-port", port, "--master-port", port]

    return options


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition."""
    return _wait_until


@pytest.fixture
def answers() -> Callable[[int], bool]:
    """Ask whether something accepts connections at a port."""
    return listens
