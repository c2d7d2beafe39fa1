"""What becomes of what was begun upstream for somebody who has left, or was told that it takes too long?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.agent.agent_process import Agent
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("agents")

_MAKES = {"assistants": "POST /v1/threads/{thread_id}/runs", "responses": "POST /v1/responses"}
_PATHS = pytest.mark.parametrize("path", ["/chat-agent", "/chat-agent/stream"])

_SAID = "よく晴れた日に海を見に行きました"


def _runs(agent: Agent) -> list[dict[str, Any]]:
    """Return the calls that began something; not those for an assistant that a new epoch has forgotten."""
    return [call for call in agent.stand.calls() if call["route"] in _MAKES.values() and call["status"] != 404]


def _slow(agent: Agent, engine: str) -> str:
    """Let what is begun be answered late: within the time for which an answer that nobody waits for is listened to."""
    return agent.stand.arm("slow", upstream="openai", route=_MAKES[engine], delay_s=1.5)


@_PATHS
@pytest.mark.parametrize("engine", list(_MAKES))
def test_hung_up_while_it_is_being_begun_it_is_ended_and_the_talk_goes_on(
    engine: str, path: str, agents: Callable[[str], Agent]
) -> None:
    agent = agents(engine)
    user = f"leaver {path}"
    faults = [_slow(agent, engine), agent.stand.arm("stuck", upstream="openai")]
    with agent.asking(user, _SAID, path):
        until(agent.open_upstream, agent.log.read_text)
        assert not _runs(agent), "its answer is still on its way"
    until(lambda: not agent.open_upstream(), agent.log.read_text)
    for fault in faults:
        agent.stand.lift(fault)
    assert agent.chat(user, "やあ").status_code == 200
    first, second = _runs(agent)
    assert first["conversation"] == second["conversation"], "what was said before is not lost"


@pytest.mark.parametrize("engine", list(_MAKES))
def test_erased_at_once_after_hanging_up_nothing_goes_on(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    _slow(agent, engine)
    agent.stand.arm("stuck", upstream="openai")
    with agent.asking("eraser", _SAID):
        until(agent.open_upstream, agent.log.read_text)
    until(lambda: agent.client.delete("/users/eraser").json() == {"erased": True, "left": []}, agent.log.read_text)
    assert not agent.open_upstream()


def test_an_answer_that_comes_too_late_is_booked_and_deleted(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_OPENAI_CALL_S="1")
    slow = _slow(agent, "responses")
    assert agent.chat("patient", "やあ").status_code == 503
    agent.stand.lift(slow)
    until(lambda: _runs(agent) and not agent.open_upstream(), agent.log.read_text)
    until(lambda: agent.client.delete("/users/patient").json()["erased"], agent.log.read_text)
    (made,) = _runs(agent)
    deleted = [
        call["generation"] for call in agent.stand.calls() if call["route"] == "DELETE /v1/responses/{response_id}"
    ]
    assert made["generation"] in deleted
