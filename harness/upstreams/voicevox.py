"""VOICEVOX: `POST /audio_query?text=&speaker=` gives a query, `POST /synthesis?speaker=` with it gives a WAV."""

from __future__ import annotations

from typing import Any

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError
from harness.upstreams.sound import SYLLABLES_PER_S, seconds_to_speak, wav
from harness.upstreams.wire import Reply, json_reply

_VERSION = "0.24.1"
_STYLES = ((3, "ノーマル"), (1, "あまあま"), (7, "ツンツン"), (5, "セクシー"))
_QUERY_FIELDS = (
    "speedScale",
    "pitchScale",
    "intonationScale",
    "volumeScale",
    "prePhonemeLength",
    "postPhonemeLength",
    "outputSamplingRate",
    "outputStereo",
)


class Voicevox(Service):
    """Synthesises one text at a time. The query carries the text in `kana`, so that synthesis knows what it speaks."""

    name = "voicevox"
    port_offset = 8
    exports = ("VOICEVOX_URL",)

    def text_of(self, exchange: Exchange) -> str:
        if "text" in exchange.query:
            return exchange.query["text"]
        kana = exchange.json_object.get("kana")
        return kana if isinstance(kana, str) else ""

    @routed("GET /version")
    def version(self, exchange: Exchange) -> Reply:
        """Return the engine's version."""
        return json_reply(_VERSION)

    @routed("GET /speakers")
    def speakers(self, exchange: Exchange) -> Reply:
        """List the speakers and their styles."""
        return json_reply(
            [
                {
                    "name": "ずんだもん",
                    "speaker_uuid": "388f246b-8c41-4ac1-8e2d-5d79f3ff56d9",
                    "styles": [{"name": name, "id": id_, "type": "talk"} for id_, name in _STYLES],
                    "version": _VERSION,
                    "supported_features": {"permitted_synthesis_morphing": "SELF_ONLY"},
                }
            ]
        )

    @routed("POST /audio_query")
    def audio_query(self, exchange: Exchange) -> Reply:
        """Return how a text is to be spoken."""
        self._check_speaker(exchange)
        text = exchange.query.get("text")
        if text is None:
            raise ServiceError(422, "Field required: text (query)")
        return json_reply(
            {
                "accent_phrases": _phrases(text),
                "speedScale": 1.0,
                "pitchScale": 0.0,
                "intonationScale": 1.0,
                "volumeScale": 1.0,
                "prePhonemeLength": 0.1,
                "postPhonemeLength": 0.1,
                "pauseLength": None,
                "pauseLengthScale": 1.0,
                "outputSamplingRate": 24000,
                "outputStereo": False,
                "kana": text,
            },
            after_s=self.epoch.takes(exchange, "other"),
        )

    @routed("POST /synthesis")
    def synthesis(self, exchange: Exchange) -> Reply:
        """Speak what a query says."""
        self._check_speaker(exchange)
        try:
            query = exchange.json
        except msgspec.DecodeError as error:
            raise ServiceError(422, f"JSON decode error: {error}") from error
        absent = [name for name in _QUERY_FIELDS if not isinstance(query, dict) or name not in query]
        if absent:
            raise ServiceError(422, f"Field required: {', '.join(absent)}")
        speed = _number(query, "speedScale", 0.1, 10.0)
        rate_hz = round(_number(query, "outputSamplingRate", 8000, 192_000))
        text = exchange.text
        seconds = seconds_to_speak(text, speed=speed) + _number(query, "prePhonemeLength", 0, 10)
        seconds = exchange.speaks_for(seconds)
        exchange.charge(self.epoch.prices.of_speech(len(text)))
        work_s = self.epoch.takes(exchange, "voicevox", len(text))
        audio = wav(seconds, rate_hz=rate_hz, channels=2 if query["outputStereo"] is True else 1)
        return Reply(200, audio, (("content-type", "audio/wav"),), self.in_lane(exchange, work_s))

    @staticmethod
    def _check_speaker(exchange: Exchange) -> None:
        speaker = exchange.query.get("speaker", "")
        if not speaker.isdigit():
            raise ServiceError(422, "Field required: speaker (query, an integer)")
        if int(speaker) not in [id_ for id_, _ in _STYLES]:
            raise ServiceError(404, f"style_id={speaker} is not found.")

    def error(self, status: int, message: str | None) -> Reply:
        words = {404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
        return json_reply({"detail": message or words.get(status, "synthesis failed")}, status=status)


def _number(query: dict[str, Any], name: str, low: float, high: float) -> float:
    value = query[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ServiceError(422, f"{name}: expected a number from {low:g} to {high:g}")
    return float(value)


def _phrases(text: str) -> list[dict[str, Any]]:
    """Return one accent phrase whose syllables stand for the text's letters."""
    letters = [letter for letter in text if letter.isalnum()]
    if not letters:
        return []
    length = 1 / SYLLABLES_PER_S
    moras = [
        {
            "text": letter,
            "consonant": None,
            "consonant_length": None,
            "vowel": "a",
            "vowel_length": round(length, 4),
            "pitch": 5.5,
        }
        for letter in letters
    ]
    return [{"moras": moras, "accent": 1, "pause_mora": None, "is_interrogative": text.endswith(("?", "？"))}]
