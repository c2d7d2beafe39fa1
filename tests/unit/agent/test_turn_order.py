"""Can two turns of one user be under way at once?"""

from __future__ import annotations

import asyncio

import pytest
from agent_stage import HeldClock, settings

from reference_agent.errors import OutOfTime, Refused
from reference_agent.parts.turn_order import DocumentedTurnOrder, HardenedTurnOrder


async def _most_at_once(order: DocumentedTurnOrder | HardenedTurnOrder, users: list[str]) -> tuple[int, list[int]]:
    at_once, most, came = 0, 0, []

    async def turn(number: int, user: str) -> None:
        nonlocal at_once, most
        async with order.turn_of(user, HeldClock().deadline()):
            came.append(number)
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(turn(i, user) for i, user in enumerate(users)))
    return most, came


async def test_documented_one_lets_turns_of_one_user_meet() -> None:
    assert (await _most_at_once(DocumentedTurnOrder(), ["u", "u"]))[0] == 2


async def test_hardened_one_takes_them_one_after_the_other_in_order() -> None:
    order = HardenedTurnOrder(settings())
    assert await _most_at_once(order, ["u", "u", "u"]) == (1, [0, 1, 2])
    assert not order._lines


async def test_hardened_one_lets_different_users_meet() -> None:
    assert (await _most_at_once(HardenedTurnOrder(settings()), ["a", "b"]))[0] == 2


async def test_few_may_wait_and_not_for_ever() -> None:
    order = HardenedTurnOrder(settings(waiting_turns=1))
    clock = HeldClock()
    async with order.turn_of("u", clock.deadline()):
        with pytest.raises(OutOfTime):
            async with order.turn_of("u", clock.deadline(0)):
                pass
        waiting = asyncio.create_task(order.turn_of("u", clock.deadline()).__aenter__())
        await asyncio.sleep(0)
        with pytest.raises(Refused):
            async with order.turn_of("u", clock.deadline()):
                pass
        waiting.cancel()
        await asyncio.wait({waiting})
    assert not order._lines
