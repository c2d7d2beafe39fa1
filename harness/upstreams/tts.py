"""The agent's own speech server: `POST /speak` with a text gives a WAV that is as long as the text takes to speak."""

from __future__ import annotations

from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError, text_in_body
from harness.upstreams.sound import seconds_to_speak, wav
from harness.upstreams.wire import Reply, json_reply


class Tts(Service):
    """Speaks whatever it is given, at the pace of `speaking_rate` (15 is usual)."""

    name = "tts"
    port_offset = 2
    exports = ("TTS_URL",)

    def text_of(self, exchange: Exchange) -> str:
        return text_in_body(exchange, "text")

    @routed("POST /speak")
    def speak(self, exchange: Exchange) -> Reply:
        """Return the speech as `audio/wav`."""
        text = self.json_text(exchange, "text")
        if not text.strip():
            raise ServiceError(400, "text is empty")
        rate = exchange.json.get("speaking_rate", 15)
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 1 <= rate <= 60:
            raise ServiceError(422, "speaking_rate: expected a number from 1 to 60")
        emotions = exchange.json.get("emotions")
        if emotions is not None and not (
            isinstance(emotions, list) and len(emotions) == 8 and all(isinstance(one, int | float) for one in emotions)
        ):
            raise ServiceError(422, "emotions: expected 8 numbers")
        exchange.charge(self.epoch.prices.of_speech(len(text)))
        audio = wav(exchange.speaks_for(seconds_to_speak(text, speed=rate / 15)))
        return Reply(200, audio, (("content-type", "audio/wav"),), self.epoch.takes(exchange, "speech", len(text)))

    @routed("GET /health")
    def health(self, exchange: Exchange) -> Reply:
        """Say that it is up."""
        return json_reply({"status": "ok"})

    def error(self, status: int, message: str | None) -> Reply:
        words = {400: "text is empty", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
        return json_reply({"detail": message or words.get(status, "speech synthesis failed")}, status=status)
