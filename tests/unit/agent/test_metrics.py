"""Can an operator see what goes on, without anybody's text or an endless number of labels?"""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, settings
from fastapi import FastAPI

from reference_agent.caller import Caller
from reference_agent.errors import Unavailable
from reference_agent.parts.breaker import HardenedBreaker
from reference_agent.parts.metrics import DocumentedMetrics, HardenedMetrics


async def _get(metrics: Any) -> httpx2.Response:
    app = FastAPI()
    metrics.install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://agent") as client:
        return await client.get("/metrics")


def _play(metrics: DocumentedMetrics | HardenedMetrics, clock: HeldClock) -> None:
    with metrics.turn():
        metrics.heard("こんにちは🔥", Caller())
        with metrics.tool("get_time"):
            clock.time += 0.3
        metrics.spent("gpt-4o", 1000, 0.03)
    metrics.heard("hello", Caller("en"))
    with pytest.raises(Unavailable), metrics.turn(), metrics.tool("get_time"):
        raise Unavailable("time", "down", never_arrived=True)


async def test_documented_one_has_none() -> None:
    _play(DocumentedMetrics(), HeldClock())
    assert (await _get(DocumentedMetrics())).status_code == 404


async def test_hardened_one_counts_what_an_operator_asks_for() -> None:
    clock = HeldClock()
    breaker = HardenedBreaker(settings(), clock)
    metrics = HardenedMetrics(clock, breaker)
    with breaker.around("openai"):
        pass
    _play(metrics, clock)
    lines = (await _get(metrics)).text.splitlines()
    for line in (
        'agent_turns_total{outcome="answered"} 1',
        'agent_turns_total{outcome="unavailable"} 1',
        'agent_messages_total{language="en"} 1',
        'agent_messages_total{language="ja"} 1',
        "agent_messages_with_emoji_total 1",
        'agent_tool_calls_total{tool="get_time"} 2',
        'agent_tool_failures_total{tool="get_time"} 1',
        'agent_units_total{of="gpt-4o"} 1000',
        'agent_spend_usd_total{of="gpt-4o"} 0.03',
        'agent_turn_seconds_bucket{le="0.25"} 1',
        'agent_turn_seconds_bucket{le="0.5"} 2',
        'agent_turn_seconds_bucket{le="+Inf"} 2',
        "agent_turn_seconds_count 2",
        'agent_breaker_state{upstream="openai"} 0',
    ):
        assert line in lines
