"""Is nothing of a user left at the model's upstream, on every engine, also when it was down at the time?"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import openai
import pytest
import redis

from tests.contract.agent.agent_process import Agent
from tests.waiting import until


def _left(agent: Agent) -> Iterator[str]:
    """Yield what the model's upstream still has of all that was ever made there."""
    ids: set[str] = set()
    for call in agent.stand.calls():
        ids |= {str(call[name]) for name in ("conversation", "generation") if call.get(name)}
    with agent.stand.openai() as client:
        for id_ in sorted(ids):
            kind = id_.partition("_")[0]
            if kind not in ("conv", "resp", "thread"):
                continue
            try:
                if kind == "thread":
                    client.get(f"/threads/{id_}", cast_to=object, options={"headers": {"OpenAI-Beta": "assistants=v2"}})
                elif kind == "conv":
                    client.conversations.retrieve(id_)
                else:
                    client.responses.retrieve(id_)
            except openai.NotFoundError:
                continue
            yield id_


@pytest.mark.xdist_group("agents")
@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
def test_nothing_is_left(engine: str, agents: Callable[[str], Agent]) -> None:
    agent = agents(engine)
    agent.chat("u", "合言葉は山です")
    agent.chat("u", "今何時で、大阪の天気は？")
    agent.read("u", "よく晴れた日に海を見に行きました")
    assert engine == "chat" or list(_left(agent))
    for _ in range(2):
        response = agent.client.delete("/users/u")
        assert (response.status_code, response.json()) == (200, {"erased": True, "left": []})
    assert not list(_left(agent))
    if engine == "responses":
        deleted = [call["route"] for call in agent.stand.calls() if "DELETE" in call["route"]]
        assert any("/items/" in route for route in deleted), "its deletion alone would leave a conversation's items"
    reply = agent.chat("u", "合言葉は何？")
    assert "%E5%B1%B1" not in reply.headers["X-GPT-Reply"], "and it is not remembered"


# What an engine deletes and where it is noted know nothing of each other: each of both once.
@pytest.mark.parametrize(("engine", "sessions"), [("assistants", "redis"), ("responses", "a file")])
def test_what_could_not_be_deleted_is_deleted_by_the_next_process(
    engine: str, sessions: str, start_agent: Callable[..., Agent], redis_url: str
) -> None:
    agent = start_agent(engine, **({"AGENT_SESSION_STORE": redis_url} if sessions == "redis" else {}))
    agent.chat("u", "合言葉は山です")
    down = agent.stand.arm("status", upstream="openai", status=503)
    for _ in range(2):
        response = agent.client.delete("/users/u")
        assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    agent.kill()
    agent.stand.lift(down)
    assert list(_left(agent))
    agent.restart()
    until(lambda: not list(_left(agent)), agent.log.read_text)
    assert agent.client.delete("/users/u").json() == {"erased": True, "left": []}


@pytest.mark.parametrize("sessions", ["a file", "redis"])
@pytest.mark.parametrize("engine", ["assistants", "responses"])
def test_what_was_being_created_for_a_caller_who_left_is_deleted_as_well(
    engine: str, sessions: str, start_agent: Callable[..., Agent], redis_url: str
) -> None:
    agent = start_agent(engine, **({"AGENT_SESSION_STORE": redis_url} if sessions == "redis" else {}))
    route = {"assistants": "POST /v1/threads", "responses": "POST /v1/conversations"}[engine]
    agent.stand.arm("slow", upstream="openai", route=route, delay_s=1.5)
    with closing(HTTPConnection("127.0.0.1", agent.port)) as line:
        said = json.dumps({"user_id": "leaver", "message": "やあ"})
        line.request("POST", "/chat-agent", said, {"Content-Type": "application/json"})
        until(lambda: any(e["event"] == "fired" for e in agent.stand.lines("/events")), agent.log.read_text)
    response = agent.client.delete("/users/leaver")
    assert (response.status_code, response.json()) == (200, {"erased": True, "left": []})
    assert route in {call["route"] for call in agent.stand.calls()}, "it was created after all"
    assert not list(_left(agent))
    if sessions == "a file":
        home = agent.log.parent
        (store,) = home.rglob("sessions.sqlite")
        assert _rows(store, "SELECT user_id FROM sessions") == []


@pytest.mark.parametrize("sessions", ["a file", "redis"])
@pytest.mark.parametrize(
    ("before", "after"), [("assistants", "responses"), ("responses", "chat"), ("chat", "assistants")]
)
def test_nothing_is_left_on_the_engine_that_talked_before(
    before: str, after: str, sessions: str, start_agent: Callable[..., Agent], redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "sessions.sqlite"
    agent = start_agent(before, AGENT_SESSION_STORE=redis_url if sessions == "redis" else f"sqlite:{path}")
    agent.chat("u", "合言葉は山です")
    agent.chat("v", "合言葉は川です")
    agent.chat("w", "合言葉は谷です")
    down = agent.stand.arm("status", upstream="openai", status=503)
    assert before == "chat" or agent.client.delete("/users/w").status_code == 202, "it is written down to be deleted"
    agent.kill()
    agent.stand.lift(down)
    agent.restart(AGENT_ENGINE=after)
    assert "%E5%B7%9D" not in agent.chat("v", "合言葉は何？").headers["X-GPT-Reply"], "it begins anew"
    for user in ("u", "v"):
        assert agent.client.delete(f"/users/{user}").json() == {"erased": True, "left": []}
    until(lambda: agent.client.delete("/users/w").status_code == 200, agent.log.read_text)
    assert not list(_left(agent))
    if sessions == "redis":
        with redis.Redis.from_url(redis_url) as client:
            assert not list(client.scan_iter("*messages:*"))
    else:
        assert not _rows(path, "SELECT * FROM messages")


def _rows(sessions: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(sessions)) as db:
        return db.execute(query).fetchall()


def test_what_is_spent_after_an_erasure_is_booked_on_nobody(start_agent: Callable[..., Agent], tmp_path: Path) -> None:
    sessions = tmp_path / "sessions.sqlite"
    agent = start_agent("responses", AGENT_SESSION_STORE=f"sqlite:{sessions}", AGENT_TTS_FIRST_BYTE_S="30")
    agent.chat("v", "こんにちは")
    agent.stand.arm("slow", upstream="tts", delay_s=3.0)
    speaking = threading.Thread(target=agent.chat, args=("u", "今何時？"))
    speaking.start()
    # What it thought is booked, and its turn is over: only the speech is waited for.
    until(lambda: _rows(sessions, "SELECT 1 FROM spend WHERE user_id = 'u'"), agent.log.read_text)
    assert agent.client.delete("/users/u").json() == {"erased": True, "left": []}
    speaking.join()
    of_speech = _rows(sessions, "SELECT user_id FROM spend WHERE model = 'speech'")
    assert of_speech == [("",), ("v",)]
    assert not _rows(sessions, "SELECT 1 FROM spend WHERE user_id = 'u'")


@pytest.mark.parametrize("sessions", ["a file", "redis"])
def test_what_expired_while_it_could_not_be_deleted_is_left_until_it_is_gone(
    sessions: str, start_agent: Callable[..., Agent], redis_url: str
) -> None:
    store = {"AGENT_SESSION_STORE": redis_url} if sessions == "redis" else {}
    agent = start_agent("responses", AGENT_PROBATION_S="1", **store)
    agent.chat("u", "合言葉は山です")
    route = "DELETE /v1/conversations/{conversation_id}"
    down = agent.stand.arm("status", upstream="openai", route=route, status=503)
    until(lambda: any(call["route"] == route for call in agent.stand.calls()), agent.log.read_text)
    response = agent.client.delete("/users/u")
    assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    agent.stand.lift(down)
    until(lambda: agent.client.delete("/users/u").status_code == 200, agent.log.read_text)
    assert not list(_left(agent))


def test_an_upstream_that_refuses_a_deletion_neither_breaks_the_erasure_nor_keeps_others(
    start_agent: Callable[..., Agent],
) -> None:
    agent = start_agent("responses")
    agent.chat("u", "合言葉は山です")
    agent.chat("v", "合言葉は川です")
    refusing = agent.stand.arm(
        "status", upstream="openai", route="DELETE /v1/conversations/{conversation_id}", status=400
    )
    for _ in range(2):
        response = agent.client.delete("/users/u")
        assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    agent.stand.lift(refusing)
    assert agent.client.delete("/users/v").json() == {"erased": True, "left": []}
    until(lambda: not list(_left(agent)), agent.log.read_text)
    assert agent.client.delete("/users/u").json() == {"erased": True, "left": []}


@pytest.mark.parametrize("engine", ["chat", "responses"])
def test_no_file_of_the_agent_can_be_read_for_who_was_erased(engine: str, start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(engine)
    stays, goes = "somebody-who-stays", "somebody-who-goes"
    for number in range(3):
        for user in (stays, goes):
            assert agent.chat(user, f"合言葉は{user}の{number}番です").status_code == 200

    def found(user: str) -> set[str]:
        files = [file for file in agent.log.parent.rglob("*.sqlite*") if file.is_file()]
        return {file.name for file in files if user.encode() in file.read_bytes()}

    assert any(name.startswith("sessions.sqlite") for name in found(goes))
    assert agent.client.delete(f"/users/{goes}").json() == {"erased": True, "left": []}
    assert found(goes) == set()
    assert found(stays), "others stay"
    assert agent.chat(stays, "やあ").status_code == 200


@pytest.mark.xdist_group("agents")
@pytest.mark.parametrize("user", ["", "%20", "x" * 5000])
def test_an_id_that_nobody_can_have_is_refused(user: str, agents: Callable[[str], Agent]) -> None:
    assert agents("responses").client.delete(f"/users/{user}").status_code == 422
