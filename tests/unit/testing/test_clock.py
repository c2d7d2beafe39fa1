"""Time that jumps: in threads at once, in event loops to whatever is due next."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from harness.testing.clock import JumpingClock, RealClock


def seconds(nanoseconds: int) -> float:
    return nanoseconds / 1e9


def test_a_wait_in_a_thread_is_over_at_once() -> None:
    clock = JumpingClock()
    begin_s, begin_ns = time.monotonic(), clock.now_ns()
    clock.wait(3600, threading.Event())
    assert seconds(clock.now_ns() - begin_ns) >= 3600
    assert time.monotonic() - begin_s < 60


def test_a_wait_that_was_ended_before_takes_no_time() -> None:
    clock, woken = JumpingClock(), threading.Event()
    woken.set()
    clock.wait(3600, woken)
    clock.wait(None, woken)
    assert clock.jumped_s == 0


async def test_waits_side_by_side_pass_side_by_side() -> None:
    clock = JumpingClock()
    clock.lead(asyncio.get_running_loop())
    ended: list[float] = []

    async def wait(wait_s: float) -> None:
        await clock.wait_async(wait_s, asyncio.Event())
        ended.append(wait_s)

    await asyncio.gather(*(wait(wait_s) for wait_s in (300, 100, 200)))
    assert ended == [100, 200, 300]
    assert 299 < clock.jumped_s < 301
    clock.let_go()


async def test_the_earlier_deadline_wins() -> None:
    clock = JumpingClock()
    loop = asyncio.get_running_loop()
    clock.lead(loop)
    begin_s = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await clock.wait_async(3600, asyncio.Event())
    assert 5 <= loop.time() - begin_s < 30
    clock.let_go()


async def test_a_wait_without_end_is_ended_by_who_wakes_it() -> None:
    clock, woken = JumpingClock(), asyncio.Event()
    clock.lead(asyncio.get_running_loop())
    waiting = asyncio.create_task(clock.wait_async(None, woken))
    await asyncio.sleep(600)
    assert not waiting.done()
    woken.set()
    await waiting
    clock.let_go()


async def test_only_waits_of_upstreams_make_time_jump() -> None:
    clock = JumpingClock()
    clock.lead(asyncio.get_running_loop())
    await asyncio.sleep(0.01)
    assert clock.jumped_s == 0
    clock.jump_always()
    await asyncio.sleep(600)
    assert clock.jumped_s > 599
    clock.let_go()


async def test_a_loop_never_goes_back_and_may_have_many_clocks() -> None:
    loop = asyncio.get_running_loop()
    latest_s = loop.time()
    for _ in range(3):
        clock = JumpingClock()
        clock.lead(loop)
        await clock.wait_async(100, asyncio.Event())
        clock.wait(50, threading.Event())
        assert loop.time() - latest_s >= 150
        latest_s = loop.time()
        clock.let_go()
        clock.jump(1000)  # a clock that has let go leads nobody
        assert 0 <= loop.time() - latest_s < 100


async def test_threads_that_answer_quickly_are_waited_for() -> None:
    clock = JumpingClock()
    clock.lead(asyncio.get_running_loop())
    waiting = asyncio.create_task(clock.wait_async(0.5, asyncio.Event()))
    assert await asyncio.to_thread(lambda: 42) == 42
    await waiting
    clock.let_go()


async def test_real_time_is_real() -> None:
    clock = RealClock()
    begin_ns = clock.now_ns()
    await clock.wait_async(0.02, asyncio.Event())
    clock.wait(0.02, threading.Event())
    assert seconds(clock.now_ns() - begin_ns) >= 0.039
