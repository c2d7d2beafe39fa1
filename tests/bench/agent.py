"""How is the reference agent started for a benchmark, with upstreams that it may wear out?"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.agent_variables import upstream_variables
from tests.bench.child import Child
from tests.bench.figure import BenchError

_READY_S = 30.0
OPEN = {
    # Everything that would send somebody away is opened, for questions about those who got in.
    "AGENT_NEWCOMERS_PER_S": "100000",
    "AGENT_NEWCOMER_BURST": "100000",
    "AGENT_NEWCOMER_TURNS": "1000",
    "AGENT_MAX_TURNS": "1000",
    "AGENT_USER_TURNS_PER_S": "100000",
    "AGENT_USER_BURST": "100000",
    "AGENT_USER_BUDGET_USD": "1000000",
    "AGENT_BUDGET_USD": "1000000",
}


@dataclass(frozen=True)
class Upstreams:
    """The stand-ins that run: their control API and what an agent has to be told of them."""

    control: str
    env: dict[str, str]


@contextmanager
def upstreams(directory: Path, *options: str) -> Iterator[Upstreams]:
    """Start the stand-ins.

    Args:
        directory: where they leave their log.
        options: of `python -m harness.upstreams`.
    """
    command = [sys.executable, "-m", "harness.upstreams", "--port", "0", *options]
    with Child(command, directory / "upstreams.log", says_ready=True) as child:
        addresses = child.ready()
        yield Upstreams(str(addresses["control"]), upstream_variables(addresses["upstreams"]))


@dataclass(frozen=True)
class Agent:
    """An agent that is ready."""

    child: Child
    port: int


@contextmanager
def agent(directory: Path, beside: Upstreams, profile: str, env: Mapping[str, str]) -> Iterator[Agent]:
    """Start the agent in `profile`, and wait until it is healthy.

    Args:
        directory: where it leaves its log; its home, so that sessions kept from another run name nothing here.
        beside: its upstreams.
        profile: which variant of every part.
        env: settings of its own.

    Raises:
        BenchError: it does not get ready.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {**beside.env, "HOME": str(directory.resolve()), **env}
    command = [sys.executable, "-m", "reference_agent", "--port", str(port), "--profile", profile]
    with Child(command, directory / "agent.log", environment) as child:
        deadline_s = time.monotonic() + _READY_S
        while not _is_healthy(port):
            if not child.running or time.monotonic() > deadline_s:
                raise BenchError(f"The agent did not get ready. {child.last_words()}")
            time.sleep(0.1)
        yield Agent(child, port)


def get_json(base: str, path: str) -> Any:
    """Return the JSON answer of a GET."""
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=5)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _is_healthy(port: int) -> bool:
    try:
        get_json(f"http://127.0.0.1:{port}", "/health")
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
