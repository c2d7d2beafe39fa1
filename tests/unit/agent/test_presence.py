"""Does a turn that is played in its request's own task end with its caller, and with the process, and with neither?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from agent_stage import settings
from starlette.requests import ClientDisconnect

from reference_agent.duty import Duty
from reference_agent.errors import Refused
from reference_agent.presence import Presence, when_it_waits


class _Caller:
    """Somebody who hangs up when told to."""

    def __init__(self) -> None:
        self.hangs_up = asyncio.Event()
        self.watched = False

    async def receive(self) -> dict[str, Any]:
        self.watched = True
        await self.hangs_up.wait()
        return {"type": "http.disconnect"}


async def _play(duty: Duty, caller: _Caller, turn: Callable[[], Awaitable[str]]) -> str:
    return await when_it_waits(Presence(duty, caller.receive), turn())  # type: ignore[arg-type]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0)


async def test_a_turn_that_waits_for_nothing_is_not_watched() -> None:
    duty, caller = Duty(settings()), _Caller()

    async def refused() -> str:
        raise Refused(429, "rate_limited", "")

    before = asyncio.all_tasks()
    for _ in range(3):
        with pytest.raises(Refused):
            await _play(duty, caller, refused)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert not caller.watched
    assert not duty._turns


class _Watch:
    """Notes when it began and ended, and what ended it."""

    def __init__(self, seen: list[str]) -> None:
        self._seen = seen

    def __enter__(self) -> None:
        self._seen.append("begins")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._seen.append("ends" if kind is None else kind.__name__)


@pytest.mark.parametrize("depth", [1, 2])
async def test_a_watch_is_kept_from_the_first_wait_to_the_end(depth: int) -> None:
    seen: list[str] = []
    answers: list[asyncio.Future[str]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def waits() -> str:
        seen.append("at once")
        first = await answers[0]
        seen.append(first)
        return first + await answers[1]

    work: Any = waits()
    for _ in range(depth):
        work = when_it_waits(_Watch(seen), work)

    async def whole() -> str:
        return str(await work)

    playing = asyncio.create_task(whole())
    await _until(lambda: "begins" in seen)
    answers[0].set_result("にゃ")
    await _until(lambda: "にゃ" in seen)
    answers[1].set_result("ん")
    assert await asyncio.wait_for(playing, 5) == "にゃん"
    assert seen == ["at once", *["begins"] * depth, "にゃ", *["ends"] * depth]


async def test_what_is_raised_into_watched_work_arrives_there_and_may_be_answered() -> None:
    seen: list[str] = []

    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # it may still have to tidy up
            seen.append("tidy")
            raise
        raise AssertionError

    async def fails() -> str:
        await asyncio.sleep(0)
        raise KeyError

    playing = asyncio.ensure_future(_whole(when_it_waits(_Watch(seen), waits())))
    await _until(lambda: bool(seen))
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(playing, 5)
    with pytest.raises(KeyError):
        await when_it_waits(_Watch(seen), fails())
    assert seen == ["begins", "tidy", "CancelledError", "begins", "KeyError"]


async def _whole(work: Awaitable[str]) -> str:
    return await work


async def test_a_turn_ends_when_its_caller_hangs_up_and_its_task_goes_on() -> None:
    duty, caller = Duty(settings()), _Caller()
    cancelled: list[bool] = []

    async def waits() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        raise AssertionError

    async def request() -> str:
        try:
            return await _play(duty, caller, waits)
        except ClientDisconnect:
            await asyncio.sleep(0)  # nothing is left of the cancellation
            return "left"

    serving = asyncio.create_task(request())
    await _until(lambda: caller.watched)
    caller.hangs_up.set()
    assert await asyncio.wait_for(serving, 5) == "left"
    assert cancelled == [True]
    await _until(lambda: not duty._turns)


async def test_who_hangs_up_in_the_moment_of_the_answer_breaks_nothing() -> None:
    duty, caller = Duty(settings()), _Caller()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def waits() -> str:
        return await answer

    async def request() -> str:
        said = await _play(duty, caller, waits)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return said

    serving = asyncio.create_task(request())
    await _until(lambda: caller.watched)
    answer.set_result("にゃん")
    caller.hangs_up.set()
    assert await asyncio.wait_for(serving, 5) == "にゃん"


async def test_the_end_of_the_process_waits_for_a_turn_and_cuts_it_off_in_the_end() -> None:
    caller = _Caller()
    duty = Duty(settings(shutdown_s=0.05))
    may_end = asyncio.Event()

    async def waits() -> str:
        await may_end.wait()
        return "にゃん"

    played = asyncio.create_task(_play(duty, caller, waits))
    cut_off = asyncio.create_task(_play(duty, caller, asyncio.Event().wait))  # type: ignore[arg-type]
    await _until(lambda: len(duty._turns) == 2)
    leaving = asyncio.create_task(duty.leave())
    await _until(lambda: duty.is_leaving)
    may_end.set()
    assert await asyncio.wait_for(played, 5) == "にゃん"
    await asyncio.wait_for(leaving, 5)
    with pytest.raises(Refused) as refused:
        await asyncio.wait_for(cut_off, 5)
    assert refused.value.code == "shutting_down"
    with pytest.raises(Refused) as refused:
        await _play(duty, caller, waits)
    assert refused.value.code == "shutting_down"


async def test_a_cancellation_from_outside_stays_one() -> None:
    duty, caller = Duty(settings()), _Caller()
    serving = asyncio.create_task(_play(duty, caller, asyncio.Event().wait))  # type: ignore[arg-type]
    await _until(lambda: caller.watched)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, 5)
