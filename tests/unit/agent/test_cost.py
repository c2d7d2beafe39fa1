"""Is what was spent known to the cent, and does a budget stop it?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from agent_stage import HeldClock, KeptLog, settings

from reference_agent.conversation import Usage
from reference_agent.errors import Refused, Unavailable
from reference_agent.loop_lag import LoopLag
from reference_agent.parts.breaker import DocumentedBreaker
from reference_agent.parts.cost import DocumentedCost, HardenedCost
from reference_agent.parts.metrics import DocumentedMetrics, HardenedMetrics
from reference_agent.parts.sessions import bounds
from reference_agent.session_store import SqliteSessionStore

_TURN = Usage("gpt-4o", 900, 100)  # 3 cents


def _hardened(clock: HeldClock, **given: float | str) -> tuple[HardenedCost, SqliteSessionStore]:
    chosen = settings(**given)
    store = SqliteSessionStore(None, bounds(chosen))
    return HardenedCost(chosen, clock, store, KeptLog(), DocumentedMetrics()), store


async def test_documented_one_knows_nothing_and_stops_nothing() -> None:
    cost, turns = DocumentedCost(), 0
    for _ in range(1000):
        await cost.allow("u")
        await cost.thought("u", _TURN)
        await cost.spoke("u", 1000)
        turns += 1
    assert turns == 1000, "30 dollars and more, and nobody was refused"
    assert vars(cost) == {}, "nothing was written down"


async def test_hardened_one_books_by_user_and_day() -> None:
    clock = HeldClock()
    cost, store = _hardened(clock)
    await cost.thought("u", _TURN)
    await cost.thought("u", _TURN)
    await cost.spoke("u", 40)
    await cost.thought("v", _TURN)
    assert await store.spent(0, "u") == pytest.approx((0.0606, 0.0906, 0))
    assert await store.spent(1, "u") == (0, 0, 0)
    await store.close()


async def test_a_model_costs_what_its_price_says_also_as_a_snapshot_and_others_the_usual() -> None:
    cost, store = _hardened(HeldClock(), prices="gpt-4o=0.01/0.04, gpt-4o-mini = 0.001")
    for model in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "o9"):
        await cost.thought(model, Usage(model, 900, 100))
    spent = [(await store.spent(0, user))[0] for user in ("gpt-4o", "gpt-4o-2024-08-06", "gpt-4o-mini", "o9")]
    assert spent == pytest.approx([0.013, 0.013, 0.001, 0.03])
    await store.close()


async def test_an_estimate_is_spent_like_anything_else_and_a_figure_of_its_own() -> None:
    clock, store = HeldClock(), SqliteSessionStore(None, bounds(settings()))
    metrics = HardenedMetrics(clock, DocumentedBreaker(), LoopLag())
    cost = HardenedCost(settings(prices="gpt-4o=0.03"), clock, store, KeptLog(), metrics)
    await cost.thought("u", _TURN)
    assert 'agent_spend_estimated_usd_total{of="gpt-4o"} 0' in metrics.text().splitlines()
    await cost.thought("u", replace(_TURN, is_estimate=True))
    assert await store.spent(0, "u") == pytest.approx((0.06, 0.06, 0))
    figures = dict(line.rsplit(" ", 1) for line in metrics.text().splitlines() if not line.startswith("#"))
    assert float(figures['agent_spend_usd_total{of="gpt-4o"}']) == pytest.approx(0.06)
    assert float(figures['agent_spend_estimated_usd_total{of="gpt-4o"}']) == pytest.approx(0.03)
    kinds = await store._file.do(lambda db: db.execute("SELECT model, usd FROM spend ORDER BY model").fetchall())
    assert kinds == [("gpt-4o", pytest.approx(0.03)), ("gpt-4o (estimated)", pytest.approx(0.03))]
    await store.close()


class StoreThatIsDown(SqliteSessionStore):
    """A store that can be broken."""

    failure: Unavailable | None = None

    async def spend(self, *booking: Any) -> None:
        if self.failure:
            raise self.failure
        await super().spend(*booking)


@pytest.mark.parametrize(("never_arrived", "spent_usd"), [(True, 0.0306), (False, 0.0)])
async def test_an_answer_outlives_the_store_and_is_booked_once_it_is_back(
    never_arrived: bool, spent_usd: float
) -> None:
    clock, log = HeldClock(), KeptLog()
    store = StoreThatIsDown(None, bounds(settings()))
    cost = HardenedCost(settings(), clock, store, log, DocumentedMetrics())
    store.failure = Unavailable("sessions", "down", never_arrived=never_arrived)
    await cost.thought("u", _TURN)
    await cost.spoke("u", 40)
    assert log.events == ["spend_not_booked"] * 2
    await cost.allow("v")
    assert await store.spent(0, "u") == (0, 0, 0), "tried once more, and still down"
    store.failure = None
    for _ in range(2):
        await cost.allow("v")
        assert await store.spent(0, "u") == pytest.approx((spent_usd, spent_usd, 0)), "never twice"
    await store.close()


async def test_a_spent_budget_refuses_its_user_until_tomorrow() -> None:
    clock = HeldClock()
    cost, store = _hardened(clock, user_budget_usd=0.05)
    for _ in range(2):
        await cost.allow("u")
        await cost.thought("u", _TURN)
    with pytest.raises(Refused) as refused:
        await cost.allow("u")
    assert (refused.value.status, refused.value.code) == (429, "user_budget_spent")
    assert refused.value.retry_after_s == pytest.approx(86400 - clock.time)
    await cost.allow("v")
    clock.time += 86400
    await cost.allow("u")
    await store.close()


async def test_a_spent_budget_refuses_everybody() -> None:
    cost, store = _hardened(HeldClock(), budget_usd=0.05)
    for i in range(2):
        await cost.thought(f"attacker_{i}", _TURN)
    with pytest.raises(Refused) as refused:
        await cost.allow("u")
    assert refused.value.code == "budget_spent"
    await store.close()


async def test_what_is_booked_after_an_erasure_is_nobodys_and_of_the_budget_all_the_same() -> None:
    clock = HeldClock()
    chosen = settings(user_budget_usd=0.05)
    store = StoreThatIsDown(None, bounds(chosen))
    cost = HardenedCost(chosen, clock, store, KeptLog(), DocumentedMetrics())

    async def booked_on() -> list[str]:
        spenders = "SELECT DISTINCT user_id FROM spend"
        return await store._file.do(lambda db: [row[0] for row in db.execute(spenders)])

    await cost.allow("u")
    await cost.thought("u", _TURN)
    assert await booked_on() == ["u"]
    store.failure = Unavailable("sessions", "down", never_arrived=True)
    await cost.spoke("u", 40)
    store.failure = None
    await store.forget_spender("u", 0)
    clock.time = 86400.0  # and midnight passes
    await cost.spoke("u", 40)
    await cost.allow("v")  # books what is late
    assert await booked_on() == [""]
    clock.time = 0.0
    await cost.allow("u")
    await cost.thought("u", _TURN)
    assert sorted(await booked_on()) == ["", "u"], "who comes back is somebody again"
    for _ in range(3):
        await store.forget_spender("u", 0)
        with pytest.raises(Refused) as refused:
            await cost.allow("u")
        assert refused.value.code == "user_budget_spent", "an erasure is no new budget"
    await store.close()
