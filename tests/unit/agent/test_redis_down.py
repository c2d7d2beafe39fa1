"""What does the agent make of a Redis that is dead, or stands still, or comes back?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_stage import CountedEngine, KeptLog, conversations_of, settings

from reference_agent.clock import Deadline, LoopClock
from reference_agent.compose import Composition
from reference_agent.errors import Unavailable
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.sessions import HardenedSessions, bounds
from reference_agent.parts.turn_order import HardenedTurnOrder
from reference_agent.redis_link import RedisLink
from reference_agent.redis_session_store import RedisSessionStore
from reference_agent.session_store import SessionStore, open_session_store


def store_at(url: str) -> SessionStore:
    return open_session_store(url, bounds(settings()))


async def every_deed(store: SessionStore) -> list[Any]:
    """Try everything that a store can do, at once; return what came of each."""
    return await asyncio.gather(
        store.knows("u"),
        store.claim("u", 1, 2),
        store.created("u", "c"),
        store.not_created("u", 1),
        store.ended("u", 1, had_a_turn=True),
        store.condemn("u", 1),
        store.forget("c"),
        store.expire(1),
        store.begin_turn("u", "h", 1, 2),
        store.keep_turn("u", "h", 1, 2),
        store.end_turn("u", "h"),
        store.messages("c", 1),
        store.add_messages("c", [("user", "x")]),
        store.delete_messages("c"),
        store.spend(1, "u", "m", 1, 1, 1, 0.1),
        store.spent(1, "u"),
        store.forget_spender("u", 1),
        return_exceptions=True,
    )


async def test_one_that_is_dead_is_an_upstream_that_is_down_until_it_is_back(own_redis: Any) -> None:
    store = store_at(own_redis.url)
    assert not await store.knows("u")
    own_redis.kill()
    outcomes = await every_deed(store)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert {outcome.upstream for outcome in outcomes} == {"sessions"}
    with pytest.raises(Unavailable, match="Error 111 connecting"):
        await store.knows("u")
    assert own_redis.start()
    # A fresh process knows none of the scripts.
    assert [outcome for outcome in await every_deed(store) if isinstance(outcome, BaseException)] == []
    await store.close()


async def test_one_that_stands_still_is_given_up_in_time_and_goes_on(own_redis: Any) -> None:
    store = store_at(own_redis.url)
    assert not await store.knows("u")
    own_redis.pause()
    outcomes = await every_deed(store)
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    assert not any(outcome.never_arrived for outcome in outcomes), "it may do all of it when it goes on"
    own_redis.resume()
    assert not await store.knows("somebody else")
    await store.close()


async def test_limits_that_nobody_can_ask_for_are_not_called_shared(own_redis: Any) -> None:
    """No turn finds out: without its sessions, none gets as far as the limits."""
    composition = Composition(settings(profile="hardened", engine="chat", session_store=own_redis.url), {})
    health, limit = composition.get("health"), composition.get("rate_limit")
    assert limit.counting() == "shared"
    own_redis.pause()
    with pytest.raises(Unavailable):
        await composition.get("sessions").standing("u")
    await health.look()
    assert health.status()["limits"] == "own_for_now"
    own_redis.resume()
    await composition.close()


async def test_what_redis_says_of_a_script_is_not_repeated_as_it_may_quote_what_it_was_given(redis_url: str) -> None:
    link = RedisLink(redis_url, "words", 5.0)
    with pytest.raises(Unavailable) as refused:
        await link.script("return redis.error_reply('ERR no ' .. ARGV[1])")(["tama@example.com"])
    assert refused.value.reason == link.trouble == "ResponseError"
    await link.close()


async def test_what_a_caller_began_is_finished_though_the_caller_leaves(redis_url: str) -> None:
    store = store_at(redis_url)
    spending = asyncio.create_task(store.spend(1, "u", "m", 1, 1, 1, 0.5))
    await asyncio.sleep(0)  # it has begun
    spending.cancel()
    await asyncio.wait({spending})
    assert spending.cancelled()
    async with asyncio.timeout(20):
        while await store.spent(1, "u") != (0.5, 0.5, 0):  # noqa: ASYNC110 - it is Redis that is waited for
            await asyncio.sleep(0.01)
    await store.close()


async def test_a_turn_without_a_store_fails_with_its_reason(own_redis: Any) -> None:
    chosen, clock, engine = settings(), LoopClock(), CountedEngine()
    store = store_at(own_redis.url)
    order = HardenedTurnOrder(chosen, clock, store, DocumentedMetrics())
    sessions = HardenedSessions(chosen, clock, conversations_of(engine), store, KeptLog())
    own_redis.kill()

    async def turn() -> None:
        async with order.turn_of("u", Deadline.after(clock, 5)), sessions.lease("u", Deadline.after(clock, 5)):
            pytest.fail("there is no store to order turns with")

    for attempt in (turn(), sessions.standing("u"), sessions.keep_house_once()):
        with pytest.raises(Unavailable, match="sessions"):
            await attempt
    assert engine.created == 0
    assert not order._lines
    await store.close()


@pytest.mark.parametrize("url", ["redis://localhost:port/0", "redis://[::1/0"])
def test_an_address_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RedisSessionStore(url, bounds(settings()))
