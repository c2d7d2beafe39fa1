"""Does a turn that was cut off go on where it was, and is nothing said or started twice?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agent_stage import CountedEngine, ScriptedGeneration, settings

from reference_agent.clock import Deadline
from reference_agent.compose import Composition
from reference_agent.conversation import Listener, Replied, Spent
from reference_agent.errors import Gone
from reference_agent.trace import TRACE, Left, Untraced


class NotedTrace(Untraced):
    """Keeps what it is told, and knows of an earlier attempt."""

    def __init__(self, left: Left | None = None) -> None:
        self.left = left
        self.noted: list[str] = []
        self.is_ours = True

    def goes_on_in(self, conversation: str) -> bool:
        return self.left is not None and self.left.conversation == conversation

    def take_left(self, conversation: str) -> Left | None:
        left = self.left if self.goes_on_in(conversation) else None
        self.left = None
        return left

    def known_reply(self) -> str:
        return self.left.reply if self.left is not None else ""

    async def speaks(self, conversation: str) -> None:
        self.noted.append(f"speaks {conversation}")

    async def runs(self, generation: str) -> None:
        self.noted.append(f"runs {generation}")

    async def replied(self, reply: str) -> None:
        self.noted.append(f"replied {reply}")


class RecordedGeneration(ScriptedGeneration):
    """Notes what was asked of it."""

    def __init__(self, conversation: str, steps: list[Any], *, gone: bool) -> None:
        super().__init__(steps, conversation)
        self.asked: list[str] = []
        self._gone = gone

    async def begin(self, text: str) -> None:
        self.asked.append(f"begin {text}")

    async def resume(self, generation: str, text: str) -> None:
        self.asked.append(f"resume {generation}")
        if self._gone:
            self._open = False
            raise Gone(generation)

    def disown(self) -> None:
        self.asked.append("disown")
        self._open = False

    async def next(self) -> Any:
        step = await super().next()
        if isinstance(step, asyncio.Event):
            step.set()
            await asyncio.Event().wait()
        return step


class RecordedEngine(CountedEngine):
    """One generation, to be looked at afterwards."""

    def __init__(self, *steps: Any, gone: bool = False) -> None:
        super().__init__()
        self._steps, self._gone = list(steps), gone
        self.asked: list[str] = []

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> RecordedGeneration:
        generation = RecordedGeneration(conversation, self._steps, gone=self._gone)
        self.asked = generation.asked
        return generation


def _composition(engine: RecordedEngine) -> Composition:
    composition = Composition(settings(profile="hardened", session_store="memory"), {})
    composition._built["engine"] = engine

    class NoSpeech:
        async def speak(self, *_: Any) -> None:
            return None

    composition._built["audio"] = NoSpeech()
    return composition


async def _reply(composition: Composition, trace: NotedTrace) -> str:
    TRACE.set(trace)
    answer = await composition.get("turn").answer("u", "こんにちは")
    return str(answer.reply)


async def test_a_first_attempt_writes_down_how_far_it_is() -> None:
    composition, trace = _composition(RecordedEngine(Replied("はいにゃん"))), NotedTrace()
    assert await _reply(composition, trace) == "はいにゃん"
    assert trace.noted == ["speaks thread_1", "replied はいにゃん"]
    await composition.close()


@pytest.mark.parametrize(
    ("left", "gone", "asked"),
    [
        (Left("thread_1", "run_1"), False, ["resume run_1"]),
        (Left("thread_1", ""), True, ["resume ", "begin こんにちは"]),
        (Left("thread_of_before", "run_1"), False, ["begin こんにちは"]),
    ],
)
async def test_a_second_attempt_goes_on_where_the_first_was_cut_off(left: Left, gone: bool, asked: list[str]) -> None:
    engine = RecordedEngine(Replied("はいにゃん"), gone=gone)
    composition = _composition(engine)
    assert await _reply(composition, NotedTrace(left)) == "はいにゃん"
    assert engine.asked == asked
    await composition.close()


async def test_a_reply_that_is_known_is_not_thought_of_again() -> None:
    engine = RecordedEngine(Replied("ちがうにゃん"))
    composition = _composition(engine)
    assert await _reply(composition, NotedTrace(Left("thread_1", "run_1", "はいにゃん"))) == "はいにゃん"
    assert (engine.created, engine.asked) == (0, [])
    await composition.close()


@pytest.mark.parametrize("is_ours", [True, False])
async def test_a_turn_that_is_cancelled_leaves_alone_what_is_somebody_elses(is_ours: bool) -> None:
    thinking = asyncio.Event()
    engine, trace = RecordedEngine(thinking), NotedTrace()
    composition = _composition(engine)
    turn = asyncio.create_task(_reply(composition, trace))
    async with asyncio.timeout(10):
        await thinking.wait()
    trace.is_ours = is_ours
    turn.cancel()
    await asyncio.wait({turn})
    assert ("disown" in engine.asked) == (not is_ours)
    await composition.get("polling").close()
    await composition.close()


async def test_what_is_given_up_is_ended_upstream() -> None:
    for gone in (False, True):
        engine = RecordedEngine(gone=gone)
        composition = _composition(engine)
        generation = RecordedGeneration("thread_1", [], gone=gone)
        engine.generation = lambda *_, generation=generation: generation  # type: ignore[method-assign, misc]
        await composition.get("turn").give_up("u", "hi", Left("thread_1", "run_1"))
        await composition.get("polling").close()
        assert generation.asked == ["resume run_1"]
        assert generation.ended == (0 if gone else 1)
        await composition.close()
