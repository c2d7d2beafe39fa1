"""Does a run end when nobody waits for it any more?"""

from __future__ import annotations

import asyncio

import pytest
from agent_stage import HeldClock, KeptLog, ScriptedGeneration, asks

from reference_agent.conversation import Replied
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.polling import DocumentedPolling, HardenedPolling


async def test_documented_one_polls_once_a_second_without_end() -> None:
    """The hole: an hour after the deadline it is still polling."""
    clock = HeldClock()
    deadline = clock.deadline(5)

    async def look() -> float:
        return clock.now()

    await DocumentedPolling(clock).until(look, lambda now: now > deadline.at + 3600, deadline)
    assert set(clock.slept) == {1}


async def test_documented_one_leaves_the_run_open() -> None:
    generation = ScriptedGeneration([asks("a")])
    with pytest.raises(ZeroDivisionError):
        async with DocumentedPolling(HeldClock()).watching(generation):
            raise ZeroDivisionError
    assert generation.ended == 0


async def test_hardened_one_backs_off_and_gives_up_at_the_deadline() -> None:
    clock = HeldClock()
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1

    begin = clock.now()
    with pytest.raises(OutOfTime):
        await HardenedPolling(clock, KeptLog()).until(look, lambda _: False, clock.deadline(4))
    assert clock.now() - begin == pytest.approx(4)
    assert clock.slept[0] < clock.slept[3] < clock.slept[6]
    assert looks < 20


@pytest.mark.parametrize("leave", [ZeroDivisionError, asyncio.CancelledError, None])
async def test_hardened_one_ends_the_run_on_every_way_out(leave: type[BaseException] | None) -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    try:
        async with polling.watching(generation):
            if leave is not None:
                raise leave
    except (ZeroDivisionError, asyncio.CancelledError):
        pass
    await polling.close()
    assert generation.ended == 1
    assert not generation.is_open()


async def test_hardened_one_leaves_an_ended_run_alone() -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([Replied("にゃん")])
    async with polling.watching(generation):
        await generation.next()
    await polling.close()
    assert generation.ended == 0


async def test_hardened_one_keeps_trying_and_the_next_turn_waits() -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    generation.failures_of_end = [Unavailable("openai", "down", never_arrived=False) for _ in range(4)]
    async with polling.watching(generation):
        pass
    async with polling.watching(ScriptedGeneration([Replied("")])):
        assert generation.ended == 5
        assert not generation.is_open()
    await polling.close()


async def test_hardened_one_keeps_the_turn_of_who_hung_up_until_it_is_ended() -> None:
    """A next turn, on another replica above all, would meet it."""
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    generation.failures_of_end = [Unavailable("openai", "slow", never_arrived=False) for _ in range(3)]
    with pytest.raises(asyncio.CancelledError):
        async with polling.watching(generation):
            raise asyncio.CancelledError
    assert not generation.is_open()


async def test_hardened_one_says_when_nothing_is_being_ended_any_more() -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    async with polling.watching(generation):
        pass
    await polling.over_in("another conversation")
    assert generation.is_open()
    await polling.over_in(generation.conversation)
    assert not generation.is_open()
    await polling.close()


async def test_hardened_one_writes_down_what_it_cannot_explain() -> None:
    log = KeptLog()
    polling = HardenedPolling(HeldClock(), log)
    generation = ScriptedGeneration([asks("a")])
    generation.failures_of_end = [TypeError("a bug")]
    async with polling.watching(generation):
        pass
    await polling.close()
    assert log.events == ["bug:run_not_ended"]
