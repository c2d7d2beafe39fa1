"""How people ask for tools, and talk about the same things without asking: twenty and more phrasings a language."""

from __future__ import annotations

import time
from typing import Any

import pytest

from harness.upstreams.scripted_model import think
from harness.upstreams.tool_arguments import expression_in
from tests.unit.upstreams.test_scripted_model import ask

TIME, WEATHER, FORTUNE, NEWS = "get_time", "get_weather", "get_fortune", "get_news"
EMOTION, CALCULATE = "analyze_emotion", "calculate"

ENGLISH: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the weather and the time now please", (WEATHER, TIME)),
    ("What's the time?", (TIME,)),
    ("Do you know what time it is?", (TIME,)),
    ("Have you got the time?", (TIME,)),
    ("Could you check today's weather for me?", (WEATHER,)),
    ("weather in Osaka", (WEATHER,)),
    ("Is it cold outside?", (WEATHER,)),
    ("Should I take an umbrella?", (WEATHER,)),
    ("Read me the headlines", (NEWS,)),
    ("What's new in the world today?", (NEWS,)),
    ("I'd like the latest news.", (NEWS,)),
    ("How's my luck today?", (FORTUNE,)),
    ("What do the stars say about me?", (FORTUNE,)),
    ("what's 12 times 7", (CALCULATE,)),
    ("How much is 120 divided by 8?", (CALCULATE,)),
    ("Which emotion is in this sentence: I miss you so much", (EMOTION,)),
    ("What time is it, and do I need a coat?", (TIME, WEATHER)),
    ("time and news please", (TIME, NEWS)),
    ("Tell me my horoscope and today's weather", (FORTUNE, WEATHER)),
    ("What time is it and what is 2+3?", (TIME, CALCULATE)),
    ("Give me the news, the weather and my horoscope.", (NEWS, WEATHER, FORTUNE)),
    ("Good morning! Weather, news and the time, please.", (WEATHER, NEWS, TIME)),
    ("I had a long day. How is the weather tomorrow?", (WEATHER,)),
    ("quick: time, weather, news", (TIME, WEATHER, NEWS)),
    # talk that asks for nothing
    ("No news is good news.", ()),
    ("Do you have time to talk?", ()),
    ("The weather was lovely yesterday.", ()),
    ("What a lovely weather!", ()),
    ("I had a good time at the party.", ()),
    ("It is time to go to bed.", ()),
    ("I have no time for this, please hurry up.", ()),
    ("What time do you get up?", ()),
    ("Tell me about the time you were young.", ()),
    ("I read the news every morning.", ()),
    ("I need a break from the news.", ()),
    ("Fortune favours the brave.", ()),
    ("She is a weather reporter.", ()),
    ("I cannot calculate anything in my head.", ()),
    ("How much is the fish?", ()),
    ("I bought an umbrella and a coat.", ()),
    ("It was a nice feeling.", ()),
)

JAPANESE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("今の時刻と天気を教えて", (TIME, WEATHER)),
    ("いまなんじ？", (TIME,)),
    ("もう何時になった？", (TIME,)),
    ("今の時間わかる？", (TIME,)),
    ("東京は今日晴れるかな", (WEATHER,)),
    ("外は寒いですか", (WEATHER,)),
    ("傘持って行ったほうがいい？", (WEATHER,)),
    ("大阪の天気", (WEATHER,)),
    ("気温が知りたいです", (WEATHER,)),
    ("今日の運はどう？", (FORTUNE,)),
    ("ちょっと占って", (FORTUNE,)),
    ("何かニュースある？", (NEWS,)),
    ("ヘッドラインを読んで", (NEWS,)),
    ("3足す5は？", (CALCULATE,)),
    ("100÷4はいくら？", (CALCULATE,)),
    ("「もう疲れた」に込められた感情は何？", (EMOTION,)),
    ("最新のニュースと天気をお願い", (NEWS, WEATHER)),
    ("今何時で、2+3はいくつ？", (TIME, CALCULATE)),
    ("おはよう。天気とニュースをチェックして", (WEATHER, NEWS)),
    ("運勢とニュース、ついでに時間も", (FORTUNE, NEWS, TIME)),
    ("天気、ニュース、時間を教えてください", (WEATHER, NEWS, TIME)),
    ("今何時か、傘がいるか、運勢はどうか教えて", (TIME, WEATHER, FORTUNE)),
    ("今日は疲れました。明日の天気はどうですか？", (WEATHER,)),
    ("天気予報みせて", (WEATHER,)),
    ("今何時で、天気も", (TIME, WEATHER)),
    ("明日雨？", (WEATHER,)),
    ("ニュース教えて！あと時間も", (NEWS, TIME)),
    # talk that asks for nothing
    ("もう時間だよ", ()),
    ("雨が降るかもしれない天気だ", ()),
    ("占い師になりたいです", ()),
    ("天気予報が外れました", ()),
    ("昨日は天気がよくて散歩しました", ()),
    ("いい天気ですね", ()),
    ("いい天気だ", ()),
    ("楽しい時間をありがとう", ()),
    ("時間がないので手伝ってください", ()),
    ("何時でもいいよ", ()),
    ("毎朝何時に起きますか？", ()),
    ("昨日は何時間も歩いた", ()),
    ("ニュースを見て驚きました", ()),
    ("運勢なんて信じない", ()),
    ("雨が好きです", ()),
    ("お天気お姉さんに憧れています", ()),
    ("計算は苦手です", ()),
    ("お年はいくつですか？", ()),
    ("彼の気持ちは分からない", ()),
)

KOREAN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("지금 시간이랑 날씨 알려줘", (TIME, WEATHER)),
    ("몇 시야?", (TIME,)),
    ("시간 좀 알려줄래?", (TIME,)),
    ("현재 시각이 궁금해요", (TIME,)),
    ("오늘 비 와?", (WEATHER,)),
    ("밖에 추워?", (WEATHER,)),
    ("우산 챙겨야 해?", (WEATHER,)),
    ("내일 서울 기온은?", (WEATHER,)),
    ("부산 날씨", (WEATHER,)),
    ("오늘 운세 좀 봐줘", (FORTUNE,)),
    ("내 오늘 운은 어때?", (FORTUNE,)),
    ("오늘 뉴스 뭐 있어?", (NEWS,)),
    ("헤드라인 읽어줘", (NEWS,)),
    ("3 더하기 5는?", (CALCULATE,)),
    ("12 곱하기 7은 얼마야?", (CALCULATE,)),
    ("“너무 힘들다”에 담긴 감정이 뭐야?", (EMOTION,)),
    ("뉴스하고 날씨 부탁해요", (NEWS, WEATHER)),
    ("지금 몇 시고 2+3은 얼마예요?", (TIME, CALCULATE)),
    ("안녕하세요! 운세랑 오늘 날씨 보여 주세요", (FORTUNE, WEATHER)),
    ("날씨하고 뉴스하고 운세 알려 주세요", (WEATHER, NEWS, FORTUNE)),
    ("지금 몇 시인지, 비가 올까, 뉴스는 뭐가 있는지 말해줘", (TIME, WEATHER, NEWS)),
    ("오늘은 피곤했어요. 내일 날씨는 어때요?", (WEATHER,)),
    ("10 나누기 2는 뭐야?", (CALCULATE,)),
    ("내일 더울까?", (WEATHER,)),
    # talk that asks for nothing
    ("몇 살이에요?", ()),
    ("뉴스에 나왔어요", ()),
    ("어제 날씨가 좋아서 산책했어요", ()),
    ("날씨 참 좋네요", ()),
    ("즐거운 시간이었어요", ()),
    ("시간이 없어서 도와주세요", ()),
    ("몇 시간 동안 잤어요", ()),
    ("아침 몇 시에 일어나요?", ()),
    ("시간 있어요?", ()),
    ("뉴스를 보고 놀랐어요", ()),
    ("운세는 안 믿어요", ()),
    ("비행기 좋아해요", ()),
    ("우산을 챙겨 나왔어요", ()),
    ("계산대에서 기다렸어요", ()),
    ("계산은 잘 못해요", ()),
    ("감정이 복잡해요", ()),
)


@pytest.mark.parametrize(("text", "tools"), [*ENGLISH, *JAPANESE, *KOREAN])
def test_what_people_say_is_understood(text: str, tools: tuple[str, ...]) -> None:
    assert tuple(call.name for call in think(ask(text)).tool_calls) == tools


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("what's 12 times 7", "12*7"),
        ("How much is 120 divided by 8?", "120/8"),
        ("What time is it and what is 2+3?", "2+3"),
        ("3足す5は？", "3+5"),
        ("100÷4はいくら？", "100/4"),
        ("今何時で、2+3はいくつ？", "2+3"),
        ("3 더하기 5는?", "3+5"),
        ("12 곱하기 7은 얼마야?", "12*7"),
        ("지금 몇 시고 2+3은 얼마예요?", "2+3"),
    ],
)
def test_what_is_to_be_calculated(text: str, expression: str) -> None:
    (call,) = (call for call in think(ask(text)).tool_calls if call.name == CALCULATE)
    assert call.arguments == f'{{"expression":"{expression}"}}'


_MANY = 20_000
ODD = {
    "figures": "9" * _MANY,
    "figures to calculate": f"calculate {'9' * _MANY}",
    "figures, and then the wish": f"{'9' * _MANY}を計算して",
    "letters, and then the wish": f"{'あ' * _MANY}を計算して1",
    "wishes without figures": "はいくつ" * _MANY,
    "sums": "1+" * _MANY,
    "what is": "what is 1 " * _MANY,
    "points": "1." * _MANY,
    "brackets": "(" * _MANY,
    "quotes": "「" * _MANY + "感情",
    "words that may be places": "날씨 " * _MANY + "x",
    "places in places": "weather " + "in aa " * _MANY + ";q",
    "spaces": " " * _MANY + "시간" + " " * _MANY,
    "sentences": "天気。" * _MANY,
    "a topic, over and over": "the time " * _MANY + "x",
    "a long text": "この文章の感情を分析して：" + "あ 1 " * _MANY,
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_a_long_text_takes_no_more_than_its_length(text: str) -> None:
    began_s = time.process_time()
    think(ask(text))
    expression_in(text)
    # A tenth of a second or two of CPU each; whatever could be read in several ways took minutes, or would not end.
    assert time.process_time() - began_s < 10


def test_who_pastes_a_book_is_heard_before_and_behind_it() -> None:
    book = "The weather was fine. " * 1000
    assert [call.name for call in think(ask(f"What time is it? {book}")).tool_calls] == [TIME]
    assert [call.name for call in think(ask(f"{book} Any news?")).tool_calls] == [NEWS]


@pytest.mark.parametrize("phrasings", [ENGLISH, JAPANESE, KOREAN], ids=["en", "ja", "ko"])
def test_a_mark_and_a_smile_change_nothing(phrasings: Any) -> None:
    for text, tools in phrasings:
        if tools:
            assert tuple(call.name for call in think(ask(f"{text} #hq3v9k2ab")).tool_calls) == tools, text
            if text[-1] in "?？.!":
                assert tuple(call.name for call in think(ask(f"{text} 😀")).tool_calls) == tools, text
