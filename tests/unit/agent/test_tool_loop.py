"""Does a model that asks for ever get for ever?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from agent_stage import HeldClock, KeptLog, ScriptedGeneration, asks, settings

from reference_agent.caller import CALLER, LANGUAGES, Caller, Language
from reference_agent.clock import Deadline
from reference_agent.conversation import Failed, Replied, Step, ToolCall, ToolOutput
from reference_agent.errors import HandledFailure
from reference_agent.parts.locale import HardenedLocale
from reference_agent.parts.tool_loop import DocumentedToolLoop, HardenedToolLoop


class CountedTools:
    """Counts calls; from the `most`th on, they take for ever."""

    def __init__(self, most: int = 1000) -> None:
        self.calls: list[str] = []
        self.stopped = asyncio.Event()
        self._most = most

    async def run(self, calls: tuple[ToolCall, ...], deadline: Deadline) -> list[ToolOutput]:
        self.calls += (call.name for call in calls)
        if len(self.calls) >= self._most:
            self.stopped.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        return [ToolOutput(call.id, call.name, "悲しい") for call in calls]


def _hardened(tools: CountedTools) -> HardenedToolLoop:
    return HardenedToolLoop(settings(), tools, KeptLog())


async def test_documented_one_has_no_bound() -> None:
    """The hole: after 500 rounds of the same tool it is still going on."""
    tools = CountedTools(most=500)
    loop = DocumentedToolLoop(tools)
    running = asyncio.create_task(loop.run(ScriptedGeneration([asks("analyze_emotion")]), HeldClock().deadline()))
    await tools.stopped.wait()
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})


def _ever(*names: str) -> Iterable[Step]:
    for i in range(100):
        yield asks(names[i % len(names)], arguments=f'{{"text": "{i}"}}')


@pytest.mark.parametrize(
    ("names", "most_calls"),
    [
        (("analyze_emotion",), 3),
        (("analyze_emotion", "get_weather"), 4),
        (("a", "b", "c"), 5),
        (tuple("abcdefghij"), 5),
    ],
)
async def test_hardened_one_ends_it_and_answers(names: tuple[str, ...], most_calls: int) -> None:
    tools = CountedTools()
    generation = ScriptedGeneration(_ever(*names))
    outcome = await _hardened(tools).run(generation, HeldClock().deadline())
    assert outcome.reply == "考えがぐるぐるしちゃった", "the persona ends it"
    assert len(tools.calls) <= most_calls
    assert generation.is_open(), "left to whoever watches over it, who ends it upstream"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_hardened_one_says_so_in_the_callers_language_and_within_a_replys_length(language: Language) -> None:
    token = CALLER.set(Caller(language))
    try:
        outcome = await _hardened(CountedTools()).run(ScriptedGeneration(_ever("a")), HeldClock().deadline())
    finally:
        CALLER.reset(token)
    locale = HardenedLocale(settings())
    locale.warm_up()
    assert locale.is_in(outcome.reply, language), "otherwise the persona would ask the model once more"
    assert len(outcome.reply) <= settings().reply_chars - len(settings().reply_ending)


async def test_hardened_one_never_runs_more_calls_than_declared_in_one_round() -> None:
    tools = CountedTools()
    names = [f"tool_{i}" for i in range(9)]
    await _hardened(tools).run(ScriptedGeneration([asks(*names)]), HeldClock().deadline())
    assert tools.calls == []


@pytest.mark.parametrize("loop", [DocumentedToolLoop, _hardened])
async def test_what_people_ask_for_is_done(loop: type[DocumentedToolLoop]) -> None:
    tools = CountedTools()
    generation = ScriptedGeneration(
        [asks("get_time", "get_weather", "get_fortune"), asks("get_news"), Replied("にゃん")]
    )
    outcome = await loop(tools).run(generation, HeldClock().deadline())
    assert outcome.reply == "にゃん"
    assert tools.calls == ["get_time", "get_weather", "get_fortune", "get_news"]
    assert [[o.call_id for o in outputs] for outputs in generation.given] == [
        ["call_0", "call_1", "call_2"],
        ["call_0"],
    ]


async def test_equal_calls_are_answered_from_what_was_said() -> None:
    tools = CountedTools()
    generation = ScriptedGeneration([asks("get_time", "get_time"), asks("get_time"), Replied("にゃん")])
    await _hardened(tools).run(generation, HeldClock().deadline())
    assert tools.calls == ["get_time"]
    assert [len(outputs) for outputs in generation.given] == [2, 1]


@pytest.mark.parametrize("loop", [DocumentedToolLoop, _hardened])
async def test_a_failed_run_is_a_failure(loop: type[DocumentedToolLoop]) -> None:
    with pytest.raises(HandledFailure, match="expired"):
        await loop(CountedTools()).run(ScriptedGeneration([Failed("expired", "")]), HeldClock().deadline())
