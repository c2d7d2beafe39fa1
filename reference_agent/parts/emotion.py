"""What does a text feel like, and how is that said to the speech server?"""

from __future__ import annotations

import json
from typing import Any, Protocol

from reference_agent.clock import Deadline
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.logging import Logging
from reference_agent.settings import Settings
from reference_agent.trouble import trouble_in

Vector = list[float]
"""Joy, sadness, anger, fear, surprise, disgust, neutral, other: in the order in which the speech server takes them."""

_KOREAN = ("기쁨", "슬픔", "분노", "두려움", "놀라움", "혐오", "중립", "기타")
_JAPANESE = ("喜び", "悲しみ", "怒り", "恐れ", "驚き", "嫌悪", "中立", "その他")
_ENGLISH = ("joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "other")
NEUTRAL: Vector = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]


class Emotion(Protocol):
    """Asks the emotion server."""

    async def analyze(self, text: str, deadline: Deadline) -> str:
        """Return what the emotion server says about a text, as JSON."""
        ...

    def vector(self, analysis: str | None) -> Vector:
        """Return how the speech is to sound: eight figures from 0 to 1; None: nothing was analysed in this turn."""
        ...


class DocumentedEmotion:
    """Sends the whole text, waits as long as it takes; knows the labels in Korean only: another naming is silence."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.emotion_url.rstrip('/')}/analyze"
        self._outbound = outbound

    async def analyze(self, text: str, deadline: Deadline) -> str:
        answer = await self._outbound.post_json("emotion", self._url, {"text": text}, deadline, float("inf"))
        return json.dumps(answer, ensure_ascii=False)

    def vector(self, analysis: str | None) -> Vector:
        if analysis is None:
            return NEUTRAL
        scores = json.loads(analysis)["all_scores"]
        return [scores.get(label, 0.0) for label in _KOREAN]


class ProposedEmotion(DocumentedEmotion):
    """As documented, but neutral when the server fails: in a naming that its own `vector` takes for silence."""

    async def analyze(self, text: str, deadline: Deadline) -> str:
        try:
            return await super().analyze(text, deadline)
        except Exception:  # the documented hole
            return json.dumps({"all_scores": {"中立": 1.0}}, ensure_ascii=False)


_INDEX = {label: i for labels in (_KOREAN, _JAPANESE, _ENGLISH) for i, label in enumerate(labels)}


class HardenedEmotion:
    """Sends a bounded text, waits a bounded time, has something to say without the server, knows three namings.

    A naming that it does not know is noticed (logged), and sounds neutral instead of silent.
    """

    def __init__(self, settings: Settings, outbound: Outbound, logging: Logging) -> None:
        self._url = f"{settings.emotion_url.rstrip('/')}/analyze"
        self._chars = settings.emotion_chars
        self._limit_s = settings.emotion_deadline_s
        self._outbound = outbound
        self._logging = logging

    async def analyze(self, text: str, deadline: Deadline) -> str:
        limit_s = min(self._limit_s, deadline.remaining_s())
        try:
            answer = await self._outbound.post_json(
                "emotion", self._url, {"text": text[: self._chars]}, deadline, limit_s
            )
        except Exception as failure:
            if not isinstance(failure, Unavailable | OutOfTime) and trouble_in(failure) is None:
                raise
            self._logging.warned("emotion_unavailable", reason=type(failure).__name__)
            answer = {"emotion": "中立", "all_scores": {"中立": 1.0}}
        return json.dumps(answer, ensure_ascii=False)

    def vector(self, analysis: str | None) -> Vector:
        scores = _scores(analysis)
        if scores is None:
            return NEUTRAL
        vector = [0.0] * len(NEUTRAL)
        unknown = []
        for label, score in scores.items():
            index = _INDEX.get(label)
            if index is None:
                unknown.append(label)
            elif isinstance(score, int | float):
                vector[index] = min(1.0, max(0.0, float(score)))
        if unknown:
            self._logging.warned("emotion_labels_unknown", labels=unknown[:8])
        return vector if any(vector) else NEUTRAL


def _scores(analysis: str | None) -> dict[str, Any] | None:
    if analysis is None:
        return None
    try:
        scores = json.loads(analysis)["all_scores"]
    except (ValueError, KeyError, TypeError):
        return None
    return scores if isinstance(scores, dict) else None


VARIANTS = {"documented": DocumentedEmotion, "proposed": ProposedEmotion, "hardened": HardenedEmotion}
