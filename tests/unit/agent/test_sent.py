"""Is a call that makes something upstream carried through when nobody waits for its answer any more?"""

from __future__ import annotations

import asyncio

import httpx2
import openai
import pytest

from reference_agent.engines.sent import Sent
from reference_agent.errors import Unavailable

_LONG_S = 60.0
_REQUEST = httpx2.Request("POST", "http://openai/v1/responses")


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
    sent, answer = Sent[str](_LONG_S, asyncio.Event(), is_carried_through=True), Answer()
    await _given_up(sent, answer)
    assert sent.is_on_its_way()
    answer.may_come.set()
    assert await sent.late_answer() == "resp_1"
    assert not sent.is_on_its_way()
    assert await sent.late_answer() is None, "it is taken once"


async def test_an_answer_that_was_waited_for_is_not_late() -> None:
    sent, answer = Sent[str](_LONG_S, asyncio.Event(), is_carried_through=True), Answer()
    answer.may_come.set()
    assert await sent.answer(answer()) == "resp_1"
    assert not sent.is_on_its_way()


async def test_one_that_failed_has_made_nothing_to_be_ended() -> None:
    async def refused() -> str:
        raise Unavailable("openai", "503", never_arrived=True)

    sent = Sent[str](_LONG_S, asyncio.Event(), is_carried_through=True)
    with pytest.raises(Unavailable):
        await sent.answer(refused())
    assert not sent.is_on_its_way()


async def test_one_that_is_later_still_is_listened_for_and_taken_once() -> None:
    sent, answer = Sent[str](0.01, asyncio.Event(), is_carried_through=True), Answer()
    await _given_up(sent, answer)
    assert await sent.late_answer() is None, "nobody waits for it any more"
    assert sent.is_on_its_way()
    answer.may_come.set()
    assert await sent.last_answer(patiently=True) == "resp_1"
    assert await sent.last_answer(patiently=True) is None
    assert not sent.is_on_its_way()
    assert not sent.is_lost()


async def test_one_that_is_never_answered_is_given_up_and_lost() -> None:
    sent, answer = Sent[str](0.01, asyncio.Event(), is_carried_through=True), Answer()
    await _given_up(sent, answer)
    assert await sent.last_answer(patiently=True) is None
    assert answer.was_cut_off
    assert not sent.is_on_its_way()
    assert sent.is_lost()
    sent.settle()
    assert not sent.is_lost()


@pytest.mark.parametrize("hurry", ["leaving", "no room"])
async def test_one_that_there_is_no_time_for_is_lost_at_once(hurry: str) -> None:
    leaving = asyncio.Event()
    sent, answer = Sent[str](_LONG_S, leaving, is_carried_through=True), Answer()
    await _given_up(sent, answer)
    if hurry == "leaving":
        leaving.set()
        assert await sent.late_answer() is None
    assert await sent.last_answer(patiently=hurry == "leaving") is None
    assert sent.is_lost()
    await asyncio.sleep(0)
    assert answer.was_cut_off


@pytest.mark.parametrize(
    ("failure", "may_be_made"),
    [
        (openai.APIConnectionError(request=_REQUEST), True),
        (TimeoutError(), True),
        (openai.InternalServerError("sorry", response=httpx2.Response(503, request=_REQUEST), body=None), False),
        (ValueError("a bug"), False),
    ],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("waited_for", [True, False])
async def test_only_what_was_not_answered_at_all_may_have_been_made(
    failure: Exception, may_be_made: bool, waited_for: bool
) -> None:
    may_fail = asyncio.Event()

    async def fail() -> str:
        await may_fail.wait()
        raise failure

    sent = Sent[str](_LONG_S, asyncio.Event(), is_carried_through=True)
    waiting = asyncio.create_task(sent.answer(fail()))
    await asyncio.sleep(0)
    if not waited_for:
        waiting.cancel()
    may_fail.set()
    await asyncio.wait({waiting})
    assert await sent.late_answer() is None
    assert sent.is_lost() == may_be_made
    assert not sent.is_on_its_way()


async def test_documented_one_ends_with_who_waits_for_it() -> None:
    """The hole: what it made upstream goes on, under an id that nobody was told."""
    sent, answer = Sent[str](_LONG_S, asyncio.Event(), is_carried_through=False), Answer()
    await _given_up(sent, answer)
    assert answer.was_cut_off
    assert not sent.is_on_its_way()
