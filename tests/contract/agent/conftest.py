"""Agents as processes, ended with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.agent.agent_process import Agent


@pytest.fixture
def start_agent(stand: Any, tmp_path: Path) -> Iterator[Callable[..., Agent]]:
    """Start an agent, with further variables; it is ended with the test."""
    agents: list[Agent] = []

    def start(engine: str = "responses", **environ: str) -> Agent:
        home = tmp_path / f"home{len(agents)}"
        home.mkdir()
        agents.append(Agent(home, stand, AGENT_ENGINE=engine, **environ))
        return agents[-1]

    yield start
    for agent in agents:
        agent.end()


@pytest.fixture(scope="session")
def _agents(shared_stand: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Agent]]:
    started: dict[str, Agent] = {}

    def agent(engine: str) -> Agent:
        if engine not in started:
            home = tmp_path_factory.mktemp("home")
            started[engine] = Agent(home, shared_stand, AGENT_ENGINE=engine, AGENT_HEARTBEAT_S="0.1")
        return started[engine]

    yield agent
    for one in started.values():
        one.end()


@pytest.fixture
def agents(stand: Any, _agents: Callable[[str], Agent]) -> Callable[[str], Agent]:
    """The agent on an engine, the same one for all tests: each has users of its own, and upstreams without faults.

    Whoever uses it is of the `xdist_group` "agents": played by one worker, its tests start three agents and not twelve.
    """
    return _agents
