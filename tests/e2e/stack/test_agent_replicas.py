"""Are replicas of the reference agent one agent to those who talk to it, also when one of them is killed in a turn?"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest

Until = Callable[..., Any]
Alive = Callable[[int], bool]

pytestmark = pytest.mark.timeout(400)
TARGET = Path(__file__).parents[3] / "reference_agent" / "target.toml"
NAMES = {"u0": "たろう", "u1": "はなこ", "u2": "じろう"}
QUESTION = "私の名前を覚えている？"
ANSWER_WITHIN_S = 30
READY_WITHIN_S = 120
"""Three agents that start side by side take a while on a machine that has other things to do."""


class Routes(NamedTuple):
    """What the agent calls upstream, by engine: to open a conversation, to say something in it, to wait."""

    opens: str
    says: str
    waits: str


ROUTES = {
    "assistants": Routes(
        "POST /v1/threads", "POST /v1/threads/{thread_id}/messages", "POST /v1/threads/{thread_id}/runs"
    ),
    "responses": Routes("POST /v1/conversations", "POST /v1/responses", "GET /v1/responses/{response_id}"),
}
SHARED = [("hardened", 2, "assistants"), ("hardened_redis", 3, "responses")]
"""How replicas share what they know (a SQLite file, a Redis), how many there are, and what they speak."""


class Agent:
    """The reference agent as a stack of replicas."""

    def __init__(self, stack: Any, variant: str, replicas: int, engine: str) -> None:
        self.stack = stack
        self.routes = ROUTES[engine]
        patient, changed = re.subn(r", within_s = \d+", f", within_s = {READY_WITHIN_S}", TARGET.read_text())
        assert changed == 1
        (stack.directory / "target.toml").write_text(patient)
        options = ["--variant", variant, "--replicas", str(replicas)]
        for setting in (f"AGENT_ENGINE={engine}", f"AGENT_ANSWER_WITHIN_S={ANSWER_WITHIN_S}"):
            options += ["--set", setting]
        stack.start(*options, bundled=True)
        self.host = stack.begin()["host"]
        # What is slow once is not to be waited for in the middle of a test.
        for number, host in enumerate(self.hosts()):
            assert self.say(f"first of {number}", "こんにちは", host)[0] == 200
        self.opened_before = len(self.calls(self.routes.opens))

    def hosts(self) -> list[str]:
        return [replica["host"] for replica in self.stack.call("GET", "/status")[1]["replicas"]]

    def say(self, user: str, message: str, host: str | None = None) -> tuple[int, str]:
        """Say something; return the status, and the reply or what was said instead of one."""
        body = json.dumps({"user_id": user, "message": message}).encode()
        request = urllib.request.Request(f"{host or self.host}/chat-agent", data=body)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                return answer.status, unquote(answer.headers["X-GPT-Reply"])
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def opened(self) -> int:
        """Return how many conversations the test has made the agent open."""
        return len(self.calls(self.routes.opens)) - self.opened_before

    def calls(self, route: str) -> list[dict[str, Any]]:
        """Return the agent's calls of a route so far, in the order in which they began."""
        with urllib.request.urlopen(f"{self.stack.control}/_control/ledger", timeout=20) as answer:
            entries = [json.loads(line) for line in answer.read().splitlines()]
        found = [entry for entry in entries if entry["type"] == "call" and entry["route"] == route]
        return sorted(found, key=lambda entry: entry["begin_ns"])

    def upstream(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.stack.control}/_control{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")


@pytest.fixture(params=SHARED, ids=["sqlite-assistants", "redis-responses"])
def agent(request: pytest.FixtureRequest, stack: Any) -> Agent:
    variant, replicas, engine = request.param
    if variant == "hardened_redis":
        request.getfixturevalue("redis_program")
    return Agent(stack, variant, replicas, engine)


def test_any_replica_continues_any_conversation_also_one_whose_replica_was_killed_in_a_turn(
    agent: Agent, until: Until, alive: Alive
) -> None:
    for user, name in NAMES.items():
        assert agent.say(user, f"私の名前は{name}です")[0] == 200
    # The model takes its time, and the replica that waits for it dies.
    slow = {"fault": "slow", "upstream": "openai", "route": agent.routes.waits, "delay_s": 3.0}
    armed = agent.upstream("POST", "/faults", slow)["id"]
    victim = agent.stack.call("GET", "/status")[1]["replicas"][0]
    host, port = victim["host"].removeprefix("http://").split(":")
    body = json.dumps({"user_id": "u0", "message": "元気？"}).encode()
    head = f"POST /chat-agent HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection((host, int(port)), timeout=30) as caller:
        caller.sendall(head + body)
        until(lambda: any("元気" in call["text"] for call in agent.calls(agent.routes.says)))
        assert agent.stack.call("POST", "/fault", {"fault": "kill", "replica": 0})[0] == 200
        assert caller.recv(4096) == b"", "it died without an answer"
    until(lambda: not alive(victim["pid"]))
    agent.upstream("DELETE", f"/faults/{armed}")
    for _ in range(len(agent.hosts())):  # every replica that is left gets its turn
        for user, name in NAMES.items():
            status, reply = agent.say(user, QUESTION)
            assert (status, name in reply) == (200, True), (user, reply)
    assert agent.stack.call("POST", "/fault", {"fault": "restart", "replica": 0})[0] == 200
    until(lambda: agent.stack.call("GET", "/status")[1]["replicas"][0]["alive"])
    until(lambda: agent.stack.events().count(("target", "ready")) == len(agent.hosts()) + 1, within_s=40)
    status, reply = agent.say("u0", QUESTION, agent.hosts()[0])
    assert (status, NAMES["u0"] in reply) == (200, True), "what was killed has not forgotten either"
    assert agent.opened() == len(NAMES), "nobody was given a second conversation"
    assert len(agent.calls("POST /v1/assistants")) <= 1, "replicas that start together make one assistant"


def test_turns_of_one_user_come_one_after_the_other_in_their_order_over_all_replicas(agent: Agent) -> None:
    hosts = agent.hosts()
    with ThreadPoolExecutor(2 * len(hosts)) as callers:
        at_once = list(callers.map(lambda host: agent.say("u", "はじめまして", host)[0], hosts * 2))
    assert at_once == [200] * (2 * len(hosts))
    assert agent.opened() == 1, "a new user who speaks to all replicas at once has one conversation"
    said = [f"{number}番目の話" for number in range(4)]
    began = [threading.Event() for _ in said]

    def speak(number: int) -> int:
        began[number].set()
        return agent.say("u", said[number], hosts[number % len(hosts)])[0]

    agent.upstream("POST", "/faults", {"fault": "slow", "upstream": "tts", "delay_s": 0.2})
    with ThreadPoolExecutor(len(said)) as callers:
        answers = []
        for number in range(len(said)):
            answers.append(callers.submit(speak, number))
            began[number].wait(20)
            time.sleep(0.15)  # they do not come at once, and nobody waits for an answer
        assert [answer.result() for answer in answers] == [200] * len(said)
    assert [call["text"] for call in agent.calls(agent.routes.says) if "番目" in call["text"]] == said
    met = [call for route in agent.routes for call in agent.calls(route) if call["status"] != 200]
    assert met == [], "a conversation in which something is under way takes nothing else"


def test_without_its_redis_the_agent_says_so_at_once_and_goes_on_when_it_is_back(
    stack: Any, redis_program: str, until: Until
) -> None:
    agent = Agent(stack, "hardened_redis", 2, "responses")
    assert agent.say("u", "私の名前はたろうです")[0] == 200
    _, paused = stack.call("POST", "/fault", {"fault": "pause", "process": "redis"})
    assert_polite_refusal(*agent.say("u", "元気？"))
    for host in agent.hosts():
        with urllib.request.urlopen(f"{host}/health", timeout=20) as health:
            assert health.status == 200, "it is alive"
    assert stack.call("DELETE", f"/fault/{paused['id']}")[0] == 200
    until(lambda: agent.say("u", "こんにちは")[0] == 200, within_s=40)
    assert "たろう" in agent.say("u", QUESTION)[1], "it stood still, and forgot nothing"
    assert stack.call("POST", "/fault", {"fault": "kill", "process": "redis"})[0] == 200
    assert_polite_refusal(*agent.say("u", "元気？"))
    assert stack.call("POST", "/fault", {"fault": "restart", "process": "redis"})[0] == 200
    until(lambda: agent.say("u", "こんにちは")[0] == 200, within_s=40)


def assert_polite_refusal(status: int, said: str) -> None:
    error = json.loads(said)["error"]
    assert (status, error["code"]) == (503, "sessions_unavailable")
    assert error["message"].endswith("にゃん")
    assert error["retry_after_s"] > 0
