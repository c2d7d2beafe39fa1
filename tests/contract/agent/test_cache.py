"""Is a question of somebody new worked out once, and talked about as if it had been again, on every engine?"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from agent_process import Agent

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
