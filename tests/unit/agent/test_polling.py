"""Does a run end when nobody waits for it any more?"""

from __future__ import annotations

import asyncio
import itertools

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
    assert (generation.ended, generation.heard_out, generation.written_off) == (0, [], 0)


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


class Outage:
    """An upstream that is down until it has been asked so often; its generations count what it is asked.

    Args:
        clock: shows when.
        refuses: attempts that come to nothing.
    """

    def __init__(self, clock: HeldClock, refuses: int) -> None:
        self.clock = clock
        self.refuses = refuses
        self.asked_at: list[float] = []
        self.under_way = 0
        self.most_at_once = 0

    def generation(self, number: int) -> ScriptedGeneration:
        """Return one that is open, and can be ended when the outage is over."""
        generation = ScriptedGeneration([asks("a")], f"c{number}")

        async def end() -> None:
            self.asked_at.append(self.clock.now())
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            if len(self.asked_at) <= self.refuses:
                raise Unavailable("openai", "down", never_arrived=False)
            generation._open = False

        generation.end = end  # type: ignore[method-assign]
        return generation


async def test_hardened_one_is_no_storm_however_many_runs_are_open_in_an_outage() -> None:
    """A hundred runs that cannot be ended are asked for about as often as one."""
    runs, repeats = 100, 200
    clock = HeldClock()
    outage = Outage(clock, refuses=runs + repeats)
    polling = HardenedPolling(clock, KeptLog())
    generations = [outage.generation(number) for number in range(runs)]
    for generation in generations:
        async with polling.watching(generation):
            pass
    await asyncio.wait(set(polling._endings.values()), timeout=20)
    assert not any(generation.is_open() for generation in generations), "all of them, once it is over"
    at = outage.asked_at
    of_outage = [later - earlier for earlier, later in itertools.pairwise(at[runs : runs + repeats])]
    assert all(pause_s >= 0.1 for pause_s in of_outage), "one at a time, whoever it is for"
    assert sorted(of_outage)[len(of_outage) // 2] == pytest.approx(0.5)
    assert len(at) == runs + repeats + runs, "one that succeeds is enough for each"
    assert clock.now() - at[runs + repeats] == pytest.approx(0), "and then nobody waits for a clock"


async def test_hardened_one_ends_few_at_once_when_the_outage_is_over() -> None:
    clock = HeldClock()
    outage = Outage(clock, refuses=110)
    polling = HardenedPolling(clock, KeptLog())
    for number in range(100):
        async with polling.watching(outage.generation(number)):
            pass
    async with asyncio.timeout(20):
        while len(outage.asked_at) < 105:  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0)
    outage.most_at_once = 0  # of the repeats: all first attempts are made at once
    await asyncio.wait(set(polling._endings.values()), timeout=20)
    assert 1 < outage.most_at_once <= 16


async def test_hardened_one_does_not_let_one_run_that_cannot_be_ended_keep_the_others() -> None:
    clock = HeldClock()
    polling = HardenedPolling(clock, KeptLog())
    never, soon = Outage(clock, refuses=1_000_000), Outage(clock, refuses=25)
    stuck = never.generation(0)
    others = [soon.generation(number) for number in range(1, 21)]
    for generation in (stuck, *others):
        async with polling.watching(generation):
            pass
    async with asyncio.timeout(20):
        while any(generation.is_open() for generation in others):  # noqa: ASYNC110 - there is nothing to be told by
            await asyncio.sleep(0)
    assert stuck.is_open()
    assert len(never.asked_at) < 40, "it waits in the same line"
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


async def test_hardened_one_listens_for_what_nobody_waits_for_and_lets_the_talk_go_on() -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    generation.unheard = True
    generation.failures_of_end = [Unavailable("openai", "down", never_arrived=False) for _ in range(2)]
    async with polling.watching(generation):
        pass
    async with polling.watching(ScriptedGeneration([Replied("")])):
        assert not generation.is_open()
    await polling.close()
    assert generation.heard_out == [True]


async def test_hardened_one_listens_for_one_that_was_never_said_to_have_begun() -> None:
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([Replied("")])
    generation.unheard = True
    async with polling.watching(generation):
        await generation.next()
    await polling.close()
    assert (generation.ended, generation.heard_out) == (0, [True])


async def test_hardened_one_listens_for_so_many_and_has_no_room_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_agent.parts.polling._LISTENING", 2)
    polling = HardenedPolling(HeldClock(), KeptLog())
    generations = [ScriptedGeneration([Replied("")]) for _ in range(3)]
    for generation in generations:
        generation.unheard = True
        async with polling.watching(generation):
            await generation.next()
    await polling.close()
    assert [generation.heard_out for generation in generations] == [[True], [True], [False]]


async def test_hardened_one_writes_off_what_it_cannot_end_before_the_process_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reference_agent.parts.polling._CLOSE_S", 0.01)
    polling = HardenedPolling(HeldClock(), KeptLog())
    generation = ScriptedGeneration([asks("a")])
    never_ends = asyncio.Event()
    generation.end = never_ends.wait  # type: ignore[method-assign, assignment]
    async with polling.watching(generation):
        pass
    await polling.close()
    assert polling.leaving.is_set()
    assert generation.written_off == 1
