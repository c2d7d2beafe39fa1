"""What is said in the place of a tool that failed, and whose fault was it?"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from agent_stage import KeptLog, asks, settings

from reference_agent.caller import CALLER, LANGUAGES, Caller, Language
from reference_agent.conversation import BadArguments, UnknownTool
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.tool_fallback import DocumentedToolFallback, HardenedToolFallback, ProposedToolFallback

_TOOLS = ("get_weather", "get_news", "get_fortune", "get_time", "analyze_emotion", "calculate", "some_other")


def _failing(failure: Exception) -> Callable[[], Awaitable[str]]:
    async def fail() -> str:
        raise failure

    return fail


_DOWN = Unavailable("weather", "down", never_arrived=True)


async def test_documented_one_has_nothing_in_its_place() -> None:
    with pytest.raises(Unavailable):
        await DocumentedToolFallback().output(asks("get_weather").calls[0], _failing(_DOWN))


async def test_proposed_one_knows_the_weather_only_and_hides_our_bugs() -> None:
    bug = _failing(NameError("a typing mistake of ours"))
    said = [await ProposedToolFallback().output(call, bug) for call in asks(*_TOOLS).calls]
    assert said == ["天気情報は現在利用できませんにゃん"] + ["null"] * (len(_TOOLS) - 1)


@pytest.mark.parametrize("failure", [_DOWN, OutOfTime("weather"), TimeoutError(), httpx2.ReadError("")])
async def test_an_outage_is_an_outage(failure: Exception) -> None:
    log = KeptLog()
    for call in asks(*_TOOLS).calls:
        assert await HardenedToolFallback(log).output(call, _failing(failure)) not in ("", "null")
    assert log.events == ["tool_unavailable"] * len(_TOOLS)


async def test_a_bug_of_ours_is_noticed_and_costs_nobody_an_answer() -> None:
    log = KeptLog()
    said = await HardenedToolFallback(log).output(asks("get_time").calls[0], _failing(NameError("a typing mistake")))
    assert said == "何時かわからない"
    assert log.events == ["bug:tool_failed"]


@pytest.mark.parametrize("failure", [BadArguments("there is no such city"), UnknownTool("get_weather")])
async def test_a_model_that_is_mistaken_is_told_so(failure: Exception) -> None:
    log = KeptLog()
    said = json.loads(await HardenedToolFallback(log).output(asks("get_weather").calls[0], _failing(failure)))
    assert list(said) == ["error"]
    assert log.events == []


@pytest.mark.parametrize(
    ("language", "said"),
    [("ja", "いま不明"), ("ko", "지금 알 수 없어요"), ("en", "unknown")],
)
async def test_a_fallback_is_in_the_callers_language(language: str, said: str) -> None:
    async def fail() -> str:
        raise Unavailable("weather", "down", never_arrived=True)

    token = CALLER.set(Caller(language))  # type: ignore[arg-type]
    fallback = HardenedToolFallback(KeptLog())
    assert (await fallback.output(asks("get_weather").calls[0], fail)).startswith(said)
    assert json.loads(await fallback.output(asks("analyze_emotion").calls[0], fail))["emotion"] == "中立"
    assert await fallback.output(asks("calculate").calls[0], fail)
    CALLER.reset(token)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_fallback_leaves_room_for_the_rest_and_the_ending_to_the_persona(language: Language) -> None:
    token = CALLER.set(Caller(language))
    said = [await HardenedToolFallback(KeptLog()).output(call, _failing(_DOWN)) for call in asks(*_TOOLS).calls]
    CALLER.reset(token)
    for words in said[:4] + said[5:]:
        assert len(words) <= settings().reply_chars // 2
        assert settings().reply_ending not in words
