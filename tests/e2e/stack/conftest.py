"""Starts supervisors, speaks to them, and makes sure that none is left."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import waiting

HERE = Path(__file__).parent
TARGET = """
[start]
command = ["{{python}}", "{agent}", "{{port}}", "{mode}"]
ready = {ready}
memory_limit_mb = 200
[start.env]
OPENAI_BASE_URL = "{{openai}}"
HOME_AGAIN = "{{home}}"
DEADLINE = "{{deadline_s}}"
REPLICA = "{{replica}}"
MODE = "plain"
[declares]
answer_within_s = 5
[variants.special]
env = {{ MODE = "special" }}
[variants.sharing]
env = {{ SHARED = "{{redis}}" }}
"""


until = partial(waiting.until, within_s=10.0)


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


class Stack:
    """One supervisor process and its API."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = directory / "run"
        self.process: subprocess.Popen[str] | None = None
        self.url = ""
        self.mark = ""

    def target(self, mode: str = "", ready: str = '{path = "/health", within_s = 20}', more: str = "") -> Path:
        path = self.directory / "target.toml"
        path.write_text(TARGET.format(agent=HERE / "stand_in_agent.py", mode=mode, ready=ready) + more)
        return path

    def launch(
        self, *arguments: str, stdin: int = subprocess.PIPE, then: str = "", bundled: bool = False
    ) -> subprocess.Popen[str]:
        upstreams = f"{sys.executable} {HERE / 'stand_in_upstreams.py'}" + (f" --then {then}" if then else "")
        settings = {
            "--run-dir": str(self.run),
            "--target": str(self.directory / "target.toml"),
            **({} if bundled else {"--upstreams-command": upstreams}),
        }
        command = [sys.executable, "-m", "harness.stack"]
        command += [part for pair in settings.items() for part in pair]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return self.process

    def start(self, *arguments: str, **options: Any) -> Stack:
        process = self.launch(*arguments, **options)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()
        self.url = json.loads(line)["url"]
        self.control = json.loads(line)["upstreams"]
        own = [child.environ() for child in psutil.Process(process.pid).children()]
        self.mark = next(one["HARNESS_STACK"] for one in own if "HARNESS_STACK" in one)
        return self

    def call(self, method: str, path: str, body: Any = None, timeout_s: float = 60) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def begin(self, name: str = "one", **order: Any) -> dict[str, Any]:
        status, answer = self.call("POST", "/scenario", {"name": name, **order}, timeout_s=240)
        assert status == 200, answer
        return dict(answer)

    def ask(self, path: str, timeout_s: float = 20.0) -> Any:
        host = self.call("GET", "/status")[1]["target"]["host"]
        with urllib.request.urlopen(host + path, timeout=timeout_s) as response:
            return json.loads(response.read())

    def records(self, name: str, scenario: str = "one") -> list[dict[str, Any]]:
        path = self.run / "scenarios" / scenario / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def events(self, scenario: str = "one") -> list[tuple[str, str]]:
        return [(one["fault"], one["event"]) for one in self.records("events", scenario)]

    def event(self, event: str, scenario: str = "one") -> dict[str, Any] | None:
        return next((one for one in self.records("events", scenario) if one["event"] == event), None)

    def left(self) -> list[int]:
        """Return every process that this supervisor or anything below it started and that still runs."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HARNESS_STACK") == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def let_go(self) -> tuple[int, str]:
        """End its standard input; return the exit code and what it said on standard error."""
        assert self.process is not None
        _, said = self.process.communicate(timeout=30)
        return self.process.returncode, said

    def destroy(self) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.wait()
        if self.mark:
            until(lambda: not self.left())


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    one = Stack(tmp_path)
    one.target()
    yield one
    one.destroy()


@pytest.fixture(name="until")
def _until() -> Callable[..., Any]:
    return until


@pytest.fixture(name="alive")
def _alive() -> Callable[[int], bool]:
    return alive
