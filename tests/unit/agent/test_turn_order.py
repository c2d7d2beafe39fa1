"""Can two turns of one user be under way at once?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_stage import HeldClock, settings

from reference_agent.clock import Deadline, LoopClock
from reference_agent.errors import OutOfTime, Refused, Unavailable
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.sessions import bounds
from reference_agent.parts.turn_order import DocumentedTurnOrder, HardenedTurnOrder
from reference_agent.session_store import SqliteSessionStore


def _hardened(
    store: SqliteSessionStore | None = None, metrics: DocumentedMetrics | None = None, **given: Any
) -> HardenedTurnOrder:
    chosen = settings(**given)
    return HardenedTurnOrder(
        chosen, LoopClock(), store or SqliteSessionStore(None, bounds(chosen)), metrics or DocumentedMetrics()
    )


async def _most_at_once(order: DocumentedTurnOrder | HardenedTurnOrder, users: list[str]) -> tuple[int, list[int]]:
    at_once, most, came = 0, 0, []

    async def turn(number: int, user: str) -> None:
        nonlocal at_once, most
        async with order.turn_of(user, Deadline.after(LoopClock(), 10)):
            came.append(number)
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1

    await asyncio.gather(*(turn(i, user) for i, user in enumerate(users)))
    return most, came


async def test_documented_one_lets_turns_of_one_user_meet() -> None:
    assert (await _most_at_once(DocumentedTurnOrder(), ["u", "u"]))[0] == 2


async def test_hardened_one_takes_them_one_after_the_other_in_order() -> None:
    order = _hardened()
    assert await _most_at_once(order, ["u", "u", "u"]) == (1, [0, 1, 2])
    assert not order._lines


async def test_an_operator_sees_how_many_wait() -> None:
    class Watching(DocumentedMetrics):
        def watch(self, what: str, read: Callable[[], float]) -> None:
            self.what, self.read = what, read

    metrics = Watching()
    order = _hardened(metrics=metrics)
    seen: list[float] = []

    async def turn() -> None:
        async with order.turn_of("u", Deadline.after(LoopClock(), 10)):
            await asyncio.sleep(0)
            seen.append(metrics.read())

    await asyncio.gather(*(turn() for _ in range(3)))
    assert (metrics.what, seen, metrics.read()) == ("turns_waiting", [2, 1, 0], 0)


async def test_hardened_one_lets_different_users_meet() -> None:
    order, together = _hardened(), asyncio.Barrier(2)

    async def turn(user: str) -> None:
        async with order.turn_of(user, Deadline.after(LoopClock(), 10)):
            await together.wait()

    async with asyncio.timeout(10):
        await asyncio.gather(turn("a"), turn("b"))


async def test_few_may_wait_and_not_for_ever() -> None:
    order = _hardened(waiting_turns=1)
    clock = HeldClock()
    async with order.turn_of("u", clock.deadline()):
        with pytest.raises(OutOfTime):
            async with order.turn_of("u", clock.deadline(0)):
                pass
        waiting = asyncio.create_task(order.turn_of("u", clock.deadline()).__aenter__())
        await asyncio.sleep(0)  # it stands in line
        with pytest.raises(Refused):
            async with order.turn_of("u", clock.deadline()):
                pass
        waiting.cancel()
        await asyncio.wait({waiting})
    assert not order._lines


async def test_replicas_take_turns_of_one_user_one_after_the_other(tmp_path: Path) -> None:
    stores = [SqliteSessionStore(tmp_path / "sessions.sqlite", bounds(settings())) for _ in range(2)]
    replicas = [_hardened(store) for store in stores]
    at_once, most = 0, 0

    async def turn(replica: HardenedTurnOrder) -> None:
        nonlocal at_once, most
        async with replica.turn_of("u", Deadline.after(LoopClock(), 10)):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1

    await asyncio.gather(*(turn(replica) for replica in replicas * 2))
    assert most == 1
    for store in stores:
        await store.close()


async def test_replicas_that_start_in_the_same_moment_all_get_the_store(tmp_path: Path) -> None:
    for attempt in range(10):
        stores = [SqliteSessionStore(tmp_path / f"{attempt}.sqlite", bounds(settings())) for _ in range(6)]
        begun = await asyncio.gather(*(store.begin_turn(f"u{n}", "r", 100.0, 105.0) for n, store in enumerate(stores)))
        assert all(begun)
        for store in stores:
            await store.close()


async def test_a_turn_outlasts_its_lease_as_long_as_its_process_lives() -> None:
    store = SqliteSessionStore(None, bounds(settings()))
    order = _hardened(store)
    async with order.turn_of("u", Deadline.after(LoopClock(), 30)):
        end_s = time.monotonic() + 2.0  # a lease is 1.5 s
        while time.monotonic() < end_s:
            assert not await store.begin_turn("u", "other", time.time(), time.time() + 60)
            await asyncio.sleep(0.05)
    assert await store.begin_turn("u", "other", time.time(), time.time() + 60), "it is given back at once"
    await store.close()


async def test_a_process_that_stood_still_has_lost_its_turn_and_ends_it() -> None:
    store = SqliteSessionStore(None, bounds(settings()))
    order = _hardened(store)

    async def long_turn() -> None:
        async with order.turn_of("u", Deadline.after(LoopClock(), 30)), asyncio.timeout(20):
            # What another replica sees when this one has not renewed its lease for long.
            assert await store.begin_turn("u", "other", time.time() + 60, time.time() + 120)
            await asyncio.Event().wait()

    with pytest.raises(OutOfTime, match="lost to somebody else"):
        await long_turn()
    assert not await store.begin_turn("u", "third", time.time(), time.time() + 60), "the other one's turn goes on"
    assert not order._lines
    await store.close()


async def test_a_turn_that_was_never_had_is_given_back_too() -> None:
    asked = asyncio.Event()

    class Asked(SqliteSessionStore):
        async def begin_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
            try:
                return await super().begin_turn(user_id, holder, now, until)
            finally:
                asked.set()

    store = Asked(None, bounds(settings()))
    order = _hardened(store)
    assert await store.begin_turn("u", "other", time.time(), time.time() + 60)
    asked.clear()
    waiting = asyncio.create_task(order.turn_of("u", Deadline.after(LoopClock(), 30)).__aenter__())
    await asked.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    await store.end_turn("u", "other")
    assert await store.begin_turn("u", "next", time.time(), time.time() + 60), "nobody is in line before it"
    await store.close()


async def test_a_store_that_goes_down_in_a_turn_does_not_undo_it() -> None:
    class Down(SqliteSessionStore):
        async def end_turn(self, user_id: str, holder: str) -> None:
            raise Unavailable("sessions", "down", never_arrived=True)

    store = Down(None, bounds(settings()))
    order = _hardened(store)
    async with order.turn_of("u", Deadline.after(LoopClock(), 30)):
        pass
    assert not order._lines
    await store.close()
