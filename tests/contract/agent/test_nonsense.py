"""A model's upstream that says "success" and makes no sense: whose fault is that, and who is told?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contract.agent.agent_process import Agent
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("agents")


@pytest.mark.parametrize("fault", ["garbage", "empty_body", "wrong_type", "invalid_utf8"])
@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
def test_it_is_the_upstream_that_is_not_available(engine: str, fault: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    user = f"nonsense {fault}"
    bugs = agent.log.read_text().count("turn_failed")
    armed = agent.stand.arm(fault, upstream="openai")
    response = agent.chat(user, "よく晴れた日です")
    assert (response.status_code, response.json()["error"]["code"]) == (503, "openai_unavailable")
    assert "retry-after" in response.headers
    agent.stand.lift(armed)
    until(lambda: agent.chat(user, "よく晴れた日です").status_code == 200, agent.log.read_text)
    assert agent.log.read_text().count("turn_failed") == bugs, "nothing of this is a bug of the agent"


def test_what_is_refused_at_the_door_is_counted_too(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent()
    assert agent.chat("long", "あ" * 20_000).status_code == 413
    counted = agent.client.get("/metrics").text.splitlines()
    assert 'agent_refusals_total{code="message_too_long"} 1' in counted
    assert 'agent_turns_total{outcome="refused"} 1' in counted
