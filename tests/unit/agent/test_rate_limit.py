"""Who gets a turn when not everybody can?"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import pytest
from agent_stage import HeldClock, settings

from reference_agent.errors import Refused
from reference_agent.loop_lag import LoopLag
from reference_agent.parts.rate_limit import DocumentedRateLimit, HardenedRateLimit, ProposedRateLimit


class Lag:
    """An event loop that is as late as a test says."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def seconds(self) -> float:
        return self._seconds


def test_documented_one_lets_everybody_in() -> None:
    limit = DocumentedRateLimit()
    with ExitStack() as turns:
        for i in range(1000):
            turns.enter_context(limit.admit(f"attacker_{i}", "newcomer"))


def test_a_new_id_per_request_meets_the_newcomers_limit_and_no_memory_grows() -> None:
    clock = HeldClock()
    limit = HardenedRateLimit(settings(newcomers_per_s=10, newcomer_burst=5), clock, Lag())
    refusals: list[Refused] = []
    for i in range(1000):
        try:
            with limit.admit(f"attacker_{i}", "newcomer"):
                pass
        except Refused as refused:
            refusals.append(refused)
    assert len(refusals) == 995
    assert {(refusal.status, refusal.retry_after_s) for refusal in refusals} == {(429, 0.1)}
    assert (len(limit._users), len(limit._addresses)) == (0, 0)


def _let_in(limit: HardenedRateLimit, times: int, *, new: bool, address: str) -> tuple[int, list[Refused]]:
    """Let somebody else come each time; return how many were let in, and the refusals."""
    refusals: list[Refused] = []
    for i in range(times):
        try:
            with limit.admit(f"{address}_{i}", "newcomer" if new else "returning", address):
                pass
        except Refused as refused:
            refusals.append(refused)
    return times - len(refusals), refusals


def test_one_address_that_makes_up_ids_does_not_keep_the_newcomers_of_others_out() -> None:
    limit = HardenedRateLimit(
        settings(newcomers_per_s=10, newcomer_burst=30, address_newcomers_per_s=2, address_newcomer_burst=5),
        HeldClock(),
        Lag(),
    )
    let_in, refusals = _let_in(limit, 1000, new=True, address="203.0.113.9")
    assert let_in == 5
    assert {(refusal.code, refusal.retry_after_s) for refusal in refusals} == {("rate_limited", 0.5)}
    assert _let_in(limit, 5, new=False, address="203.0.113.9")[0] == 5, "nor those who are known, behind the same one"
    assert _let_in(limit, 5, new=True, address="198.51.100.1")[0] == 5
    assert _let_in(limit, 100, new=True, address="")[0] == 20, "what is left of everybody's"


def test_one_address_cannot_spend_everything_with_ids_that_are_known() -> None:
    clock = HeldClock()
    limit = HardenedRateLimit(settings(address_turns_per_s=4, address_burst=8), clock, Lag())
    assert _let_in(limit, 100, new=False, address="203.0.113.9")[0] == 8
    assert _let_in(limit, 5, new=False, address="198.51.100.1")[0] == 5
    clock.time += 1
    assert _let_in(limit, 100, new=False, address="203.0.113.9")[0] == 4


def test_a_call_from_this_machine_is_no_address_of_anybodys() -> None:
    limit = HardenedRateLimit(settings(address_burst=1, address_newcomer_burst=1), HeldClock(), Lag())
    assert _let_in(limit, 1000, new=False, address="")[0] == 1000
    assert len(limit._addresses) == 0


def test_no_flood_of_addresses_or_users_makes_the_limiter_grow() -> None:
    limit = HardenedRateLimit(settings(newcomers_per_s=1e6, newcomer_burst=10**6), HeldClock(), Lag())
    for i in range(12_000):
        for standing in ("newcomer", "returning"):
            with limit.admit(f"u{i}", standing, f"2001:db8:{i:x}::/64"):  # type: ignore[arg-type]
                pass
    assert (len(limit._users), len(limit._addresses), len(limit._newcomers_of)) == (10_000, 10_000, 10_000)


def test_a_flood_of_newcomers_takes_nothing_from_those_who_are_known() -> None:
    limit = HardenedRateLimit(settings(max_turns=10, newcomer_turns=4), HeldClock(), Lag())
    with ExitStack() as turns:
        for i in range(4):
            turns.enter_context(limit.admit(f"attacker_{i}", "newcomer"))
        with pytest.raises(Refused):
            limit.admit("attacker_5", "newcomer")
        for i in range(6):
            turns.enter_context(limit.admit(f"known_{i}", "returning"))
        with pytest.raises(Refused):
            limit.admit("known_7", "returning")
    with limit.admit("attacker_5", "newcomer"):
        pass


def test_one_user_cannot_spend_everything() -> None:
    clock = HeldClock()
    limit = HardenedRateLimit(settings(user_turns_per_s=2, user_burst=3), clock, Lag())

    def turn() -> None:
        with limit.admit("u", "returning"):
            pass

    for _ in range(3):
        turn()
    with pytest.raises(Refused) as refused:
        turn()
    assert refused.value.retry_after_s == pytest.approx(0.5)
    clock.time += 0.5
    turn()


def test_proposed_one_limits_a_user_and_keeps_a_list_of_every_id() -> None:
    limit = ProposedRateLimit(HeldClock())
    for _ in range(10):
        limit.admit("u", "returning")
    with pytest.raises(Refused):
        limit.admit("u", "returning")
    for i in range(1000):
        limit.admit(f"attacker_{i}", "newcomer")
    assert len(limit._requests) == 1001


@pytest.mark.parametrize(("late_s", "places"), [(0.0, 20), (0.09, 20), (0.2, 10), (1.0, 2), (60.0, 2)])
def test_when_the_loop_is_late_newcomers_have_fewer_places_and_others_all(late_s: float, places: int) -> None:
    limit = HardenedRateLimit(settings(max_turns=30, newcomer_turns=20), HeldClock(), Lag(late_s))
    with ExitStack() as turns:
        for i in range(places):
            turns.enter_context(limit.admit(f"attacker_{i}", "newcomer"))
        with pytest.raises(Refused):
            limit.admit("attacker", "newcomer")
        for i in range(30 - places):
            turns.enter_context(limit.admit(f"known_{i}", "returning"))


async def test_a_loop_that_is_held_is_late() -> None:
    lag = LoopLag()
    assert lag.seconds() == 0
    await asyncio.sleep(0.11)
    time.sleep(0.2)  # noqa: ASYNC251 - the loop is to be held
    await asyncio.sleep(0.02)
    assert lag.seconds() > 0.05
