"""Is a load balancer told the truth, and told it fast?"""

from __future__ import annotations

from typing import Any

import httpx2
from agent_stage import CountedEngine, HeldClock, settings
from fastapi import FastAPI

from reference_agent.errors import Unavailable
from reference_agent.parts.breaker import HardenedBreaker
from reference_agent.parts.health import DocumentedHealth, HardenedHealth


async def _get(health: Any, path: str) -> httpx2.Response:
    app = FastAPI()
    health.install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://agent") as client:
        return await client.get(path)


async def test_documented_one_is_alive_and_says_no_more() -> None:
    assert (await _get(DocumentedHealth(), "/health")).json() == {"status": "ok"}
    assert (await _get(DocumentedHealth(), "/status")).status_code == 404


async def test_hardened_one_tells_alive_from_ready() -> None:
    engine, breaker = CountedEngine(), HardenedBreaker(settings(), HeldClock())
    health = HardenedHealth(engine, breaker)
    response = await _get(health, "/status")
    assert (response.status_code, response.json()["ready"]) == (200, True)
    engine.failure = Unavailable("openai", "down", never_arrived=True)
    assert (await _get(health, "/status")).status_code == 503
    assert (await _get(health, "/health")).status_code == 200


async def test_hardened_one_is_not_ready_without_the_model_and_ready_without_speech() -> None:
    breaker = HardenedBreaker(settings(), HeldClock())
    for upstream, status in (("tts", 200), ("openai", 503)):
        for _ in range(5):
            try:
                with breaker.around(upstream):
                    raise httpx2.ReadError("")
            except httpx2.ReadError:
                pass
        response = await _get(HardenedHealth(CountedEngine(), breaker), "/status")
        assert response.status_code == status
        assert response.json()["upstreams"][upstream] == "open"
