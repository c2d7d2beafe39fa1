"""Can somebody read along while the model speaks, on every engine, and what becomes of those who leave?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest

from tests.contract.agent.agent_process import Agent, events_of
from tests.waiting import until

pytestmark = pytest.mark.xdist_group("agents")

ENGINES = pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
_BEFORE_WORDS = {"assistants": 7, "responses": 5, "chat": 1}
"""Events of each API's stream that come before its first words."""


@ENGINES
def test_what_is_read_is_the_reply_and_the_conversation_goes_on(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    events = agent.read("talker", "合言葉は山です。よく晴れた日に海を見に行きました")
    assert [name for name, _ in events][-1] == "done"
    deltas = [data["text"] for name, data in events if name == "delta"]
    assert len(deltas) > 1, "piece by piece"
    assert "".join(deltas) == events[-1][1]["reply"]
    assert deltas[-1].endswith("にゃん"), "in character"
    assert "山" in unquote(agent.chat("talker", "合言葉は何？").headers["X-GPT-Reply"]), "one talk, spoken or written"
    assert "agent_spend_usd_total" in agent.client.get("/metrics").text
    assert not agent.open_upstream()


@ENGINES
def test_tools_are_told_of_before_the_words(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    events = agent.read("asker", "今何時で、大阪の天気は？")
    names = [name for name, _ in events]
    assert [data["name"] for name, data in events if name == "tool"] == ["get_time", "get_weather"]
    assert names.index("tool") < names.index("delta")
    assert "".join(data["text"] for name, data in events if name == "delta") == events[-1][1]["reply"]


@ENGINES
def test_the_first_words_are_there_although_the_model_falls_silent_in_the_middle(
    engine: str, agents: Callable[[str], Agent]
) -> None:
    agent = agents(engine)
    agent.stand.arm("stream_stall", upstream="openai", after_events=_BEFORE_WORDS[engine] + 6)
    with agent.reading("silent", "よく晴れた日に海を見に行きました") as response:
        events = events_of(response)
        while next(events)[0] != "delta":
            pass
        while next(events)[0] != ":":
            pass  # while there is nothing to tell, it says so
    until(lambda: any(call.get("client_gone") for call in agent.stand.calls()), agent.log.read_text)


@ENGINES
def test_a_reader_who_leaves_ends_it_upstream(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    agent.stand.arm("stuck", upstream="openai")
    with agent.reading("leaver", "やあ") as response:
        events = events_of(response)
        assert next(events)[0] == ":"
        until(agent.open_upstream, agent.log.read_text)
    until(lambda: not agent.open_upstream(), agent.log.read_text)


@ENGINES
def test_a_stream_that_breaks_off_upstream(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    agent.stand.arm("stream_cut", upstream="openai", after_events=_BEFORE_WORDS[engine] + 6)
    events = agent.read("cut off", "よく晴れた日に海を見に行きました")
    if engine == "chat":
        assert events[-1][0] == "error", "nothing is kept upstream that could be gone on with"
        assert events[-1][1]["status"] == 503
        assert events[-1][1]["error"]["code"] == "openai_unavailable"
    else:
        assert "".join(data["text"] for name, data in events if name == "delta") == events[-1][1]["reply"]


def test_what_fails_before_there_is_anything_to_tell_has_a_status_of_its_own(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_HEARTBEAT_S="60")
    agent.stand.arm("status", upstream="openai", status=500)
    with agent.reading("failing", "やあ") as response:
        assert response.status_code == 503
        assert json.loads(response.read())["error"]["code"] == "openai_unavailable"
    with agent.reading("", "やあ") as response:
        assert response.status_code == 422
    assert agent.client.post("/chat-agent/stream", content=b"{").status_code == 400


def test_a_long_reply_is_shown_as_it_is_in_the_end(agents: Callable[[str], Agent]) -> None:
    agent = agents("responses")
    agent.stand.arm("over_long", upstream="openai")
    shown = ""
    for name, data in agent.read("long", "よく晴れた日に海を見に行きました"):
        shown = shown + data["text"] if name == "delta" else "" if name == "restart" else shown
        last: Any = data
    assert shown == last["reply"]
    assert len(shown) <= 40
    assert shown.endswith("にゃん")
