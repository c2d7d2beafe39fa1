"""Is a call that makes something upstream carried through when nobody waits for its answer any more?"""

from __future__ import annotations

import asyncio

import pytest

from reference_agent.engines.sent import Sent
from reference_agent.errors import Unavailable

_LONG_S = 60.0


class Answer:
    """What an upstream answers when it is let."""

    def __init__(self) -> None:
        self.may_come = asyncio.Event()
        self.was_cut_off = False

    async def __call__(self) -> str:
        try:
            await self.may_come.wait()
        except asyncio.CancelledError:
            self.was_cut_off = True
            raise
        return "resp_1"


async def _given_up(sent: Sent[str], answer: Answer) -> None:
    waiting = asyncio.create_task(sent.answer(answer()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    await asyncio.sleep(0)


async def test_a_late_answer_is_there_for_who_asks() -> None:
    sent, answer = Sent[str](_LONG_S, is_carried_through=True), Answer()
    await _given_up(sent, answer)
    assert sent.is_on_its_way()
    answer.may_come.set()
    assert await sent.late_answer() == "resp_1"
    assert not sent.is_on_its_way()
    assert await sent.late_answer() is None, "it is taken once"


async def test_an_answer_that_was_waited_for_is_not_late() -> None:
    sent, answer = Sent[str](_LONG_S, is_carried_through=True), Answer()
    answer.may_come.set()
    assert await sent.answer(answer()) == "resp_1"
    assert not sent.is_on_its_way()


async def test_one_that_failed_has_made_nothing_to_be_ended() -> None:
    async def refused() -> str:
        raise Unavailable("openai", "503", never_arrived=True)

    sent = Sent[str](_LONG_S, is_carried_through=True)
    with pytest.raises(Unavailable):
        await sent.answer(refused())
    assert not sent.is_on_its_way()


async def test_one_that_is_never_answered_is_given_up() -> None:
    sent, answer = Sent[str](0.01, is_carried_through=True), Answer()
    await _given_up(sent, answer)
    assert await sent.late_answer() is None
    assert answer.was_cut_off
    assert not sent.is_on_its_way()


async def test_documented_one_ends_with_who_waits_for_it() -> None:
    """The hole: what it made upstream goes on, under an id that nobody was told."""
    sent, answer = Sent[str](_LONG_S, is_carried_through=False), Answer()
    await _given_up(sent, answer)
    assert answer.was_cut_off
    assert not sent.is_on_its_way()
