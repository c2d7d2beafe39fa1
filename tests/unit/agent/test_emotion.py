"""Is the emotion server spared, and is what it says heard?"""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, settings, wire_to

from reference_agent.errors import Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.emotion import (
    _ENGLISH,
    _JAPANESE,
    _KOREAN,
    NEUTRAL,
    DocumentedEmotion,
    HardenedEmotion,
    ProposedEmotion,
)
from reference_agent.parts.metrics import DocumentedMetrics

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


class Noticing(DocumentedMetrics):
    """Keeps what is counted."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def noticed(self, what: str) -> None:
        self.seen.append(what)

    def looked_up(self, what: str, level: str) -> None:
        self.seen.append(f"{what} {level or 'nowhere'}")


class Hardened:
    """A hardened part with what stands around it."""

    def __init__(self, outbound: Any = None, **given: Any) -> None:
        self.log, self.metrics, self.clock = KeptLog(), Noticing(), HeldClock()
        self.emotion = HardenedEmotion(settings(**given), self.clock, outbound, self.log, self.metrics)

    async def analyze(self, text: str = "あ") -> dict[str, Any]:
        return dict(json.loads(await self.emotion.analyze(text, self.clock.deadline())))


_NEUTRAL = {"emotion": "中立", "all_scores": {"中立": 1.0}}


async def test_hardened_one_bounds_the_text_and_lives_without_its_server() -> None:
    server = EmotionServer(status=500)
    async with wire_to(server) as wire:
        hardened = Hardened(Outbound(wire, PlainRetries()))
        assert await hardened.analyze("あ" * 10_000) == _NEUTRAL
        assert await hardened.analyze("あ" * 10_000) == _NEUTRAL
    assert [len(text) for text in server.texts] == [500, 500], "that it was down is not kept"
    assert hardened.log.events == ["emotion_unavailable"] * 2


async def test_hardened_one_asks_once_for_a_text_and_again_when_that_is_old() -> None:
    server = EmotionServer()
    async with wire_to(server) as wire:
        hardened = Hardened(Outbound(wire, PlainRetries()), emotion_keeps_s=60)
        for text in ("うれしい", "うれしい", "かなしい", "うれしい"):
            await hardened.analyze(text)
        assert server.texts == ["うれしい", "かなしい"]
        assert hardened.metrics.seen.count("emotion memory") == 2
        hardened.clock.time += 61
        await hardened.analyze("うれしい")
    assert server.texts == ["うれしい", "かなしい", "うれしい"]


async def test_hardened_one_remembers_a_bounded_number_and_no_text() -> None:
    async with wire_to(EmotionServer()) as wire:
        hardened = Hardened(Outbound(wire, PlainRetries()))
        for i in range(1100):
            await hardened.analyze(f"私の秘密{i}")
    assert len(hardened.emotion._analyses) == 1000
    assert "秘密" not in repr(hardened.emotion._analyses._kept)


async def test_hardened_one_waits_a_bounded_time() -> None:
    waited: list[float] = []

    class Impatient(PlainRetries):
        async def call(self, upstream: str, attempt: Any, deadline: Any, **options: Any) -> Any:
            waited.append(options["attempt_s"])
            raise Unavailable(upstream, "no answer in time", never_arrived=False)

    async with wire_to(EmotionServer()) as wire:
        hardened = Hardened(Outbound(wire, Impatient()), emotion_deadline_s=1.5)
        assert await hardened.analyze() == _NEUTRAL
        await hardened.emotion.analyze("あ", hardened.clock.deadline(0.3))
    assert waited == [1.5, pytest.approx(0.3)]


@pytest.mark.parametrize("label", ["기쁨", "喜び", "joy", " Joy ", "행복", "happiness"])
def test_hardened_one_knows_three_namings(label: str) -> None:
    assert Hardened().emotion.vector(json.dumps({"all_scores": {label: 1.0}})) == _JOY


@pytest.mark.parametrize("index", range(8))
def test_the_three_namings_mean_the_same(index: int) -> None:
    vectors = [
        Hardened().emotion.vector(json.dumps({"all_scores": {labels[index]: 0.5}}))
        for labels in (_KOREAN, _JAPANESE, _ENGLISH)
    ]
    assert vectors == [[0.5 if i == index else 0.0 for i in range(8)]] * 3


@pytest.mark.parametrize(
    "analysis",
    [None, "not json", "[]", '{"all_scores": 3}', '{"all_scores": {"fröhlich": 1}}', '{"all_scores": {"joy": "1"}}'],
)
def test_hardened_one_is_never_silent(analysis: str | None) -> None:
    assert Hardened().emotion.vector(analysis) == NEUTRAL


@pytest.mark.parametrize(
    ("answer", "event", "counted", "heard"),
    [
        ({"all_scores": {"fröhlich": 1.0}}, "emotion_labels_unknown", "emotion_labels", _NEUTRAL),
        ({"scores": {}}, "emotion_answer_not_understood", "emotion_answer", _NEUTRAL),
        (["joy"], "emotion_answer_not_understood", "emotion_answer", _NEUTRAL),
        (
            {"all_scores": {"joy": 1.0, "fröhlich": 1.0}},
            "emotion_labels_unknown",
            "emotion_labels",
            {"all_scores": {"joy": 1.0, "fröhlich": 1.0}},
        ),
    ],
)
async def test_a_naming_that_nobody_knows_is_noticed(
    answer: Any, event: str, counted: str, heard: dict[str, Any]
) -> None:
    async with wire_to(EmotionServer(answer)) as wire:
        hardened = Hardened(Outbound(wire, PlainRetries()))
        assert await hardened.analyze() == heard
    assert hardened.log.events == [event]
    assert counted in hardened.metrics.seen


async def test_proposed_one_is_silent_when_its_server_fails() -> None:
    server = EmotionServer(status=500)
    async with wire_to(server) as wire:
        emotion = ProposedEmotion(settings(), Outbound(wire, PlainRetries()))
        said = await emotion.analyze("あ" * 10_000, HeldClock().deadline())
    assert len(server.texts[0]) == 10_000
    assert emotion.vector(said) == [0.0] * 8
