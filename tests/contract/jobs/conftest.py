"""The agent with a queue: its process, its workers, a real Redis, the served stand-ins."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.stack.household import free_port
from tests.agent_variables import agent_environment
from tests.forked_agent import ForkedAgent
from tests.waiting import listens, until

_WITHIN_S = 120.0  # for anything to come true: three processes that start at once on a busy machine take most of it


_until = partial(until, within_s=_WITHIN_S)


class House:
    """An agent, its workers, and what they share: a Redis, a home, upstreams.

    Args:
        home: a directory of its own; the sessions are there.
        stand: the upstreams.
        redis_url: of an empty database.
        environ: further variables.
    """

    def __init__(self, home: Path, stand: Any, redis_url: str, **environ: str) -> None:
        self.stand = stand
        self.home = home
        self._processes: list[ForkedAgent] = []
        self._environ = agent_environment(home, stand.upstreams, **{"REDIS_URL": redis_url} | environ)
        self.port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=_WITHIN_S, trust_env=False)

    def start_agent(self) -> ForkedAgent:
        """Start the process that takes requests; `is_up` says when it does."""
        return self._start("agent", "--port", str(self.port))

    def start_worker(self, name: str = "worker", turns: int = 4, port: int | None = None) -> ForkedAgent:
        """Start a worker; it takes jobs as soon as it can, and says `worker_ready` in its log."""
        asked = () if port is None else ("--port", str(port))
        return self._start(name, "worker", "--turns-at-once", str(turns), *asked)

    def _start(self, name: str, *arguments: str) -> ForkedAgent:
        process = ForkedAgent(arguments, self._environ, self.home / f"{name}.log")
        self._processes.append(process)
        return process

    def log(self, name: str = "worker") -> str:
        """Return what a process has written so far."""
        return (self.home / f"{name}.log").read_text()

    def is_up(self) -> bool:
        """Return whether the agent takes requests."""
        if not listens(self.port):
            return False
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_up(self) -> None:
        """Return when the agent takes requests."""
        _until(self.is_up, said=lambda: self.log("agent"))

    def say(self, user: str, message: str, **headers: str) -> httpx.Response:
        """Hand a message in."""
        return self.client.post("/jobs", json={"user_id": user, "message": message}, headers=headers)

    def job(self, user: str, id_: str) -> dict[str, Any]:
        """Return a job as its user is shown it."""
        looked = self.client.get(f"/jobs/{id_}", params={"user_id": user})
        assert looked.status_code == 200, looked.text
        shown: dict[str, Any] = looked.json()
        return shown

    def ended(self, user: str, id_: str) -> dict[str, Any]:
        """Return a job when it has ended."""

        def look() -> dict[str, Any] | None:
            shown = self.job(user, id_)
            return shown if shown["state"] in ("done", "failed") else None

        shown: dict[str, Any] = _until(look, said=lambda: f"{self.job(user, id_)}\n{self.log()}")
        return shown

    def runs_begun(self) -> int:
        """Return how many times the model has begun to work."""
        starts = ("POST /v1/threads/{thread_id}/runs", "POST /v1/responses")
        return sum(call["route"] in starts and call["status"] == 200 for call in self.stand.calls())

    def runs_open(self) -> int:
        """Return how many times it is still at it."""
        summary: dict[str, int] = json.loads(self.stand.ask("GET", "/summary")[1])
        return summary["open_generations"]

    def close(self) -> None:
        """End every process."""
        self.client.close()
        for process in self._processes:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self._processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(5)


@pytest.fixture(name="until")
def until_() -> Callable[..., Any]:
    """Return what waits for something to come true."""
    return _until


@pytest.fixture
def house(tmp_path: Path, stand: Any, redis_url: str) -> Iterator[Callable[..., House]]:
    """Build a house for one test; its processes end with the test."""
    houses: list[House] = []

    def build(**environ: str) -> House:
        houses.append(House(tmp_path, stand, redis_url, **environ))
        return houses[-1]

    yield build
    for one in houses:
        one.close()
