"""What does a text feel like, and how is that said to the speech server?"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import OrderedDict
from typing import Any, Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
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


_ALSO = (
    ("행복", "嬉しい", "幸せ", "happiness", "happy"),
    ("우울", "悲哀", "sad"),
    ("화남", "憤り", "angry"),
    ("공포", "恐怖", "scared"),
    ("놀람", "驚愕", "surprised"),
    ("싫음", "不快", "disgusted"),
    ("무감정", "ニュートラル", "calm"),
    ("기타감정", "他", "others"),
)
"""What else servers call the eight, in the order of the vector."""
_INDEX = {label: i for labels in (_KOREAN, _JAPANESE, _ENGLISH) for i, label in enumerate(labels)}
_INDEX |= {label: i for i, labels in enumerate(_ALSO) for label in labels}
_NEUTRAL_ANALYSIS = {"emotion": "中立", "all_scores": {"中立": 1.0}}
_REMEMBERED = 1000  # analyses; 300 bytes each


class _Analyses:
    """What texts felt like, for a while; the texts themselves are not kept, only hashes of them with a key of ours."""

    def __init__(self, keeps_s: float, clock: Clock) -> None:
        self._keeps_s = keeps_s
        self._clock = clock
        self._key = secrets.token_bytes(16)
        self._kept: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def name_of(self, text: str) -> bytes:
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()

    def get(self, name: bytes) -> str | None:
        until, analysis = self._kept.get(name, (0.0, ""))
        if self._clock.now() < until:
            self._kept.move_to_end(name)
            return analysis
        return None

    def put(self, name: bytes, analysis: str) -> None:
        self._kept[name] = (self._clock.now() + self._keeps_s, analysis)
        self._kept.move_to_end(name)
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


class HardenedEmotion:
    """Sends a bounded text, waits a bounded time, asks once for a text, has something to say without the server.

    It knows what servers call the emotions in Korean, Japanese and English. A naming that it does not know is noticed
    (in the log and in the metrics), and sounds neutral instead of silent.
    """

    def __init__(
        self, settings: Settings, clock: Clock, outbound: Outbound, logging: Logging, metrics: Metrics
    ) -> None:
        self._url = f"{settings.emotion_url.rstrip('/')}/analyze"
        self._chars = settings.emotion_chars
        self._limit_s = settings.emotion_deadline_s
        self._outbound = outbound
        self._logging = logging
        self._metrics = metrics
        self._analyses = _Analyses(settings.emotion_keeps_s, clock)

    async def analyze(self, text: str, deadline: Deadline) -> str:
        asked = text[: self._chars]
        name = self._analyses.name_of(asked)
        kept = self._analyses.get(name)
        self._metrics.looked_up("emotion", "memory" if kept else "")
        if kept:
            return kept
        try:
            answer = await self._outbound.post_json(
                "emotion", self._url, {"text": asked}, deadline, min(self._limit_s, deadline.remaining_s())
            )
        except Exception as failure:
            if not isinstance(failure, Unavailable | OutOfTime) and trouble_in(failure) is None:
                raise
            self._logging.warned("emotion_unavailable", reason=type(failure).__name__)
            return json.dumps(_NEUTRAL_ANALYSIS, ensure_ascii=False)
        analysis = json.dumps(answer if self._is_understood(answer) else _NEUTRAL_ANALYSIS, ensure_ascii=False)
        self._analyses.put(name, analysis)
        return analysis

    def vector(self, analysis: str | None) -> Vector:
        vector = [0.0] * len(NEUTRAL)
        for label, score in _scores(analysis).items():
            index = _index_of(label)
            if index is not None and isinstance(score, int | float):
                vector[index] = max(vector[index], min(1.0, max(0.0, float(score))))
        return vector if any(vector) else NEUTRAL

    def _is_understood(self, answer: Any) -> bool:
        """Return whether anything can be made of it; what cannot is noticed."""
        scores = answer.get("all_scores") if isinstance(answer, dict) else None
        if not isinstance(scores, dict):
            self._logging.warned("emotion_answer_not_understood", type=type(answer).__name__)
            self._metrics.noticed("emotion_answer")
            return False
        unknown = [label for label in scores if _index_of(label) is None]
        if unknown:
            self._logging.warned("emotion_labels_unknown", labels=unknown[: len(NEUTRAL)])
            self._metrics.noticed("emotion_labels")
        return len(unknown) < len(scores)


def _index_of(label: str) -> int | None:
    return _INDEX.get(label.strip().casefold())


def _scores(analysis: str | None) -> dict[str, Any]:
    try:
        scores = json.loads(analysis or "null")["all_scores"]
    except (ValueError, KeyError, TypeError):
        return {}
    return scores if isinstance(scores, dict) else {}


VARIANTS = {"documented": DocumentedEmotion, "proposed": ProposedEmotion, "hardened": HardenedEmotion}
