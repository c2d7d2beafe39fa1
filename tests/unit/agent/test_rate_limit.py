"""Who gets a turn when not everybody can?"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis
from agent_stage import HeldClock, KeptLog, settings

from reference_agent.clock import Clock, LoopClock
from reference_agent.errors import Refused
from reference_agent.loop_lag import LoopLag
from reference_agent.parts.rate_limit import DocumentedRateLimit, HardenedRateLimit, ProposedRateLimit, Standing
from reference_agent.settings import Settings
from reference_agent.shared_limits import Limit, NoSharedLimits, RedisLimits, SharedLimits


class Lag:
    """An event loop that is as late as a test says."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def seconds(self) -> float:
        return self._seconds


def _limit(given: Settings, clock: HeldClock, lag: Lag, shared: SharedLimits | None = None) -> HardenedRateLimit:
    return HardenedRateLimit(given, clock, lag, shared or NoSharedLimits())  # type: ignore[arg-type]


async def test_documented_one_lets_everybody_in() -> None:
    limit = DocumentedRateLimit()
    async with AsyncExitStack() as turns:
        for i in range(1000):
            await turns.enter_async_context(limit.admit(f"attacker_{i}", "newcomer"))


async def test_a_new_id_per_request_meets_the_newcomers_limit_and_no_memory_grows() -> None:
    clock = HeldClock()
    limit = _limit(settings(newcomers_per_s=10, newcomer_burst=5), clock, Lag())
    refusals: list[Refused] = []
    for i in range(1000):
        try:
            async with limit.admit(f"attacker_{i}", "newcomer"):
                pass
        except Refused as refused:
            refusals.append(refused)
    assert len(refusals) == 995
    assert {(refusal.status, refusal.retry_after_s) for refusal in refusals} == {(429, 0.1)}
    assert (len(limit._own["user"]), len(limit._own["address"])) == (0, 0)


async def _let_in(limit: HardenedRateLimit, times: int, *, new: bool, address: str) -> tuple[int, list[Refused]]:
    """Let somebody else come each time; return how many were let in, and the refusals."""
    refusals: list[Refused] = []
    for i in range(times):
        try:
            async with limit.admit(f"{address}_{i}", "newcomer" if new else "returning", address):
                pass
        except Refused as refused:
            refusals.append(refused)
    return times - len(refusals), refusals


async def test_one_address_that_makes_up_ids_does_not_keep_the_newcomers_of_others_out() -> None:
    limit = _limit(
        settings(newcomers_per_s=10, newcomer_burst=30, address_newcomers_per_s=2, address_newcomer_burst=5),
        HeldClock(),
        Lag(),
    )
    let_in, refusals = await _let_in(limit, 1000, new=True, address="203.0.113.9")
    assert let_in == 5
    assert {(refusal.code, refusal.retry_after_s) for refusal in refusals} == {("rate_limited", 0.5)}
    assert (await _let_in(limit, 5, new=False, address="203.0.113.9"))[0] == 5, (
        "nor those who are known, behind the same one"
    )
    assert (await _let_in(limit, 5, new=True, address="198.51.100.1"))[0] == 5
    assert (await _let_in(limit, 100, new=True, address=""))[0] == 20, "what is left of everybody's"


async def test_one_address_cannot_spend_everything_with_ids_that_are_known() -> None:
    clock = HeldClock()
    limit = _limit(settings(address_turns_per_s=4, address_burst=8), clock, Lag())
    assert (await _let_in(limit, 100, new=False, address="203.0.113.9"))[0] == 8
    assert (await _let_in(limit, 5, new=False, address="198.51.100.1"))[0] == 5
    clock.time += 1
    assert (await _let_in(limit, 100, new=False, address="203.0.113.9"))[0] == 4


async def test_a_call_from_this_machine_is_no_address_of_anybodys() -> None:
    limit = _limit(settings(address_burst=1, address_newcomer_burst=1), HeldClock(), Lag())
    assert (await _let_in(limit, 1000, new=False, address=""))[0] == 1000
    assert len(limit._own["address"]) == 0


async def test_no_flood_of_addresses_or_users_makes_the_limiter_grow() -> None:
    limit = _limit(
        settings(newcomers_per_s=1e6, newcomer_burst=10**6, turns_per_s=1e6, turn_burst=10**6), HeldClock(), Lag()
    )
    for i in range(12_000):
        for standing in ("newcomer", "returning"):
            async with limit.admit(f"u{i}", standing, f"2001:db8:{i:x}::/64"):  # type: ignore[arg-type]
                pass
    assert (len(limit._own["user"]), len(limit._own["address"]), len(limit._own["newcomers_of"])) == (
        10_000,
        10_000,
        10_000,
    )


async def test_a_flood_of_newcomers_takes_nothing_from_those_who_are_known() -> None:
    limit = _limit(settings(max_turns=10, newcomer_turns=4), HeldClock(), Lag())
    async with AsyncExitStack() as turns:
        for i in range(4):
            await turns.enter_async_context(limit.admit(f"attacker_{i}", "newcomer"))
        with pytest.raises(Refused):
            await turns.enter_async_context(limit.admit("attacker_5", "newcomer"))
        for i in range(6):
            await turns.enter_async_context(limit.admit(f"known_{i}", "returning"))
        with pytest.raises(Refused):
            await turns.enter_async_context(limit.admit("known_7", "returning"))
    async with limit.admit("attacker_5", "newcomer"):
        pass


async def test_one_user_cannot_spend_everything() -> None:
    clock = HeldClock()
    limit = _limit(settings(user_turns_per_s=2, user_burst=3), clock, Lag())

    async def turn() -> None:
        async with limit.admit("u", "returning"):
            pass

    for _ in range(3):
        await turn()
    with pytest.raises(Refused) as refused:
        await turn()
    assert refused.value.retry_after_s == pytest.approx(0.5)
    clock.time += 0.5
    await turn()


async def test_proposed_one_limits_a_user_and_keeps_a_list_of_every_id() -> None:
    limit = ProposedRateLimit(HeldClock())
    for _ in range(10):
        limit.admit("u", "returning")
    with pytest.raises(Refused):
        limit.admit("u", "returning")
    for i in range(1000):
        limit.admit(f"attacker_{i}", "newcomer")
    assert len(limit._requests) == 1001


@pytest.mark.parametrize(("late_s", "places"), [(0.0, 20), (0.09, 20), (0.2, 10), (1.0, 2), (60.0, 2)])
async def test_when_the_loop_is_late_newcomers_have_fewer_places_and_others_all(late_s: float, places: int) -> None:
    limit = _limit(settings(max_turns=30, newcomer_turns=20), HeldClock(), Lag(late_s))
    async with AsyncExitStack() as turns:
        for i in range(places):
            await turns.enter_async_context(limit.admit(f"attacker_{i}", "newcomer"))
        with pytest.raises(Refused):
            await turns.enter_async_context(limit.admit("attacker", "newcomer"))
        for i in range(30 - places):
            await turns.enter_async_context(limit.admit(f"known_{i}", "returning"))


async def test_a_loop_that_is_held_is_late() -> None:
    lag = LoopLag()
    assert lag.seconds() == 0
    await asyncio.sleep(0.11)
    time.sleep(0.2)  # noqa: ASYNC251 - the loop is to be held
    await asyncio.sleep(0.02)
    assert lag.seconds() > 0.05


async def test_everybody_together_has_a_limit_too() -> None:
    limit = _limit(settings(turns_per_s=10, turn_burst=20), HeldClock(), Lag())
    assert (await _let_in(limit, 100, new=False, address=""))[0] == 20


# --- replicas that share a Redis ---

_SLOW = {"user_turns_per_s": 0.01, "newcomers_per_s": 0.01, "turns_per_s": 0.01}
"""So that nothing comes back while a test lasts, however busy the machine is."""


_ANSWER_S = 3.0
"""As patient as a busy machine needs; what is tested is what happens when a Redis does not answer, not how soon."""


def _replicas(url: str, log: KeptLog, clock: Clock, **given: Any) -> list[HardenedRateLimit]:
    return [_limit(settings(**_SLOW, **given), clock, Lag(), RedisLimits(url, clock, log, _ANSWER_S)) for _ in range(2)]


async def _turns_of(limits: list[HardenedRateLimit], user: str, standing: Standing, times: int) -> list[Refused]:
    """Ask at each replica in turn, all at once; return the refusals."""

    async def turn(limit: HardenedRateLimit) -> None:
        async with limit.admit(user, standing):
            pass

    asked = [turn(limits[i % len(limits)]) for i in range(times)]
    came = await asyncio.gather(*asked, return_exceptions=True)
    assert all(one is None or isinstance(one, Refused) for one in came)
    return [one for one in came if isinstance(one, Refused)]


@pytest.mark.parametrize(
    ("standing", "given"),
    [("returning", {"user_burst": 8}), ("newcomer", {"newcomer_burst": 8}), ("returning", {"turn_burst": 8})],
)
async def test_a_limit_holds_over_replicas(redis_url: str, standing: Standing, given: dict[str, int]) -> None:
    limits = _replicas(redis_url, KeptLog(), LoopClock(), **given)
    refusals = await _turns_of(limits, "u", standing, 14)
    assert len(refusals) == 14 - 8, "each alone would have let all of them in"
    assert {refusal.code for refusal in refusals} == {"rate_limited"}
    assert all(0 < (refusal.retry_after_s or 0) <= 100 for refusal in refusals)
    assert {limit.counting() for limit in limits} == {"shared"}
    for limit in limits:
        await limit._shared.close()


async def test_what_is_kept_of_limits_goes_by_itself_and_what_is_refused_takes_nothing(redis_url: str) -> None:
    shared = RedisLimits(redis_url, LoopClock(), KeptLog(), _ANSWER_S)
    narrow, wide = Limit("narrow", 0.01, 1), Limit("wide", 0.01, 2)
    assert await shared.wait_s([narrow, wide]) == 0
    assert 0 < await shared.wait_s([narrow, wide]) <= 100
    assert await shared.wait_s([wide]) == 0, "the refusal took none of these"
    with redis.Redis.from_url(redis_url) as client:
        keys = client.keys("*")
        assert len(keys) == 2
        assert all(0 < client.pttl(key) <= 200_001 for key in keys)
    assert await shared.wait_s([Limit("fast", 1000, 1)]) == 0
    while await shared.wait_s([Limit("fast", 1000, 1)]):
        pass  # a token comes back each millisecond
    await shared.close()


async def test_what_a_process_refuses_by_its_own_count_does_not_reach_redis(redis_url: str) -> None:
    limit = _replicas(redis_url, KeptLog(), LoopClock(), newcomer_burst=5)[0]
    with redis.Redis.from_url(redis_url) as client:
        assert not await _turns_of([limit], "u", "newcomer", 5)
        (key,) = client.keys("*newcomers*")
        before = client.get(key)
        client.delete(key)
        assert len(await _turns_of([limit], "u", "newcomer", 100)) == 100
        assert before
        assert client.keys("*newcomers*") == []
    await limit._shared.close()


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_without_redis_each_counts_for_itself_until_it_is_back(own_redis: Any, fault: str) -> None:
    clock, log = HeldClock(), KeptLog()
    limits = _replicas(own_redis.url, log, clock, user_burst=8)
    assert not await _turns_of(limits, "u", "returning", 4)
    getattr(own_redis, fault)()
    assert len(await _turns_of(limits, "somebody", "returning", 40)) == 40 - 2 * 8
    assert {limit.counting() for limit in limits} == {"own_for_now"}
    asked = log.events.count("limits_not_shared")
    assert not await _turns_of(limits, "another", "returning", 8)
    assert log.events.count("limits_not_shared") == asked, "who is down is not asked for each turn"
    if fault == "kill":
        assert own_redis.start()
    else:
        own_redis.resume()
    clock.time += 2
    for limit in limits:
        assert not await _turns_of([limit], "a third one", "returning", 1)
    assert {limit.counting() for limit in limits} == {"shared"}
    assert len(await _turns_of(limits, "a third one", "returning", 10)) == 4
    for limit in limits:
        await limit._shared.close()
