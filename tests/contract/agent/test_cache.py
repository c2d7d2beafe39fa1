"""Is a question of somebody new worked out once, and talked about as if it had been again, on every engine?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.contract.agent.agent_process import Agent

pytestmark = pytest.mark.xdist_group("agents")

_ASKS = {"assistants": "/runs", "responses": "/responses", "chat": "/chat/completions"}


def _generations(agent: Agent, engine: str) -> int:
    path = _ASKS[engine]
    return sum(call["route"].startswith("POST") and call["path"].endswith(path) for call in agent.stand.calls())


@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
def test_what_comes_from_the_cache_is_part_of_the_conversation(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    question = "富士山の高さを教えて"
    first = agent.chat("first", question)
    worked_out = _generations(agent, engine)
    assert worked_out, "the model was asked"
    second, third = agent.chat("second", question), agent.read("third", question)
    assert _generations(agent, engine) == worked_out, "and is not asked again"
    assert second.headers["X-GPT-Reply"] == first.headers["X-GPT-Reply"]
    assert third[-1][1]["reply"] == unquote(first.headers["X-GPT-Reply"])
    assert "富士山" in unquote(agent.chat("second", "さっき何て言った？").headers["X-GPT-Reply"])
    assert agent.client.delete("/users/first").status_code == 200
    agent.chat("fourth", question)
    assert _generations(agent, engine) > worked_out + 1, "an erased user's answer is not told to anybody"


@pytest.mark.parametrize("shared", ["a file", "redis"])
def test_who_is_erased_at_one_replica_is_erased_at_all(
    shared: str, start_agent: Callable[..., Agent], tmp_path: Path, redis_url: str
) -> None:
    store = f"sqlite:{tmp_path}/sessions.sqlite" if shared == "a file" else redis_url
    environ = {"AGENT_SESSION_STORE": store, **({"REDIS_URL": redis_url} if shared == "redis" else {})}
    here, there = start_agent(**environ), start_agent(**environ)
    question = "富士山の高さを教えて"
    told = here.chat("first", question).headers["X-GPT-Reply"]
    asked = _generations(here, "responses")
    assert there.chat("second", question).headers["X-GPT-Reply"] == told
    assert there.chat("third", question).headers["X-GPT-Reply"] == told
    assert _generations(here, "responses") == asked, "it is in the other one's memory now"
    assert here.client.delete("/users/first").status_code == 200
    there.chat("fourth", question)
    assert _generations(here, "responses") > asked
