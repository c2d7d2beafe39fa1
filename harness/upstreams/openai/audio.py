"""Speech: `POST /v1/audio/speech`, as one body that streams or as events.

Every format is the same hum; AAC, for which there is no encoder, is refused.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from harness.upstreams.exchange import Exchange
from harness.upstreams.openai import shapes
from harness.upstreams.openai.body import (
    FieldCheck,
    body_of,
    check_fields,
    one_of,
    optional_number,
    optional_text,
    text_field,
)
from harness.upstreams.openai.errors import ApiError, missing
from harness.upstreams.openai.shapes import Shaped
from harness.upstreams.prices import tokens_in
from harness.upstreams.routing import routed
from harness.upstreams.sound import Encoding, encoded, encoded_before, pcm, seconds_to_speak, wav
from harness.upstreams.sse import event, stream_head
from harness.upstreams.wire import Data, Head, Reply, Step, Wait, Work, scripted

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_RATE_HZ = 24_000
_LONGEST_INPUT = 4096
_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_SPOKEN_AS: dict[str, tuple[str, Callable[[float], Generator[Step, None, bytes]]]] = {
    "mp3": ("audio/mpeg", lambda seconds: _encoded(seconds, "mp3")),
    "opus": ("audio/opus", lambda seconds: _encoded(seconds, "opus")),
    "flac": ("audio/flac", lambda seconds: _encoded(seconds, "flac")),
    "wav": ("audio/wav", lambda seconds: _at_once(wav(seconds, rate_hz=_RATE_HZ))),
    "pcm": ("audio/pcm", lambda seconds: _at_once(pcm(seconds, rate_hz=_RATE_HZ))),
}
"""Content type of each format, and what has to be done for speech of so many seconds, which comes to its bytes."""
_FIELDS: dict[str, FieldCheck] = {"voice": Shaped(shapes.VOICE), "instructions": optional_text}
_SPEAKS_AT = 3.0
"""Times real time: how fast audio follows the first byte."""
_PIECE_S = 0.5
"""Seconds of audio in one piece of a stream."""


_Pieces = Generator[Step, None, list[bytes]]
"""What has to be done first, which comes to the pieces that are sent."""


class Audio:
    """Text to speech."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api

    def identify(self, exchange: Exchange) -> None:
        """Note what is to be spoken."""
        text = exchange.json_object.get("input")
        if isinstance(text, str):
            exchange.about(text)

    @routed("POST /v1/audio/speech")
    def speak(self, exchange: Exchange) -> Reply:
        """Speak a text of at most 4,096 characters."""
        body = body_of(exchange)
        exchange.model = text_field(body, "model")
        text = text_field(body, "input")
        if len(text) > _LONGEST_INPUT:
            raise ApiError(
                400,
                f"Invalid 'input': string too long. Expected a string with maximum length {_LONGEST_INPUT}, but got a"
                f" string with length {len(text)} instead.",
                param="input",
                code="string_above_max_length",
            )
        if body.get("voice") is None:
            raise missing("voice")
        check_fields(body, _FIELDS)
        speed = optional_number(body, "speed", 0.25, 4.0) or 1.0
        wanted = one_of(body, "response_format", _FORMATS) or "mp3"
        if wanted not in _SPOKEN_AS:
            raise ApiError(
                400,
                f"Unsupported value: 'response_format' does not support '{wanted}' with this model. Supported values"
                f" are: {', '.join(repr(name) for name in _SPOKEN_AS)}.",
                param="response_format",
                code="unsupported_value",
            )
        stream = one_of(body, "stream_format", ("sse", "audio"))
        exchange.charge(self._api.epoch.prices.of_speech(len(text)))
        seconds = exchange.speaks_for(seconds_to_speak(text, speed=speed))
        first_s = self._api.epoch.takes(exchange, "speech")
        content_type, spoken = _SPOKEN_AS[wanted]
        scale = self._api.epoch.latency.scale if self._api.epoch.latency.profile != "fast" else 0.0
        share = _PIECE_S / max(seconds, _PIECE_S) if scale or stream == "sse" else 1.0
        pieces = _in_pieces(spoken(seconds), share)
        if stream == "sse":
            usage = {"input_tokens": tokens_in(text), "output_tokens": round(50 * seconds)}
            return scripted(_as_events(pieces, first_s, scale, usage))
        return scripted(_as_body(pieces, first_s, scale, content_type))


def _at_once(audio: bytes) -> Generator[Step, None, bytes]:
    yield from ()
    return audio


def _encoded(seconds: float, encoding: Encoding) -> Generator[Step, None, bytes]:
    audio = encoded_before(seconds, encoding=encoding, rate_hz=_RATE_HZ)
    if audio is not None:
        return audio
    done: list[bytes] = []

    def encode(is_given_up: Callable[[], bool]) -> None:
        done.append(encoded(seconds, encoding=encoding, rate_hz=_RATE_HZ, is_given_up=is_given_up))

    yield Work(encode)
    return done[0]


def _in_pieces(spoken: Generator[Step, None, bytes], share: float) -> _Pieces:
    audio = yield from spoken
    size_bytes = math.ceil(len(audio) * share)
    return [audio[begin : begin + size_bytes] for begin in range(0, len(audio), size_bytes)]


def _as_body(spoken: _Pieces, first_s: float, scale: float, content_type: str) -> Iterator[Step]:
    pieces = yield from spoken
    yield Wait(first_s)
    yield Head(200, (("content-type", content_type),), None)
    for piece in pieces:
        yield Data(piece)
        yield Wait(scale * _PIECE_S / _SPEAKS_AT)


def _as_events(spoken: _Pieces, first_s: float, scale: float, usage: dict[str, Any]) -> Iterator[Step]:
    pieces = yield from spoken
    yield Wait(first_s)
    yield stream_head()
    for piece in pieces:
        yield event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
        yield Wait(scale * _PIECE_S / _SPEAKS_AT)
    total = usage["input_tokens"] + usage["output_tokens"]
    yield event({"type": "speech.audio.done", "usage": usage | {"total_tokens": total}})
