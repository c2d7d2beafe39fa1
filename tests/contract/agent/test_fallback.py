"""Does an answer keep what the other tools told when one of them is down?"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from tests.contract.agent.agent_process import Agent


@pytest.mark.parametrize(
    ("message", "weather", "time"),
    [
        ("What time is it, and how is the weather?", "the weather is unknown", "it is "),
        ("今の天気と時刻を教えて", "天気はいま不明", "時"),
        ("지금 날씨와 시간을 알려 주세요", "날씨는 지금 알 수 없어요", "시 "),
    ],
)
def test_what_the_others_told_is_still_said(
    message: str, weather: str, time: str, start_agent: Callable[..., Agent]
) -> None:
    agent = start_agent()
    agent.stand.arm("status", upstream="weather", status=500)
    reply = unquote(agent.chat("u", message).headers["X-GPT-Reply"])
    assert weather in reply
    assert time in reply.replace(weather, "")
    assert reply.endswith("にゃん")
    assert len(reply) <= 40
