"""Is a caller answered in their language, and told the time of where they are?"""

from __future__ import annotations

import json
from typing import get_args

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, asks, settings, wire_to

from reference_agent.caller import CALLER, LANGUAGES, Asking, Caller, Hints, Language, caller_address, hints_of
from reference_agent.conversation import BadArguments
from reference_agent.errors import Unavailable
from reference_agent.language import LatinLanguages, script_of
from reference_agent.outbound import Outbound
from reference_agent.parts.locale import DocumentedLocale, HardenedLocale, zone_named
from reference_agent.parts.tool_fallback import HardenedToolFallback
from reference_agent.settings import BadSetting
from reference_agent.tools.get_news import GetNews
from reference_agent.tools.get_time import GetTime
from reference_agent.tools.get_weather import GetWeather

_TEXTS = {"ja": "今何時ですか #h0123abcd", "ko": "지금 몇 시예요?", "en": "What time is it?"}


def test_documented_one_takes_everybody_for_a_tokyoite() -> None:
    for text in _TEXTS.values():
        assert DocumentedLocale().caller(text, Hints("ko", "Europe/Berlin")) == Caller("ja", "Asia/Tokyo")


@pytest.fixture(scope="module")
def hardened() -> HardenedLocale:
    locale = HardenedLocale(settings())
    locale.warm_up()
    return locale


@pytest.mark.parametrize(
    ("text", "hints", "caller"),
    [
        (_TEXTS["ja"], Hints(), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["ko"], Hints(), Caller("ko", "Asia/Seoul")),
        (_TEXTS["en"], Hints(), Caller("en", "UTC")),
        ("Wie spät ist es gerade?", Hints(), Caller("de", "Europe/Berlin")),
        ("Quelle heure est-il maintenant ?", Hints(), Caller("fr", "Europe/Paris")),
        ("¿Qué tiempo hace hoy en la ciudad?", Hints(), Caller("es", "Europe/Madrid")),
        ("tama", Hints(), Caller("en", "UTC")),
        ("ok", Hints(), Caller("en", "UTC")),
        ("😀", Hints(), Caller("ja", "Asia/Tokyo")),
        ("안녕하세요😀こんにちは🇰🇷", Hints(), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["en"], Hints(time_zone="Europe/Berlin"), Caller("en", "Europe/Berlin")),
        (_TEXTS["en"], Hints(time_zone="asia/seoul"), Caller("en", "Asia/Seoul")),
        (_TEXTS["en"], Hints(time_zone="+09:00"), Caller("en", "Etc/GMT-9")),
        (_TEXTS["en"], Hints(time_zone="../../etc/passwd"), Caller("en", "UTC")),
        (_TEXTS["ja"], Hints(accepts="en-US,en;q=0.9"), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["ko"], Hints(accepts="en-US,en;q=0.9"), Caller("ko", "Asia/Seoul")),
        ("Pythonで並べ替えるには？", Hints(accepts="en-US"), Caller("ja", "Asia/Tokyo")),
        (_TEXTS["ja"], Hints("en", accepts="ko"), Caller("en", "UTC")),
        (_TEXTS["en"], Hints(accepts="ja"), Caller("ja", "Asia/Tokyo")),
        ("What does こんにちは mean?", Hints(accepts="en-US"), Caller("en", "UTC")),
        ("『안녕하세요』の意味は何ですか、教えて", Hints(accepts="en-US"), Caller("en", "UTC")),
        ("今日天気予報", Hints(accepts="ko"), Caller("ko", "Asia/Seoul")),
        ("Wie spät ist es gerade?", Hints(accepts="en"), Caller("en", "UTC")),
        (_TEXTS["en"], Hints("it-IT,ko;q=0.8"), Caller("ko", "Asia/Seoul")),
        (_TEXTS["en"], Hints("en;q=0.2, ko-KR;q=0.9, ja;q=0"), Caller("ko", "Asia/Seoul")),
        (_TEXTS["en"], Hints("eno, *;q=0.5"), Caller("en", "UTC")),
        (_TEXTS["en"], Hints("xx"), Caller("en", "UTC")),
        (_TEXTS["en"], Hints("ko;q=much," * 10_000), Caller("en", "UTC")),
    ],
)
def test_hardened_one_finds_out(hardened: HardenedLocale, text: str, hints: Hints, caller: Caller) -> None:
    assert hardened.caller(text, hints) == caller


@pytest.mark.parametrize(
    "text",
    [
        "Hello, my name is Johnathan Muller. How are you?",
        "I moved to Port Fernando last month 😀",
        "I work as a chartered accountant and I am a bit tired.",
        "Do you like cats? I do 🐈",
        "What time is it, how is the weather, and what is my fortune?",
    ],
)
def test_english_with_foreign_names_in_it_stays_english(hardened: HardenedLocale, text: str) -> None:
    assert hardened.caller(text, Hints()).language == "en"


def test_before_the_warm_up_the_script_has_to_do() -> None:
    assert HardenedLocale(settings()).caller("Wie spät ist es gerade?", Hints()) == Caller("en", "UTC")
    assert LatinLanguages(("ja", "en")).of("What time is it?") is None


def test_languages_are_a_matter_of_configuration() -> None:
    locale = HardenedLocale(settings(languages="ko, en"))
    assert locale.caller(_TEXTS["ja"], Hints("de")) == Caller("ko", "Asia/Seoul")
    with pytest.raises(BadSetting, match=r"AGENT_LANGUAGES='ko,tlh' makes no sense: .*expected some of ja, ko"):
        settings(languages="ko,tlh")


@pytest.mark.parametrize(
    ("text", "language", "is_in"),
    [
        ("はい", "ja", True),
        ("Yes, I see", "ja", False),
        ("네, 알겠어요", "ko", True),
        ("Yes, of course I will help you", "en", True),
        ("Ja, natürlich helfe ich dir gerne", "en", True),
        ("Ja, natürlich helfe ich dir gerne", "de", True),
        ("Yes, of course I will help you today", "de", False),
        ("ok", "de", True),
        ("🔥", "ko", True),
    ],
)
def test_replies_are_held_to_the_language(hardened: HardenedLocale, text: str, language: Language, is_in: bool) -> None:
    assert hardened.is_in(text, language) == is_in


def test_a_quotation_is_not_the_speakers_language() -> None:
    assert script_of("「hello how are you today」だね") == "ja"
    assert script_of("123 !?") is None


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("私は山田太郎です。090-1234-5678 taro.yamada@example.co.jp 4111111111111111 sk-abcdefghijklmnopqrstuv", "ja"),
        ("見て https://www.example.com/some/very/long/path?with=a&query=string", "ja"),
        ("내 메일은 somebody.somewhere@example.com 입니다", "ko"),
        ("メールはtaro.yamada.from.tokyo@example.co.jpです", "ja"),
        ("sk-proj-abcdefgh taro@x.jp 0x1234abcdef www.example.com", None),
        ("My mail is taro@x.jp, and my flat is 4b", "latin"),
        ("a-" * 250, "latin"),
        ("hello #ねこが大好きなひと", "latin"),
    ],
)
def test_addresses_keys_and_numbers_are_in_no_language(hardened: HardenedLocale, text: str, script: str | None) -> None:
    assert script_of(text) == script
    language = hardened.caller(text, Hints()).language
    assert (language if language in ("ja", "ko") else "latin") == (script or "ja")


def test_who_writes_in_the_latin_script_is_refused_in_the_language_of_earlier_turns() -> None:
    locale = HardenedLocale(settings())
    locale.warm_up()
    assert locale.at_first_sight(Asking(text="Wie spät ist es?", user_id="hans")) == "en", "nobody knows them yet"
    for said in ("Wie spät ist es gerade bei euch?", "ok"):
        locale.caller(said, Hints(), "hans")
        assert locale.at_first_sight(Asking(text="Und morgen?", user_id="hans")) == "de"
    assert locale.at_first_sight(Asking(text="Und morgen?", user_id="another")) == "en"
    assert locale.at_first_sight(Asking(text="今何時？", user_id="hans")) == "ja"
    assert locale.at_first_sight(Asking("fr", "Und morgen?", "hans")) == "fr"
    assert locale.at_first_sight(Asking(text="hello", user_id=["hans"])) == "en"
    assert locale.at_first_sight(Asking(text="今何時ですか？", accepts="en-US")) == "ja"
    assert locale.at_first_sight(Asking("ko", "今何時ですか？", accepts="en-US")) == "ko"
    assert locale.at_first_sight(Asking(text="What time is it?", accepts="fr")) == "fr"
    assert locale.at_first_sight(Asking(text=None, accepts="fr")) == "fr"
    locale.caller("What time is it over there?", Hints(), "hans")
    assert locale.at_first_sight(Asking(text="And now?", user_id="hans")) == "en"


def test_of_how_many_a_language_is_known_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reference_agent.parts.locale._SPEAKERS", 3)
    locale = HardenedLocale(settings())
    for user in ("a", "b", "c", "a", "d"):
        locale.caller("hi", Hints("de"), user)
    spoken = {user: locale.at_first_sight(Asking(text="hi", user_id=user)) for user in "abcd"}
    assert spoken == {"a": "de", "b": "en", "c": "de", "d": "de"}


def test_what_somebody_chose_goes_before_what_their_program_sends() -> None:
    headers = {"accept-language": "en", "x-time-zone": "Europe/Berlin"}
    assert hints_of({}, headers) == Hints("", "Europe/Berlin", accepts="en")
    assert hints_of({"profile": {"language": "ko", "time_zone": "Asia/Seoul"}}, headers) == Hints(
        "ko", "Asia/Seoul", accepts="en"
    )
    assert hints_of({"language": 3, "timezone": ["x"], "profile": "none"}, headers) == Hints(
        "", "Europe/Berlin", accepts="en"
    )


@pytest.mark.parametrize("nonsense", ["x" * 60_000, "k\x00o", "\ud800", "ko\nja", " " * 300])
def test_what_can_be_no_hint_is_dropped(nonsense: str) -> None:
    headers = {"accept-language": "en"}
    assert hints_of({"language": nonsense, "timezone": nonsense}, headers) == Hints(accepts="en")
    assert hints_of({}, {"accept-language": nonsense, "x-time-zone": nonsense}) == Hints()


_PROXIES = settings().proxies


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # no proxy of ours wrote that
        ("127.0.0.1", "", ""),
        ("::1", "", ""),
        ("testclient", "", ""),
        ("127.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "made up, 192.0.2.1, 198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "198.51.100.1, 10.0.0.7", "10.0.0.7"),
        ("127.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("127.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        ("127.0.0.1", "[2001:db8:1:2::3]:80", "2001:db8:1:2::/64"),
        ("127.0.0.1", "2001:db8:1:2:ffff::3", "2001:db8:1:2::/64"),
        ("127.0.0.1", "nonsense", ""),
        ("127.0.0.1", "198.51.100.1" + ", 127.0.0.1" * 5000, ""),
        ("127.0.0.1", ", ,", ""),
    ],
)
def test_a_callers_address_is_what_those_we_trust_say(peer: str, forwarded_for: str, address: str) -> None:
    assert caller_address(peer, forwarded_for, _PROXIES) == address


def test_proxies_are_a_matter_of_configuration() -> None:
    proxies = settings(trusted_proxies="127.0.0.1, 10.0.0.0/8").proxies
    assert caller_address("127.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.7", proxies) == "198.51.100.1"
    with pytest.raises(BadSetting, match="AGENT_TRUSTED_PROXIES"):
        settings(trusted_proxies="the load balancer")


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
    assert await _zone_asked(HardenedLocale(settings()), seoul, {}) == "Asia/Seoul"
    assert await _zone_asked(HardenedLocale(settings()), seoul, {"timezone": "Europe/Berlin"}) == "Europe/Berlin"
    with pytest.raises(BadArguments):
        await _zone_asked(HardenedLocale(settings()), seoul, {"timezone": "../admin"})
    # A model that knows no place says UTC.
    assert await _zone_asked(HardenedLocale(settings()), Caller("en", "Europe/Berlin"), {"timezone": "UTC"}) == (
        "Europe/Berlin"
    )
    assert zone_named("-3") == "Etc/GMT+3"


async def _asked(tool: type[GetWeather] | type[GetNews], caller: Caller) -> tuple[dict[str, str], str]:
    asked: list[dict[str, str]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(dict(request.url.params))
        return httpx2.Response(
            200, json={"weather": [{"description": "x"}], "main": {"temp": 3, "humidity": 4}, "articles": []}
        )

    token = CALLER.set(caller)
    async with wire_to(answer) as wire:
        said = await tool(settings(), Outbound(wire, PlainRetries()))({}, HeldClock().deadline())
    CALLER.reset(token)
    return asked[0], said


async def test_weather_is_told_in_the_callers_words_and_in_everybodys_degrees() -> None:
    query, said = await _asked(GetWeather, Caller("ko", "Asia/Seoul"))
    assert (query["lang"], query["units"]) == ("kr", "metric")
    assert json.loads(said) == {"weather": "x", "temp_c": 3, "temp_f": 37.4, "humidity": 4}


@pytest.mark.parametrize("language", LANGUAGES)
async def test_no_tool_is_without_words_for_a_language(language: Language) -> None:
    assert get_args(Language) == LANGUAGES
    for tool in (GetWeather, GetNews):
        await _asked(tool, Caller(language))

    async def fail() -> str:
        raise Unavailable("any", "down", never_arrived=True)

    token = CALLER.set(Caller(language))
    instead = {
        name: await HardenedToolFallback(KeptLog()).output(asks(name).calls[0], fail)
        for name in ("get_weather", "get_news", "get_fortune", "get_time", "calculate", "another")
    }
    CALLER.reset(token)
    assert len(set(instead.values())) == len(instead)
    if language not in ("ja", "ko"):
        assert all(script_of(said) == "latin" for said in instead.values())
    else:
        assert all(script_of(said) == language for said in instead.values())
