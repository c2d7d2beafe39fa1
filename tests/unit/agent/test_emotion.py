"""Is the emotion server spared, and is what it says heard?"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, settings, wire_to

from reference_agent.outbound import Outbound
from reference_agent.parts.emotion import NEUTRAL, DocumentedEmotion, HardenedEmotion, ProposedEmotion

_JOY = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]


class EmotionServer:
    def __init__(self, answer: Any = None, status: int = 200) -> None:
        self.texts: list[str] = []
        self._answer = answer or {"emotion": "기쁨", "all_scores": {"기쁨": 1.0}}
        self._status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.texts.append(json.loads(request.content)["text"])
        return httpx2.Response(self._status, json=self._answer)


async def test_documented_one_sends_the_whole_text() -> None:
    server = EmotionServer()
    async with wire_to(server) as wire:
        emotion = DocumentedEmotion(settings(), Outbound(wire, PlainRetries()))
        await emotion.analyze("あ" * 10_000, HeldClock().deadline())
    assert len(server.texts[0]) == 10_000


async def test_documented_one_fails_with_its_server() -> None:
    async with wire_to(EmotionServer(status=500)) as wire:
        emotion = DocumentedEmotion(settings(), Outbound(wire, PlainRetries()))
        with pytest.raises(httpx2.HTTPStatusError):
            await emotion.analyze("あ", HeldClock().deadline())


def test_documented_one_turns_another_naming_into_silence() -> None:
    emotion = DocumentedEmotion(settings(), None)  # type: ignore[arg-type]
    assert emotion.vector('{"all_scores": {"기쁨": 1.0}}') == _JOY
    assert emotion.vector('{"all_scores": {"喜び": 1.0}}') == [0.0] * 8


async def test_hardened_one_bounds_the_text_and_lives_without_its_server() -> None:
    server, log = EmotionServer(status=500), KeptLog()
    async with wire_to(server) as wire:
        emotion = HardenedEmotion(settings(), Outbound(wire, PlainRetries()), log)
        said = await emotion.analyze("あ" * 10_000, HeldClock().deadline())
    assert len(server.texts[0]) == 500
    assert json.loads(said) == {"emotion": "中立", "all_scores": {"中立": 1.0}}
    assert log.events == ["emotion_unavailable"]


@pytest.mark.parametrize("label", ["기쁨", "喜び", "joy"])
def test_hardened_one_knows_three_namings(label: str) -> None:
    emotion = HardenedEmotion(settings(), None, KeptLog())  # type: ignore[arg-type]
    assert emotion.vector(json.dumps({"all_scores": {label: 1.0}})) == _JOY


@pytest.mark.parametrize("analysis", [None, "not json", "[]", '{"all_scores": 3}', '{"all_scores": {"fröhlich": 1}}'])
def test_hardened_one_is_never_silent(analysis: str | None) -> None:
    log = KeptLog()
    emotion = HardenedEmotion(settings(), None, log)  # type: ignore[arg-type]
    assert emotion.vector(analysis) == NEUTRAL
    assert log.events == (["emotion_labels_unknown"] if analysis and "fröhlich" in analysis else [])


async def test_proposed_one_is_silent_when_its_server_fails() -> None:
    server = EmotionServer(status=500)
    async with wire_to(server) as wire:
        emotion = ProposedEmotion(settings(), Outbound(wire, PlainRetries()))
        said = await emotion.analyze("あ" * 10_000, HeldClock().deadline())
    assert len(server.texts[0]) == 10_000
    assert emotion.vector(said) == [0.0] * 8
