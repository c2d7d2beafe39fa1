"""Is what the user hears in character, in their language, within the limit?"""

from __future__ import annotations

import hypothesis
import pytest
from agent_stage import KeptLog, settings
from hypothesis import given
from hypothesis import strategies as st

from reference_agent.caller import LANGUAGES, Caller, Language
from reference_agent.errors import OutOfTime
from reference_agent.parts.locale import DocumentedLocale, HardenedLocale
from reference_agent.parts.persona import DocumentedPersona, HardenedPersona


class Model:
    """Says it again, differently."""

    def __init__(self, second: str | None = None) -> None:
        self.orders: list[str] = []
        self._second = second

    async def __call__(self, order: str) -> str:
        self.orders.append(order)
        if self._second is None:
            what = "the model"
            raise OutOfTime(what)
        return self._second


def _hardened() -> HardenedPersona:
    return HardenedPersona(settings(), HardenedLocale(settings()), KeptLog())


@pytest.mark.parametrize("reply", ["こんにちは", "Hello! How can I help you today?", "あ" * 120])
async def test_documented_one_trusts_the_model(reply: str) -> None:
    model = Model()
    assert await DocumentedPersona(settings(), DocumentedLocale()).in_character(reply, Caller(), model) == reply
    assert model.orders == []


@pytest.mark.parametrize(
    ("reply", "heard"),
    [
        ("はいにゃん", "はいにゃん"),
        ("はいにゃん！♪", "はいにゃん！♪"),
        ("こんにちは", "こんにちはにゃん"),
        ("こんにちは。", "こんにちはにゃん"),
        ("一つ目の文です。" * 20, "一つ目の文です。一つ目の文です。一つ目の文です。一つ目の文ですにゃん"),
        ("「hello everybody」って聞いてうれしいにゃん", "「hello everybody」って聞いてうれしいにゃん"),
        ("🔥" * 100 + "にゃん", "🔥" * 37 + "にゃん"),
        ("うん 👍にゃん🐱", "うん 👍🐱にゃん"),
        ("はいにゃんにゃん！", "はいにゃん"),
        ("はいにゃん♡にゃん🐱。", "はい♡🐱にゃん"),
        ("今日はいい天気だねにゃん。" * 12, "今日はいい天気だねにゃん。今日はいい天気だねにゃん"),
        ("あ" * 35 + "にゃん" + "あ" * 20, "あ" * 35 + "にゃん"),
        ("🐱" * 500 + "にゃん", "🐱" * 37 + "にゃん"),
    ],
)
async def test_hardened_one_mends_ending_and_length_by_itself(reply: str, heard: str) -> None:
    model = Model()
    assert await _hardened().in_character(reply, Caller(), model) == heard
    assert len(heard) <= 40
    assert model.orders == []


@given(
    body=st.text("あねだ。、！👍🐱 a", min_size=5, max_size=90),
    behind=st.lists(st.sampled_from(["にゃん", "にゃん！", "🐱", "。", " "]), max_size=5),
)
@hypothesis.settings(max_examples=300, deadline=None)
def test_the_ending_stands_once_at_the_end(body: str, behind: list[str]) -> None:
    heard = _hardened()._mended(body + "".join(behind))
    assert heard.count("にゃん") == 1
    assert heard.rstrip("。！ ").endswith("にゃん")
    assert len(heard) <= 40


async def test_hardened_one_shortens_between_phrases() -> None:
    reply = "今日はとてもいい天気だから散歩に行くといいし帰ってきたらおやつを食べてからゆっくり昼寝をするといい"
    heard = await _hardened().in_character(reply, Caller(), Model())
    assert heard == "今日はとてもいい天気だから散歩に行くといいし帰ってきたらおやつを食べてからにゃん"


@pytest.mark.parametrize(
    ("language", "reply", "heard"),
    [
        ("en", '"What do you say now", that is good to hear', '"What do you say now", that is goodにゃん'),
        ("ko", "“오늘은 날씨가 아주 좋네요 산책하러 나가고 싶어요 정말로”라고요, 알겠어요", None),
        ("de", "x" * 50, "x" * 37 + "にゃん"),
    ],
)
async def test_hardened_one_shortens_between_words_where_there_are_spaces(
    language: Language, reply: str, heard: str | None
) -> None:
    said = await _hardened().in_character(reply, Caller(language), Model())
    assert said == heard or (heard is None and reply.startswith(said.removesuffix("にゃん") + " ")), said
    assert len(said) <= 40


async def test_hardened_one_asks_once_more_for_another_language() -> None:
    model = Model("元気ですか")
    assert await _hardened().in_character("Hello! How can I help you?", Caller(), model) == "元気ですかにゃん"
    assert model.orders == ["日本語で言い直して"]


@pytest.mark.parametrize("second", ["Hello! How can I help you today?", None])
@pytest.mark.parametrize("language", ["ja", "ko"])
async def test_hardened_one_has_a_safe_reply(second: str | None, language: str) -> None:
    model = Model(second)
    heard = await _hardened().in_character("Hello! How can I help you?", Caller(language), model)  # type: ignore[arg-type]
    assert heard.endswith("にゃん")
    assert "Hello" not in heard
    assert len(heard) <= 40
    assert len(model.orders) == 1


async def test_hardened_one_answers_in_the_callers_language() -> None:
    assert await _hardened().in_character("네, 알겠어요", Caller("ko"), Model()) == "네, 알겠어요にゃん"
    assert await _hardened().in_character("Yes, I see", Caller("en"), Model()) == "Yes, I seeにゃん"


def test_the_model_is_told() -> None:
    documented = DocumentedPersona(settings(), DocumentedLocale()).instructions()
    assert "日本語で、40文字以内で" in documented
    assert "「にゃん」" in documented
    assert "相手が使う言語で" in _hardened().instructions()


@pytest.mark.parametrize("language", LANGUAGES)
async def test_there_is_a_safe_reply_in_every_language(language: Language) -> None:
    model = Model()
    other = "はい、わかりました" if language != "ja" else "Yes, I see"
    heard = await _hardened().in_character(other, Caller(language), model)
    assert HardenedLocale(settings()).is_in(heard.removesuffix("にゃん"), language)
    assert len(heard) <= 40
    assert len(model.orders) == 1


async def test_a_bug_on_the_way_to_a_better_reply_is_noticed_and_costs_nobody_an_answer() -> None:
    async def broken(order: str) -> str:
        raise ZeroDivisionError

    log = KeptLog()
    persona = HardenedPersona(settings(), HardenedLocale(settings()), log)
    assert (await persona.in_character("Hello there", Caller(), broken)).endswith("にゃん")
    assert "bug:persona_not_repaired" in log.events


async def test_a_language_that_a_model_does_not_speak_is_answered_in_one_that_can_be_read() -> None:
    locale = HardenedLocale(settings())
    locale.warm_up()
    model = Model("Of course I would like to help you")
    persona = HardenedPersona(settings(), locale, KeptLog())
    assert await persona.in_character("Yes, of course I will help you today", Caller("de"), model) == (
        "Yes, of course I will help you todayにゃん"
    )
    assert model.orders == ["Sag es noch einmal auf Deutsch"]
