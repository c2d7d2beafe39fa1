"""Do limits hold over processes that share a Redis, and what is said, and done, when it is gone?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.contract.agent.agent_process import Agent


def test_two_replicas_let_in_together_what_one_may(start_agent: Callable[..., Agent], own_redis: Any) -> None:
    slow = {"AGENT_NEWCOMERS_PER_S": "0.001", "AGENT_NEWCOMER_BURST": "3", "AGENT_SESSION_STORE": "memory"}
    replicas = [start_agent(REDIS_URL=own_redis.url, **slow) for _ in range(2)]
    assert [one.client.get("/status").json()["limits"] for one in replicas] == ["shared", "shared"]
    answers = [replicas[i % 2].chat(f"newcomer_{i}", "こんにちは") for i in range(6)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429, 429]
    refused = answers[-1].json()["error"]
    assert (refused["code"], refused["message"]) == ("rate_limited", "ちょっと早すぎるにゃん。すこし待ってにゃん")
    own_redis.kill()
    assert replicas[1].chat("newcomer_1", "元気？").status_code == 200, "by its own count alone"
    status = replicas[1].client.get("/status").json()
    assert (status["limits"], status["ready"]) == ("own_for_now", True)
