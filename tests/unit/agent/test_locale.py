"""Is a caller answered in their language, and told the time of where they are?"""

from __future__ import annotations

import json

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, asks, settings, wire_to

from reference_agent.caller import CALLER, Caller, Hints
from reference_agent.conversation import BadArguments
from reference_agent.errors import Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.locale import DocumentedLocale, HardenedLocale, language_of
from reference_agent.parts.tool_fallback import HardenedToolFallback
from reference_agent.tools.get_time import GetTime

_TEXTS = {"ja": "今何時ですか #h0123abcd", "ko": "지금 몇 시예요?", "en": "What time is it?"}


def test_documented_one_takes_everybody_for_a_tokyoite() -> None:
    for text in _TEXTS.values():
        assert DocumentedLocale().caller(text, Hints("ko", "Europe/Berlin")) == Caller("ja", "Asia/Tokyo")


@pytest.mark.parametrize(
    ("text", "hints", "caller"),
    [
        (_TEXTS["ja"], Hints(), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["ko"], Hints(), Caller("ko", "Asia/Seoul")),
        (_TEXTS["en"], Hints(), Caller("en", "UTC")),
        ("😀", Hints(), Caller("ja", "Asia/Tokyo")),
        ("안녕하세요😀こんにちは🇰🇷", Hints(), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["en"], Hints(time_zone="Europe/Berlin"), Caller("en", "Europe/Berlin")),
        (_TEXTS["en"], Hints(time_zone="../../etc/passwd"), Caller("en", "UTC")),
        (_TEXTS["en"], Hints("de-DE,ko;q=0.8"), Caller("ko", "Asia/Seoul")),
        (_TEXTS["en"], Hints("xx"), Caller("en", "UTC")),
    ],
)
def test_hardened_one_finds_out(text: str, hints: Hints, caller: Caller) -> None:
    assert HardenedLocale().caller(text, hints) == caller


def test_a_quotation_is_not_the_speakers_language() -> None:
    assert language_of("「hello how are you today」だね") == "ja"
    assert language_of("123 !?") is None


async def _zone_asked(locale: DocumentedLocale | HardenedLocale, caller: Caller, arguments: dict[str, str]) -> str:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path.removeprefix("/api/timezone/"))
        return httpx2.Response(200, json={"datetime": "2025-01-31T12:00:00+01:00", "timezone": asked[0]})

    token = CALLER.set(caller)
    async with wire_to(answer) as wire:
        await GetTime(settings(), Outbound(wire, PlainRetries()), locale)(arguments, HeldClock().deadline())
    CALLER.reset(token)
    return asked[0]


async def test_the_time_is_that_of_the_place_named_or_of_the_callers() -> None:
    seoul = Caller("ko", "Asia/Seoul")
    assert await _zone_asked(DocumentedLocale(), Caller(), {"timezone": "Europe/Berlin"}) == "Asia/Tokyo"
    assert await _zone_asked(HardenedLocale(), seoul, {}) == "Asia/Seoul"
    assert await _zone_asked(HardenedLocale(), seoul, {"timezone": "Europe/Berlin"}) == "Europe/Berlin"
    with pytest.raises(BadArguments):
        await _zone_asked(HardenedLocale(), seoul, {"timezone": "../admin"})


@pytest.mark.parametrize(
    ("language", "said"),
    [("ja", "天気情報は現在利用できませんにゃん"), ("ko", "날씨 정보는"), ("en", "The weather is unavailable")],
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
