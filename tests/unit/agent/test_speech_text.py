"""Can what is sent to the speech server be spoken?"""

from __future__ import annotations

import emoji
import pytest
from agent_stage import settings

from reference_agent.parts.speech_text import DocumentedSpeechText, HardenedSpeechText, ProposedSpeechText

_HARDENED = HardenedSpeechText(settings())


def test_documented_one_sends_it_as_it_is() -> None:
    reply = "🔥💥🎯" * 100 + "にゃん"
    assert DocumentedSpeechText().pieces(reply) == [reply]


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
    pieces = _HARDENED.pieces(reply)
    assert pieces == [spoken]
    assert not any(emoji.emoji_count(piece) for piece in pieces)


def test_hardened_one_splits_at_sentences_then_phrases_then_anywhere() -> None:
    sentences = "今日はとてもいい天気だから散歩に行くといいにゃん。" * 3
    assert _HARDENED.pieces(sentences) == ["今日はとてもいい天気だから散歩に行くといいにゃん。"] * 3
    no_stops = (
        "今日はとてもいい天気だから散歩に行くといいし帰ってきたらおやつを食べてからゆっくり昼寝をするといいにゃん"
    )
    pieces = _HARDENED.pieces(no_stops)
    assert "".join(pieces) == no_stops
    assert all(0 < len(piece) <= 40 for piece in pieces)
    assert [len(piece) for piece in _HARDENED.pieces("あ" * 100)] == [40, 40, 20]


def test_hardened_one_has_an_end() -> None:
    assert len(_HARDENED.pieces("あ" * 100_000)) == 10


def test_proposed_one_cuts_in_mid_sentence_and_keeps_emoji() -> None:
    proposed = ProposedSpeechText(settings())
    assert proposed.pieces("今日はいい天気にゃん。" * 5) == [("今日はいい天気にゃん。" * 5)[:40]]
    assert proposed.pieces("🔥" * 100) == ["🔥" * 40]


def test_where_nothing_can_be_spoken_the_personas_ending_is() -> None:
    assert HardenedSpeechText(settings(reply_ending="ワン")).pieces("★☆♪") == ["ワン"]
