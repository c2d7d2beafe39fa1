"""What does the agent answer while the Redis that everything is in accepts calls and answers none, and afterwards?"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.contract.agent.agent_process import Agent
from tests.waiting import until

_AT_ONCE = 24  # more than there are connections to Redis: what finds none free is answered in time as well


def _say(agent: Agent, path: str) -> httpx.Response:
    return agent.client.post(path, json={"user_id": "u", "message": "やあ"})


@pytest.fixture
def agent(start_agent: Callable[..., Agent], own_redis: Any) -> Agent:
    """Return an agent with everything in Redis: sessions, order of turns, limits, cache, jobs, what is to be erased."""
    return start_agent("responses", AGENT_SESSION_STORE=own_redis.url, REDIS_URL=own_redis.url)


def test_everything_is_answered_and_all_is_well_when_it_goes_on(agent: Agent, own_redis: Any) -> None:
    assert agent.chat("u", "合言葉は山です").status_code == 200
    job = _say(agent, "/jobs")
    assert job.status_code == 202
    asked: list[tuple[str, Callable[[], httpx.Response], str]] = [
        ("a turn", lambda: _say(agent, "/chat-agent"), "sessions_unavailable"),
        ("a turn to read", lambda: _say(agent, "/chat-agent/stream"), "sessions_unavailable"),
        ("a new job", lambda: _say(agent, "/jobs"), "sessions_unavailable"),
        ("a job", lambda: agent.client.get(job.headers["Location"]), "jobs_unavailable"),
        ("an erasure", lambda: agent.client.delete("/users/u"), "leftovers_unavailable"),
    ]
    own_redis.pause()
    try:
        assert agent.client.get("/health").status_code == 200
        with ThreadPoolExecutor(_AT_ONCE * len(asked)) as callers:
            answers = [(what, code, callers.submit(ask)) for what, ask, code in asked for _ in range(_AT_ONCE)]
            assert agent.client.get("/health").status_code == 200, "also while all of them wait"
            for what, code, answer in answers:
                said = answer.result()
                # An address may not do more than so much at once, whatever becomes of it.
                assert said.status_code in (503, 429), (what, said.text)
                assert said.json()["error"]["code"] == code or said.status_code == 429, (what, said.text)
                assert int(said.headers["Retry-After"]) >= 1, what
            assert {code for _, code, answer in answers if answer.result().status_code == 503} == {
                code for *_, code in asked
            }
        status = agent.client.get("/status")
        assert (status.status_code, status.json()["stores"]) == (503, {"sessions": "down"})
        assert agent.client.get("/metrics").status_code == 200
    finally:
        own_redis.resume()
    until(agent.is_ready, agent.log.read_text)
    assert agent.chat("v", "やあ").status_code == 200
    assert agent.client.get(job.headers["Location"]).status_code == 200, "it is still there"
    until(lambda: agent.client.delete("/users/u").json() == {"erased": True, "left": []}, agent.log.read_text)
    assert agent.client.get(job.headers["Location"]).status_code == 404


def test_a_turn_that_is_under_way_is_answered_and_ended(agent: Agent, own_redis: Any) -> None:
    """Its model is still thinking when the Redis stops: what it comes to, its caller hears or is told of in time."""
    assert agent.chat("u", "やあ").status_code == 200
    agent.stand.arm("slow", upstream="openai", route="GET /v1/responses/{response_id}", delay_s=1.5)
    with ThreadPoolExecutor(1) as callers:
        turn = callers.submit(agent.chat, "u", "今何時？")
        until(lambda: any(e["event"] == "fired" for e in agent.stand.lines("/events")), agent.log.read_text)
        own_redis.pause()
        try:
            assert turn.result().status_code in (200, 503)
            until(lambda: not agent.open_upstream(), agent.log.read_text)
        finally:
            own_redis.resume()
    until(agent.is_ready, agent.log.read_text)
    until(lambda: agent.chat("u", "やあ").status_code == 200, agent.log.read_text)
