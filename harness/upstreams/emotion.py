"""The emotion server: `POST /analyze` with a text gives a label and a score for each of eight emotions."""

from __future__ import annotations

from harness.upstreams.chance import fraction
from harness.upstreams.exchange import TEXT_KEPT, Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, text_in_body
from harness.upstreams.wire import Reply, json_reply

EMOTIONS = ("joy", "sadness", "anger", "fear", "surprise", "disgust", "neutral", "other")
LABELS: dict[str, dict[str, str]] = {
    "en": {emotion: emotion for emotion in EMOTIONS},
    "ja": dict(zip(EMOTIONS, ("喜び", "悲しみ", "怒り", "恐れ", "驚き", "嫌悪", "中立", "その他"), strict=True)),
    "ko": dict(zip(EMOTIONS, ("기쁨", "슬픔", "분노", "두려움", "놀라움", "혐오", "중립", "기타"), strict=True)),
}
"""What the servers in use call the emotions, by the language they are set to."""

_WORDS: dict[str, tuple[str, ...]] = {
    "joy": ("嬉し", "うれし", "楽し", "幸せ", "最高", "기쁘", "행복", "즐거", "happy", "glad", "joy", "great"),
    "sadness": ("悲し", "かなし", "寂し", "辛い", "つらい", "슬프", "슬퍼", "외로", "sad", "lonely", "cry"),
    "anger": ("怒", "腹が立", "むかつ", "화나", "화가", "angry", "furious", "mad at"),
    "fear": ("怖", "こわい", "恐", "不安", "무서", "두려", "afraid", "scared", "fear"),
    "surprise": ("驚", "びっくり", "まさか", "놀라", "놀랐", "surprise", "wow", "unexpected"),
    "disgust": ("嫌い", "気持ち悪", "うんざり", "싫", "역겨", "disgust", "gross", "hate"),
}


def emotion_of(text: str) -> str:
    """Return the emotion that most words of a text stand for, `neutral` where none does."""
    beginning = text[:2000].casefold()
    counts = {emotion: sum(beginning.count(word) for word in words) for emotion, words in _WORDS.items()}
    strongest = max(counts, key=lambda emotion: counts[emotion])
    return strongest if counts[strongest] else "neutral"


def scores(text: str, seed: int) -> dict[str, float]:
    """Return a score between 0 and 1 for each emotion; they add up to 1. A text without emotion is wholly neutral."""
    emotion = emotion_of(text)
    if emotion == "neutral":
        return {one: 1.0 if one == "neutral" else 0.0 for one in EMOTIONS}
    certain = round(0.7 + 0.25 * fraction(seed, text[:TEXT_KEPT], "emotion"), 3)
    rest = round(1.0 - certain, 3)
    return {one: certain if one == emotion else rest if one == "neutral" else 0.0 for one in EMOTIONS}


class Emotion(Service):
    """Analyses one text after the other, longer for longer ones: this is what overloads it."""

    name = "emotion"
    port_offset = 3
    exports = ("EMOTION_URL",)

    def text_of(self, exchange: Exchange) -> str:
        return text_in_body(exchange, "text")

    @routed("POST /analyze")
    def analyze(self, exchange: Exchange) -> Reply:
        """Return the strongest emotion and all scores, labelled in the language that is set."""
        text = self.json_text(exchange, "text")
        exchange.charge(self.epoch.prices.per_emotion_usd)
        labels = LABELS[self.epoch.settings.emotion_labels]
        found = scores(text, self.epoch.seed)
        strongest = max(found, key=lambda emotion: found[emotion])
        return json_reply(
            {
                "emotion": labels[strongest],
                "all_scores": {labels[emotion]: score for emotion, score in found.items()},
            },
            after_s=self.in_lane(exchange, self.epoch.takes(exchange, "emotion", len(text))),
        )

    @routed("GET /health")
    def health(self, exchange: Exchange) -> Reply:
        """Say that it is up."""
        return json_reply({"status": "ok"})

    def error(self, status: int, message: str | None) -> Reply:
        words = {404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
        return json_reply({"detail": message or words.get(status, "emotion analysis failed")}, status=status)
