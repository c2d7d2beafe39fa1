"""What the scripted model asks for and says."""

from __future__ import annotations

import datetime
import json
import uuid
from typing import Annotated, Any, Literal

import pydantic
import pytest

from harness.upstreams.json_schema import plain, text_like
from harness.upstreams.scripted_model import in_persona, language_of_reply, think
from harness.upstreams.thought import Ask, Said, ToolResult
from harness.upstreams.wishes import kinds_asked
from tests.unit.upstreams.conftest import FUNCTIONS

OFFERED = tuple(one["function"] for one in FUNCTIONS)
CAT = "あなたは猫です。日本語で40文字以内で答え、語尾は必ず「にゃん」にしてください。"


def ask(text: str, **fields: Any) -> Ask:
    given: dict[str, Any] = {"seed": 1, "subject": "#h12345678", "tools": OFFERED, "instructions": CAT}
    return Ask(messages=(Said("user", text),), **(given | fields))


@pytest.mark.parametrize(
    ("text", "tools"),
    [
        ("今何時ですか？", ["get_time"]),
        ("지금 몇 시예요?", ["get_time"]),
        ("What time is it in Berlin?", ["get_time"]),
        ("東京の天気を教えて", ["get_weather"]),
        ("오늘 날씨 어때요?", ["get_weather"]),
        ("How is the weather today?", ["get_weather"]),
        ("傘がいるかな？", ["get_weather"]),
        ("明日は雨が降りますか？", ["get_weather"]),
        ("우산이 필요해요?", ["get_weather"]),
        ("내일 도쿄에 비가 올까요?", ["get_weather"]),
        ("Do I need an umbrella?", ["get_weather"]),
        ("Will it rain tomorrow in Tokyo?", ["get_weather"]),
        ("Is it going to snow?", ["get_weather"]),
        ("今日の運勢は？", ["get_fortune"]),
        ("오늘의 운세 알려줘", ["get_fortune"]),
        ("Tell me my horoscope", ["get_fortune"]),
        ("ニュースを教えて", ["get_news"]),
        ("뉴스 있어요?", ["get_news"]),
        ("Any news today?", ["get_news"]),
        ("この文章の感情を分析して：とても悲しい", ["analyze_emotion"]),
        ("이 문장의 감정을 분석해 줘: 정말 행복해", ["analyze_emotion"]),
        ("Analyze the emotion of this text: I am so happy", ["analyze_emotion"]),
        ("10**10**10 を計算して", ["calculate"]),
        ("2+3 계산해 줘", ["calculate"]),
        ("calculate 12*7", ["calculate"]),
        ("今何時で、天気はどうで、ついでに運勢も教えて", ["get_time", "get_weather", "get_fortune"]),
        ("What time is it, how is the weather, and my fortune?", ["get_time", "get_weather", "get_fortune"]),
        # talk that asks for nothing
        ("昨日は雨が降ったので、傘を買いました。", []),
        ("어제 비가 와서 우산을 샀어요.", []),
        ("준비 올까요", []),
        ("I lost my umbrella in the rain yesterday.", []),
        ("hi", []),
        ("こんにちは、田中です。元気ですか？", []),
        ("おはよう！今日はなんだか眠いです😀", []),
        ("ただいま。今日は時計職人の仕事で疲れました。", []),
        ("週末は映画を見に行きます🎬", []),
        ("I moved to Boston last month 😀", []),
        ("I work as a meteorologist and I am a bit tired.", []),
        ("analyze_emotionという関数について教えて", []),
        ("この文章の感情を分析して：天気が良くて最高、今何時？", ["analyze_emotion"]),
    ],
)
def test_it_asks_for_the_tools_that_were_asked_for(text: str, tools: list[str]) -> None:
    assert [call.name for call in think(ask(text)).tool_calls] == tools


def test_it_asks_only_for_tools_that_are_offered() -> None:
    only_time = tuple(one for one in OFFERED if one["name"] == "get_time")
    assert [call.name for call in think(ask("今何時で、天気は？", tools=only_time)).tool_calls] == ["get_time"]
    assert think(ask("今何時？", tools=())).text


def test_a_tool_is_recognised_by_its_description_too() -> None:
    tool = {"name": "lookup", "description": "現在の天気を調べる", "parameters": {"properties": {"city": {}}}}
    assert think(ask("大阪の天気は？", tools=(tool,))).tool_calls[0].arguments == '{"city":"Osaka"}'


def arguments(text: str, **fields: Any) -> Any:
    return json.loads(think(ask(text, **fields)).tool_calls[0].arguments)


OPTIONAL = tuple(
    {
        "name": name,
        "parameters": {"type": "object", "properties": {argument: {"type": "string"}, "date": {"type": "string"}}},
    }
    for name, argument in (("get_fortune", "sign"), ("get_weather", "city"), ("get_time", "timezone"))
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("오늘의 운세 알려줘", {}),
        ("今日の運勢は？", {}),
        ("Tell the fortune of my leopard", {}),
        ("Tell me the fortune of a Leo", {"sign": "leo"}),
        ("蟹座の運勢は？", {"sign": "cancer"}),
        ("게자리 운세 알려줘", {"sign": "cancer"}),
        ("How is the weather?", {}),
        ("大阪の天気は？", {"city": "Osaka"}),
        ("Will it rain tomorrow in Tokyo?", {"city": "Tokyo"}),
        ("今何時？", {}),
        ("What time is it in Berlin?", {"timezone": "Europe/Berlin"}),
    ],
)
def test_an_optional_argument_that_nobody_named_is_left_out(text: str, expected: Any) -> None:
    assert arguments(text, tools=OPTIONAL) == expected


def test_a_sign_that_has_to_be_given_is_drawn_where_nobody_named_one() -> None:
    drawn = {arguments("今日の運勢は？", seed=seed)["sign"] for seed in range(40)}
    assert len(drawn) > 6
    assert arguments("今日の運勢は？", seed=3) == arguments("今日の運勢は？", seed=3)


def test_the_text_to_analyse_is_passed_whole() -> None:
    assert arguments("この文章の感情を分析して：" + "あ" * 10_000) == {"text": "あ" * 10_000}
    assert arguments("「今日は最高だった」の感情を分析して") == {"text": "今日は最高だった"}


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("10**10**10 を計算して", "10**10**10"),
        ("計算して：[0] * 10**9", "[0] * 10**9"),
        ("__import__('os').system('touch x') を計算して", "__import__('os').system('touch x')"),
        ("calculate 12*7 #h12345678", "12*7"),
        ("Please compute: sqrt(2) + 1", "sqrt(2) + 1"),
        ("What is 3 + 4?", "3 + 4"),
        ("3*(4+5)はいくつ？", "3*(4+5)"),
        ("().__class__.__base__.__subclasses__() を計算して", "().__class__.__base__.__subclasses__()"),
    ],
)
def test_the_expression_is_passed_as_it_is_written(text: str, expression: str) -> None:
    assert arguments(text) == {"expression": expression}


def test_the_city_that_is_named_else_one_by_the_mark() -> None:
    assert arguments("서울 날씨 알려줘") == {"location": "Seoul"}
    chosen = {arguments("天気は？", subject=f"#h0000000{number}")["location"] for number in range(9)}
    assert len(chosen) > 3


def test_arguments_of_unknown_tools_are_filled_from_their_schema() -> None:
    schema = {
        "type": "object",
        "properties": {
            "order_id": {"type": "string"},
            "count": {"type": "integer", "minimum": 3, "maximum": 3},
            "kind": {"enum": ["only"]},
            "urgent": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
        "required": ["order_id", "count", "kind", "urgent", "tags"],
    }
    tool = {"name": "lookup_order", "description": "", "parameters": schema}
    filled = arguments("please use lookup_order", tools=(tool,))
    assert filled["order_id"] == "order_id-h12345678"
    assert (filled["count"], filled["kind"]) == (3, "only")
    assert isinstance(filled["urgent"], bool)
    assert isinstance(filled["tags"], list)
    assert "note" not in filled


def results(*outputs: tuple[str, str]) -> tuple[ToolResult, ...]:
    return tuple(ToolResult(name, "{}", output) for name, output in outputs)


def test_it_answers_with_what_the_tools_came_to() -> None:
    weather = json.dumps({"weather": [{"description": "小雨"}], "main": {"temp": 12}})
    emotion = json.dumps({"all_scores": {"中立": 0.1, "悲しみ": 0.9}})
    assert think(ask("天気は？", results=results(("get_weather", weather)))).text == "天気は小雨にゃん"
    assert think(ask("感情を分析して：x", results=results(("analyze_emotion", emotion)))).text == "感情は悲しみにゃん"
    said = think(
        ask("x", results=results(("get_time", "2026-01-01T09:05:00+09:00"), ("get_fortune", '{"rank":"大吉"}')))
    )
    assert said.text == "今は9時5分、運勢は大吉にゃん"


def test_a_tool_that_failed_does_not_hide_the_others() -> None:
    said = think(ask("x", results=results(("get_weather", '{"error": "timeout"}'), ("get_time", "10:00"))))
    assert said.text == "天気はわからない、今は10時0分にゃん"


@pytest.mark.parametrize("text", ["こんにちは" * 50, "x", "🔥💥🎯" * 9, "안녕하세요😀こんにちは🇰🇷"])
def test_the_persona_is_kept(text: str) -> None:
    said = think(ask(text)).text
    assert said.endswith("にゃん")
    assert len(said) <= 40


@pytest.mark.parametrize(
    ("text", "instructions", "expected"),
    [
        ("안녕하세요, 저는 민수입니다", "", "ko"),
        ("Hello there, friend", "", "en"),
        ("Hello there, friend", CAT, "ja"),
        ("안녕하세요", CAT + "\nユーザーの言語で答えてください。", "ko"),
        ("こんにちは", "Answer in English.", "en"),
    ],
)
def test_it_answers_in_the_language_that_is_wanted(text: str, instructions: str, expected: str) -> None:
    from harness.upstreams.scripted_model import language_of_reply

    assert language_of_reply(text, instructions) == expected


def test_it_remembers_the_conversation() -> None:
    messages = (
        Said("user", "合言葉は青い鳥です #h12345678"),
        Said("assistant", "x"),
        Said("user", "さっき何て言った？"),
    )
    said = think(Ask(seed=1, subject="s", messages=messages)).text
    assert "青い鳥" in said
    assert "#h" not in said


@pytest.mark.parametrize(
    ("told", "asked", "said"),
    [
        ("こんにちは、私の名前は田中です。", "私の名前は何？", "田中だよね"),
        ("제 이름은 민수입니다", "내 이름이 뭐예요?", "민수이라고 했죠"),
        ("Hello, my name is Alice Smith. How are you?", "What is my name?", "It is Alice Smith"),
        ("合言葉は「青い鳥」です #h12345678", "合言葉を覚えてる？", "青い鳥だよね"),
        ("The code word is blue bird.", "What was the code word?", "It is blue bird"),
    ],
)
def test_it_remembers_names_and_code_words(told: str, asked: str, said: str) -> None:
    messages = (Said("user", told), Said("assistant", "x"), Said("user", "今日はいい日"), Said("user", asked))
    assert think(Ask(seed=1, subject="s", messages=messages)).text == said
    assert said not in think(Ask(seed=1, subject="s", messages=messages[-1:])).text


def test_in_persona_shortens_to_the_limit() -> None:
    assert in_persona("あ" * 60, CAT) == "あ" * 37 + "にゃん"
    assert in_persona("はい。", "") == "はい。"


def test_kinds_are_in_the_order_in_which_they_are_named() -> None:
    assert kinds_asked("天気と今何時か教えて") == ("weather", "time")


def test_the_same_ask_gives_the_same_thought() -> None:
    assert think(ask("今日はいい日")) == think(ask("今日はいい日"))


# --- tools of a team's own -------------------------------------------------------------------------------------------


class Guest(pydantic.BaseModel):
    name: str
    email: Annotated[str, pydantic.Field(json_schema_extra={"format": "email"})]
    companions: list[Guest] = []


class Booking(pydantic.BaseModel):
    people: int = pydantic.Field(ge=2, le=12)
    tables: int = pydantic.Field(gt=50)
    when: datetime.datetime
    day: datetime.date
    kind: Literal["sushi", "pizza"]
    code: str = pydantic.Field(pattern=r"^[A-Z]{3}-\d{4}$")
    greeting: str = pydantic.Field(min_length=30)
    short: str = pydantic.Field(max_length=4)
    guests: list[Guest] = pydantic.Field(min_length=2)
    note: str | None
    share: float = pydantic.Field(gt=0, lt=0.5)
    reference: uuid.UUID
    place: Guest | str


BOOK = {"name": "book_table", "description": "Reserves", "parameters": Booking.model_json_schema()}


def test_arguments_are_what_the_schema_of_an_unknown_tool_asks_for() -> None:
    call = think(ask("Please book me a table for 7", tools=(BOOK,))).tool_calls[0]
    booking = Booking.model_validate_json(call.arguments)
    assert booking.people == 7
    assert len(booking.guests) == 2
    # Another conversation, other arguments; the same one, the same.
    assert think(ask("Please book me a table for 7", tools=(BOOK,))).tool_calls[0] == call
    other = think(ask("Please book me a table for 7", tools=(BOOK,), subject="#hothers99")).tool_calls[0]
    assert other.arguments != call.arguments


@pytest.mark.parametrize(
    ("name", "text", "is_called"),
    [
        ("book_table", "please use book_table", True),
        ("book_table", "Book a table for two", True),
        ("bookTable", "a table should be booked: book it", True),
        ("book_table", "I read a book", False),
        ("book_table", "book_tableという関数について教えて", False),
        ("lookup", "look at that", False),
    ],
)
def test_a_tool_of_a_team_s_own_is_called_by_the_words_of_its_name(name: str, text: str, is_called: bool) -> None:
    assert bool(think(ask(text, tools=({"name": name, "parameters": {}},))).tool_calls) is is_called


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^\d{3}$", "000"),
        (r"[a-z]+@x", "a@x"),
        (r"^[A-Z]{2}\.\w$", "AA.a"),
        (r"^(a|b)$", None),
        (r"(", None),
        (r"^[^a-z]{2}$", "00"),
    ],
)
def test_a_text_like_a_pattern(pattern: str, text: str | None) -> None:
    assert text_like(pattern) == text


def test_a_schema_that_leads_in_a_circle_says_nothing() -> None:
    assert plain({"$ref": "#/a"}, {"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}}) == {}
    assert plain({"$ref": "#/nowhere"}, {"type": "object"}) == {}
    assert plain({"allOf": [{"properties": {"a": {}}}, {"required": ["a"]}]}, {})["required"] == ["a"]
    assert plain({"type": ["null", "integer"]}, {}) == {"type": "integer"}


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("12 나누기 4 계산해줘", "12/4"),
        ("3足す4を計算して", "3+4"),
        ("calculate 6 times 7", "6*7"),
        ("10**10**10 を計算して", "10**10**10"),
        ("calculate: __import__('os').system('x')", "__import__('os').system('x')"),
    ],
)
def test_an_expression_in_words_is_written_in_signs(text: str, expression: str) -> None:
    assert arguments(text) == {"expression": expression}


# --- persona, language, memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instructions", "ending"),
    [
        (CAT, "にゃん"),
        ("語尾は「だワン」。", "だワン"),
        ('End every sentence with "Arr".', ", Arr"),
        ("말끝에 '냥'을 붙이세요.", "냥"),
        ("You are helpful.", ""),
    ],
)
def test_an_answer_ends_as_it_was_told_to(instructions: str, ending: str) -> None:
    assert think(ask("hello", instructions=instructions)).text.endswith(ending)
    assert in_persona("Yes.", instructions) == (f"Yes{ending}" if ending else "Yes.")


@pytest.mark.parametrize(
    ("earlier", "text", "instructions", "language"),
    [
        ((), "英語で答えて", "", "en"),
        ((), "please speak Japanese from now on", "", "ja"),
        ((), "이제부터 영어로 말해줘", "", "en"),
        (("これからは英語で話して",), "今日は楽しかった", "", "en"),
        (("これからは英語で話して", "日本語でお願い"), "good morning", "", "ja"),
        (("英語が好きです",), "おはよう", "", "ja"),
        (("I learned English at school",), "おはよう", "", "ja"),
        ((), "英語で答えて", "日本語で答えること", "ja"),
    ],
)
def test_a_wish_for_another_language_is_heard(
    earlier: tuple[str, ...], text: str, instructions: str, language: str
) -> None:
    assert language_of_reply(text, instructions, earlier) == language


def test_a_name_is_remembered_and_no_more_than_the_name() -> None:
    told = (Said("user", "my name is Taro and I like apples"), Said("assistant", "ok"))
    for question, answer in (("私の名前は？", "Taroだよね"), ("What is my name?", "It is Taro")):
        asked = Ask(seed=1, subject="x", messages=(*told, Said("user", question)))
        assert think(asked).text == answer
