"""Do the tools ask their upstreams for the right thing, and say something that a model can use?"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, PlainRetries, settings, wire_to

from reference_agent.compose import Composition
from reference_agent.conversation import BadArguments, ToolCall, UnknownTool
from reference_agent.outbound import Outbound
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.toolbox import Toolbox
from reference_agent.tools.get_fortune import GetFortune
from reference_agent.tools.get_news import GetNews
from reference_agent.tools.get_time import GetTime
from reference_agent.tools.get_weather import GetWeather

_ANSWERS = {
    "/api/timezone/Asia/Tokyo": {"timezone": "Asia/Tokyo", "datetime": "2025-01-31T12:00:00+09:00", "unixtime": 1},
    "/data/2.5/weather": {"weather": [{"description": "晴れ"}], "main": {"temp": 3.5, "humidity": 40}},
    "/fortune": {"sign": "leo", "rank": "大吉", "text": "良い日"},
    "/v2/top-headlines": {"status": "ok", "articles": [{"title": f"見出し{i}"} for i in range(9)]},
}


@pytest.mark.parametrize(
    ("tool", "arguments", "query", "said"),
    [
        (GetTime, {}, {}, {"datetime": "2025-01-31T12:00:00+09:00", "timezone": "Asia/Tokyo"}),
        (
            GetWeather,
            {"city": "Osaka"},
            {"q": "Osaka", "units": "metric"},
            {"weather": "晴れ", "temp_c": 3.5, "temp_f": 38.3, "humidity": 40},
        ),
        (GetFortune, {"sign": "leo"}, {"sign": "leo"}, _ANSWERS["/fortune"]),
        (GetNews, {}, {"country": "jp"}, ["見出し0", "見出し1", "見出し2"]),
    ],
)
async def test_tools(tool: Any, arguments: dict[str, Any], query: dict[str, str], said: Any) -> None:
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return httpx2.Response(200, json=_ANSWERS[request.url.path])

    async with wire_to(answer) as wire:
        given = [settings(), Outbound(wire, PlainRetries()), *([DocumentedLocale()] if tool is GetTime else [])]
        output = await tool(*given)(arguments, HeldClock().deadline())
    assert json.loads(output) == said
    assert query.items() <= dict(asked[0].url.params).items()
    assert "date" not in asked[0].url.params


async def test_all_tools_are_found_and_described() -> None:
    composition = Composition(settings(profile="hardened"), {})
    toolbox: Toolbox = composition.get("toolbox")
    functions = {definition["function"]["name"]: definition["function"] for definition in toolbox.definitions()}
    assert set(functions) == {
        "get_time",
        "get_weather",
        "get_fortune",
        "get_news",
        "analyze_emotion",
        "calculate",
    }
    for function in functions.values():
        assert function["description"]
        assert function["parameters"]["type"] == "object"
    await composition.close()


@pytest.mark.parametrize(
    ("name", "arguments", "failure"),
    [
        ("no_such_tool", "{}", UnknownTool),
        ("calculate", "not json", BadArguments),
        ("calculate", "[]", BadArguments),
        ("calculate", "{}", BadArguments),
        ("calculate", '{"expression": 3}', BadArguments),
    ],
)
async def test_calls_that_make_no_sense(name: str, arguments: str, failure: type[Exception]) -> None:
    composition = Composition(settings(profile="hardened"), {})
    with pytest.raises(failure):
        await composition.get("toolbox").run(ToolCall("c", name, arguments), HeldClock().deadline())
    await composition.close()
