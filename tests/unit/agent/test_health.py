"""Is a load balancer told the truth, and told it fast?"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx2
import openai
import pytest
from agent_stage import CountedEngine, HeldClock, KeptLog, settings
from fastapi import FastAPI

from reference_agent.duty import Duty
from reference_agent.errors import Unavailable
from reference_agent.parts.breaker import HardenedBreaker
from reference_agent.parts.health import DocumentedHealth, HardenedHealth
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.rate_limit import DocumentedRateLimit
from reference_agent.parts.retries import HardenedRetries
from reference_agent.parts.sessions import bounds
from reference_agent.session_store import SqliteSessionStore


class Models:
    """The model's upstream, as far as it is asked which models there are."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: Exception | None = None
        self.models = self

    async def list(self) -> tuple[str, ...]:
        self.asked += 1
        if self.failure:
            raise self.failure
        return ()


class Agent:
    """A hardened part with what stands around it."""

    def __init__(self) -> None:
        self.clock, self.engine, self.api, self.log = HeldClock(), CountedEngine(), Models(), KeptLog()
        self.breaker = HardenedBreaker(settings(), self.clock)
        retries = HardenedRetries(settings(), self.clock, self.breaker, self.log, DocumentedMetrics())
        api: Any = self.api
        self.duty = Duty(settings())
        self.store = SqliteSessionStore(None, bounds(settings()))
        self.health = HardenedHealth(
            self.engine, self.breaker, self.duty, retries, self.store, DocumentedRateLimit(), api, self.clock, self.log
        )

    def breaks(self, upstream: str) -> None:
        while self.breaker.states().get(upstream) != "open":
            with contextlib.suppress(httpx2.ReadError), self.breaker.around(upstream):
                raise httpx2.ReadError("")

    async def status(self) -> int:
        """Return what is said, and let what that sets going come to its end."""
        status = (await _get(self.health, "/status")).status_code
        if self.health._looking is not None:
            await self.health._looking
        return status


async def _begun() -> Agent:
    """Return an agent that has looked around, as one does before it is served, and found all well."""
    agent = Agent()
    await agent.health.look()
    agent.api.asked = 0
    return agent


async def _get(health: Any, path: str) -> httpx2.Response:
    app = FastAPI()
    health.install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://agent") as client:
        return await client.get(path)


async def test_documented_one_is_alive_and_says_no_more() -> None:
    assert (await _get(DocumentedHealth(), "/health")).json() == {"status": "ok"}
    assert (await _get(DocumentedHealth(), "/status")).status_code == 404


async def test_documented_one_looks_dead_while_all_threads_are_held_and_the_hardened_one_does_not() -> None:
    threads = anyio.to_thread.current_default_thread_limiter()
    before, threads.total_tokens = threads.total_tokens, 1
    held, may_end = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def turn() -> None:
        loop.call_soon_threadsafe(held.set)
        may_end.wait(30)

    under_way = asyncio.create_task(anyio.to_thread.run_sync(turn))
    await held.wait()
    documented = asyncio.create_task(_get(DocumentedHealth(), "/health"))
    assert (await _get(Agent().health, "/health")).status_code == 200
    assert not documented.done()
    may_end.set()
    assert (await asyncio.wait_for(documented, 30)).status_code == 200
    await under_way
    threads.total_tokens = before


async def test_hardened_one_tells_alive_from_ready() -> None:
    agent = await _begun()
    response = await _get(agent.health, "/status")
    assert (response.status_code, response.json()["ready"]) == (200, True)
    agent.engine.failure = Unavailable("openai", "down", never_arrived=True)
    assert (await _get(agent.health, "/status")).status_code == 503
    assert (await _get(agent.health, "/health")).status_code == 200
    agent.engine.failure = None
    await agent.duty.leave()
    assert (await _get(agent.health, "/status")).status_code == 503, "about to end"
    assert (await _get(agent.health, "/health")).status_code == 200


async def test_hardened_one_is_not_ready_before_the_model_has_answered_it_once() -> None:
    agent = Agent()
    agent.api.failure = httpx2.ConnectError("nobody there")
    await agent.health.look()
    assert agent.breaker.states() == {"openai": "closed"}, "one failure opens nothing"
    assert await agent.status() == 503
    agent.api.failure = None
    agent.clock.time += 0.6  # by now the breaker gives it a rest
    assert [await agent.status(), await agent.status()] == [503, 200], "it looks for itself"


async def test_an_upstream_that_lists_no_models_has_answered() -> None:
    agent = Agent()
    request = httpx2.Request("GET", "http://openai/v1/models")
    agent.api.failure = openai.NotFoundError("no", response=httpx2.Response(404, request=request), body=None)
    await agent.health.look()
    assert await agent.status() == 200


async def test_hardened_one_looks_at_its_session_store_before_anybody_uses_it(tmp_path: Path) -> None:
    agent = Agent()
    (tmp_path / "file").touch()
    agent.health._store = SqliteSessionStore(tmp_path / "file" / "sessions.sqlite", bounds(settings()))
    await agent.health.look()
    assert await agent.status() == 503
    assert agent.api.asked > 0, "the model is looked for all the same"


async def test_hardened_one_is_not_ready_without_the_model_and_ready_without_speech() -> None:
    for upstream, status in (("tts", 200), ("openai", 503)):
        agent = await _begun()
        agent.breaks(upstream)
        response = await _get(agent.health, "/status")
        assert response.status_code == status
        assert response.json()["upstreams"][upstream] == "open"


async def test_hardened_one_names_a_session_store_that_is_down_and_is_not_ready(tmp_path: Path) -> None:
    agent = await _begun()
    (tmp_path / "file").touch()
    broken = SqliteSessionStore(tmp_path / "file" / "sessions.sqlite", bounds(settings()))
    agent.health._store = broken
    assert await agent.status() == 200, "nobody has used it yet"
    with pytest.raises(Unavailable):
        await broken.knows("u")
    response = await _get(agent.health, "/status")
    assert (response.status_code, response.json()["stores"]) == (503, {"sessions": "down"})
    (tmp_path / "file").unlink()
    assert [await agent.status(), await agent.status()] == [503, 200], "it looks for itself"


async def test_hardened_one_is_ready_again_although_no_caller_is_sent_to_it() -> None:
    agent = await _begun()
    agent.breaks("openai")
    agent.api.failure = httpx2.ReadError("")
    assert [await agent.status(), agent.api.asked] == [503, 0], "an upstream that is given a rest is not asked"
    agent.clock.time += 0.6
    assert [await agent.status(), agent.api.asked] == [503, 1]
    assert [await agent.status(), agent.api.asked] == [503, 1]
    agent.api.failure = None
    agent.clock.time += 0.6
    assert [await agent.status(), agent.api.asked] == [503, 2], "what it did not know yet, it does not say"
    assert [await agent.status(), agent.api.asked] == [200, 2]
    assert agent.log.events.count("upstream_failed") == 1


async def test_hardened_one_looks_once_at_a_time_however_many_ask() -> None:
    agent, going_on = await _begun(), asyncio.Event()
    looks = 0

    async def warm_up() -> None:
        nonlocal looks
        looks += 1
        await going_on.wait()
        agent.engine.failure = None

    agent.engine.failure = Unavailable("openai", "down", never_arrived=True)
    agent.engine.warm_up = warm_up  # type: ignore[method-assign]
    for _ in range(20):
        assert (await _get(agent.health, "/status")).status_code == 503, "at once, whatever the look takes"
        await asyncio.sleep(0)
    assert looks == 1
    going_on.set()
    await agent.status()
    assert await agent.status() == 200


async def test_a_bug_on_the_way_is_noticed() -> None:
    agent = await _begun()
    agent.breaks("openai")
    agent.api.failure = KeyError("a mistake of ours")
    agent.clock.time += 0.6
    assert await agent.status() == 503
    assert agent.log.events == ["bug:status_not_found_out"]
