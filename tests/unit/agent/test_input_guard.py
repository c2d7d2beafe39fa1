"""Is a request worked on that should not be?"""

from __future__ import annotations

import json

import pytest
from agent_stage import HeldClock, settings

from reference_agent.compose import Composition
from reference_agent.conversation import BadArguments, ToolCall
from reference_agent.errors import Refused
from reference_agent.parts.input_guard import DocumentedInputGuard, HardenedInputGuard


def test_documented_one_takes_any_length() -> None:
    assert DocumentedInputGuard().check("u", "あ" * 100_000) == ("u", "あ" * 100_000)
    assert DocumentedInputGuard().check(None, 5) == ("None", "5")
    city = "あ" * 100_000
    assert DocumentedInputGuard().tool_arguments("get_weather", json.dumps({"city": city})) == {"city": city}


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [
        ("get_weather", {"city": "あ" * 101}, "city is longer than 100 characters"),
        ("calculate", {"expression": "1+" * 101}, "longer than 200"),
        ("get_time", {"timezone": "x" * 65}, "longer than 64"),
        ("analyze_emotion", {"text": "あ" * 2001}, "longer than 2000"),
        ("some_other", {"x" * 99: "あ" * 2001}, "^x{40} is longer than 2000"),
        ("get_weather", {"city": ["Tokyo"]}, "city must be a text"),
        ("get_weather", {"city": "\ud83d"}, "not valid Unicode"),
        ("get_weather", {str(i): "" for i in range(11)}, "more than 10 arguments"),
        ("get_weather", {"city": "あ" * 100_000}, "the arguments are too long"),
        ("get_weather", [], "not a JSON object"),
    ],
)
def test_hardened_one_bounds_what_tools_are_given(tool: str, arguments: object, why: str) -> None:
    with pytest.raises(BadArguments, match=why):
        HardenedInputGuard(settings()).tool_arguments(tool, json.dumps(arguments))


@pytest.mark.parametrize("arguments", ["not json", "{", "[" * 5000])
def test_hardened_one_takes_nothing_but_json(arguments: str) -> None:
    with pytest.raises(BadArguments, match="not JSON"):
        HardenedInputGuard(settings()).tool_arguments("get_weather", arguments)


def test_hardened_one_hands_tools_clean_text() -> None:
    guard = HardenedInputGuard(settings())
    assert guard.tool_arguments("get_weather", "") == {}
    given = {"city": "か\u3099\x00っこう", "days": 3, "now": True}
    assert guard.tool_arguments("get_weather", json.dumps(given)) == {"city": "がっこう", "days": 3, "now": True}
    assert guard.tool_arguments("analyze_emotion", json.dumps({"text": "あ" * 2000})) == {"text": "あ" * 2000}


async def test_what_is_too_long_for_a_tool_never_reaches_it() -> None:
    composition = Composition(settings(profile="hardened"), {})
    with pytest.raises(BadArguments, match="city is longer"):
        await composition.get("toolbox").run(
            ToolCall("c", "get_weather", json.dumps({"city": "あ" * 101})), HeldClock().deadline()
        )
    await composition.close()


@pytest.mark.parametrize(
    ("user_id", "message", "status"),
    [
        ("u", "あ" * 2001, 413),
        ("", "hi", 422),
        ("u" * 201, "hi", 422),
        (None, "hi", 422),
        ("u", None, 422),
        ("u", 5, 422),
        ("u", "  ", 422),
        ("u", "\u200b\u3000\ufeff", 422),
        ("u", "\ud83d", 422),
        ("u", "\x00", 422),
    ],
)
def test_hardened_one_refuses(user_id: object, message: object, status: int) -> None:
    with pytest.raises(Refused) as refused:
        HardenedInputGuard(settings()).check(user_id, message)
    assert refused.value.status == status


@pytest.mark.parametrize("message", ["안녕하세요😀こんにちは🇰🇷", "あ" * 2000, "👨‍👩‍👧", "two\nlines\tand a tab"])
def test_hardened_one_leaves_text_as_it_was_written(message: str) -> None:
    assert HardenedInputGuard(settings()).check("u", message) == ("u", message)
