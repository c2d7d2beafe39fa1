"""Told to end, does the process finish or cancel what is under way, and end with code 0?"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.contract.agent.agent_process import Agent, events_of
from tests.waiting import until

_BOUND_S = 60.0  # for a busy machine; what is looked at is what becomes of the turns


def _ends(agent: Agent) -> int:
    return agent.process.wait(_BOUND_S)


@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
def test_a_turn_that_hangs_is_cancelled_here_and_upstream(engine: str, start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(engine, AGENT_SHUTDOWN_S="0.5", AGENT_HEARTBEAT_S="0.1")
    agent.stand.arm("stuck", upstream="openai")
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(agent.chat("asker", "やあ")))
    asking.start()
    with agent.reading("reader", "こんにちは") as response:
        until(lambda: len(agent.open_upstream()) == 2, agent.log.read_text)
        agent.process.send_signal(signal.SIGTERM)
        told: list[Any] = [event for event in events_of(response) if event[0] != ":"]
    asking.join(_BOUND_S)
    assert _ends(agent) == 0, agent.log.read_text()
    assert [(name, data["status"], data["error"]["code"]) for name, data in told] == [("error", 503, "shutting_down")]
    assert (answers[0].status_code, answers[0].json()["error"]["code"]) == (503, "shutting_down")
    until(lambda: not agent.open_upstream(), agent.log.read_text)


def test_who_watches_a_job_is_sent_away_at_once_and_the_process_ends(
    start_agent: Callable[..., Agent], redis_url: str
) -> None:
    """Nobody works on it here: the stream would go on for five minutes."""
    agent = start_agent(AGENT_SHUTDOWN_S="50", REDIS_URL=redis_url)
    job = agent.client.post("/jobs", json={"user_id": "u", "message": "やあ"}).json()
    with agent.client.stream("GET", job["events"]) as response:
        events = events_of(response)
        assert next(events)[0] == "waiting"
        agent.process.send_signal(signal.SIGTERM)
        assert [name for name, _ in events if name != ":"] == ["come_back"]
    assert _ends(agent) == 0, agent.log.read_text()


def test_a_turn_that_comes_to_its_end_is_answered_and_nothing_new_begins(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_SHUTDOWN_S="50")
    slow = agent.stand.arm("stream_stall", upstream="openai", after_events=3)
    with agent.reading("reader", "こんにちは") as response:
        until(agent.stand.calls, agent.log.read_text)
        agent.process.send_signal(signal.SIGTERM)
        until(lambda: agent.client.get("/status").status_code == 503, agent.log.read_text)
        refused = agent.chat("newcomer", "やあ")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert refused.headers["Retry-After"]
        agent.stand.lift(slow)
        assert list(events_of(response))[-1][0] == "done"
    assert _ends(agent) == 0, agent.log.read_text()
    assert not agent.open_upstream()


def test_the_second_signal_does_not_wait(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_SHUTDOWN_S="600", AGENT_HEARTBEAT_S="0.1")
    agent.stand.arm("stuck", upstream="openai")
    with agent.reading("reader", "やあ"):
        until(agent.open_upstream, agent.log.read_text)
        agent.process.send_signal(signal.SIGINT)
        until(lambda: agent.client.get("/status").status_code == 503, agent.log.read_text)
        agent.process.send_signal(signal.SIGINT)
        assert _ends(agent) == 0, agent.log.read_text()
    assert not agent.open_upstream()


def test_a_request_that_is_not_all_there_is_sent_away_at_once(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_SHUTDOWN_S="600", AGENT_BODY_S="600", AGENT_LOG_LEVEL="debug")
    with socket.create_connection(("127.0.0.1", agent.port), timeout=_BOUND_S) as half:
        half.sendall(b"POST /chat-agent HTTP/1.1\r\nHost: agent\r\nContent-Length: 500\r\n\r\n{")
        # Whoever comes later is answered later: by then the half of it has arrived.
        assert agent.client.get("/health").status_code == 200
        agent.process.send_signal(signal.SIGTERM)
        answer = b"".join(iter(lambda: half.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"shutting_down"' in answer
    assert _ends(agent) == 0, agent.log.read_text()
    assert "CancelledError" not in agent.log.read_text()


def test_a_connection_whose_request_does_not_come_is_closed(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_BODY_S="0.1")
    with socket.create_connection(("127.0.0.1", agent.port), timeout=_BOUND_S) as half:
        half.sendall(b"POST /chat-agent HTTP/1.1\r\nHost: agent\r\nContent-Length: 500\r\n\r\n{")
        answer = b"".join(iter(lambda: half.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"body_too_slow"' in answer


def test_one_with_nothing_to_do_ends_at_once(start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(AGENT_SHUTDOWN_S="600")
    agent.process.send_signal(signal.SIGTERM)
    assert _ends(agent) == 0
