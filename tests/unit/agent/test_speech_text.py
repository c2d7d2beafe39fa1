"""Can what is sent to the speech server be spoken?"""

from __future__ import annotations

import re

import emoji
import pytest
from agent_stage import settings

from reference_agent.caller import Language
from reference_agent.parts.speech_text import DocumentedSpeechText, HardenedSpeechText, ProposedSpeechText

_HARDENED = HardenedSpeechText(settings())


def test_documented_one_sends_it_as_it_is() -> None:
    reply = "🔥💥🎯" * 100 + "にゃん"
    assert DocumentedSpeechText().pieces(reply, "ja") == [reply]


@pytest.mark.parametrize(
    ("reply", "spoken"),
    [
        ("はいにゃん", "はいにゃん"),
        ("🔥💥🎯" * 100 + "にゃん", "火衝突的にゃん"),
        ("🔥" * 500, "火"),
        ("👨‍👩‍👧いいにゃん", "家族男性女性女の子いいにゃん"),
        ("안녕하세요😀こんにちは🇰🇷", "안녕하세요にっこり笑うこんにちは旗韓国"),
        ("", "にゃん"),
        ("   \n", "にゃん"),
        ("★☆♪", "にゃん"),
        ("…！？", "にゃん"),
        ("\u200d\ufe0f", "にゃん"),
        ("気温は3.5°C、湿度40%にゃん", "気温は3.5°C、湿度40%にゃん"),
    ],
)
def test_hardened_one_makes_it_speakable(reply: str, spoken: str) -> None:
    pieces = _HARDENED.pieces(reply, "ja")
    assert pieces == [spoken]
    assert not any(emoji.emoji_count(piece) for piece in pieces)


@pytest.mark.parametrize(
    ("language", "reply", "spoken"),
    [
        ("en", "Nice 🔥 weather todayにゃん", "Nice fire weather todayにゃん"),
        ("en", "Yes👍にゃん", "Yes thumbs up にゃん"),
        ("ko", "오늘은 날씨가 🔥 좋네요にゃん", "오늘은 날씨가 불 좋네요にゃん"),
        ("de", "Schönes 🔥 Wetterにゃん", "Schönes feuer Wetterにゃん"),
        ("fr", "Du 🔥 aujourd'huiにゃん", "Du feu aujourd'huiにゃん"),
        ("es", "Hace 🔥 hoyにゃん", "Hace fuego hoyにゃん"),
        ("ja", "Nice 🔥 weather today", "Nice fire weather today"),
        ("en", "今日は🔥だにゃん", "今日は火だにゃん"),
        ("de", "🔥にゃん", "feuer にゃん"),
    ],
)
def test_emoji_have_names_in_the_language_of_the_reply(language: Language, reply: str, spoken: str) -> None:
    assert _HARDENED.pieces(reply, language) == [spoken]


@pytest.mark.parametrize(
    ("language", "reply"),
    [
        ("en", "Wonderful refrigerators, extraordinarily comfortable neighbourhoods and unbelievable thunderstorms"),
        ("ko", "오늘은 날씨가 아주 좋네요 산책하러 나가고 싶어요 정말로 그렇게 생각해요 안녕히 주무세요 내일 또 봐요"),
        ("ja", "今日はJavaScriptとTypeScriptとPostgreSQLとKubernetesとElasticsearchのお話をしながら散歩に行くといい"),
    ],
)
def test_no_word_of_a_script_with_spaces_is_parted(language: Language, reply: str) -> None:
    pieces = _HARDENED.pieces(reply, language)
    assert len(pieces) > 1
    assert all(len(piece) <= 40 for piece in pieces)
    words = re.compile("[A-Za-z]+|[가-힣]+")
    assert [word for piece in pieces for word in words.findall(piece)] == words.findall(reply)


def test_a_sentence_in_another_script_ends_where_it_ends() -> None:
    pieces = _HARDENED.pieces("I like 3.5 fish a day. You do too, I think! Let us go to the sea. It is warm.", "en")
    assert pieces == ["I like 3.5 fish a day.", "You do too, I think!", "Let us go to the sea. It is warm."]


def test_hardened_one_splits_at_sentences_then_phrases_then_anywhere() -> None:
    sentences = "今日はとてもいい天気だから散歩に行くといいにゃん。" * 3
    assert _HARDENED.pieces(sentences, "ja") == ["今日はとてもいい天気だから散歩に行くといいにゃん。"] * 3
    no_stops = (
        "今日はとてもいい天気だから散歩に行くといいし帰ってきたらおやつを食べてからゆっくり昼寝をするといいにゃん"
    )
    pieces = _HARDENED.pieces(no_stops, "ja")
    assert "".join(pieces) == no_stops
    assert all(0 < len(piece) <= 40 for piece in pieces)
    assert [len(piece) for piece in _HARDENED.pieces("あ" * 100, "ja")] == [40, 40, 20]


def test_hardened_one_has_an_end() -> None:
    assert len(_HARDENED.pieces("あ" * 100_000, "ja")) == 10


def test_proposed_one_cuts_in_mid_sentence_and_keeps_emoji() -> None:
    proposed = ProposedSpeechText(settings())
    assert proposed.pieces("今日はいい天気にゃん。" * 5, "ja") == [("今日はいい天気にゃん。" * 5)[:40]]
    assert proposed.pieces("🔥" * 100, "ja") == ["🔥" * 40]


def test_where_nothing_can_be_spoken_the_personas_ending_is() -> None:
    assert HardenedSpeechText(settings(reply_ending="ワン")).pieces("★☆♪", "ja") == ["ワン"]
