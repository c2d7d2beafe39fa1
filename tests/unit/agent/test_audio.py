"""Does the speech arrive, and what if there is none?"""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import AsyncIterator

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, settings, wire_to

from reference_agent.errors import HandledFailure
from reference_agent.outbound import Outbound
from reference_agent.parts.audio import DocumentedAudio, HardenedAudio, Speech
from reference_agent.parts.emotion import NEUTRAL


def _wav(samples: bytes) -> bytes:
    form = struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt " + form
    return head + b"data" + struct.pack("<I", len(samples)) + samples


class SpokenLetters(httpx2.AsyncByteStream):
    """Samples that are the text's own bytes, in pieces of 10."""

    def __init__(self, text: str) -> None:
        self.audio = _wav(text.encode("utf-16-le"))
        self.closed = False
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.audio), 10):
            self.sent += 1
            yield self.audio[at : at + 10]

    async def aclose(self) -> None:
        self.closed = True


class SpeechServer:
    def __init__(self, status: int = 200) -> None:
        self.streams: list[SpokenLetters] = []
        self._status = status

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.streams.append(SpokenLetters(json.loads(request.content)["text"]))
        return httpx2.Response(self._status, stream=self.streams[-1])


async def _all(speech: Speech | None) -> bytes:
    assert speech is not None
    content = speech.content
    return b"".join([piece async for piece in content] if isinstance(content, AsyncIterator) else list(content))


def _spoken(audio: bytes) -> str:
    with wave.open(io.BytesIO(audio)) as file:
        assert file.getframerate() == 24000
        return file.readframes(file.getnframes()).decode("utf-16-le")


async def test_documented_one_takes_it_whole_into_memory() -> None:
    server = SpeechServer()
    async with wire_to(server) as wire:
        speech = await DocumentedAudio(settings(), Outbound(wire, PlainRetries())).speak(
            ["はいにゃん"], NEUTRAL, "ja", HeldClock().deadline()
        )
        assert server.streams[0].closed, "read to its end before anything is passed on"
    assert _spoken(await _all(speech)) == "はいにゃん"


async def test_documented_one_fails_with_its_server() -> None:
    async with wire_to(SpeechServer(500)) as wire:
        with pytest.raises(HandledFailure, match="TTS failed: 500"):
            await DocumentedAudio(settings(), Outbound(wire, PlainRetries())).speak(
                ["はい"], NEUTRAL, "ja", HeldClock().deadline()
            )


@pytest.mark.parametrize("pieces", [["はいにゃん"], ["長い返事にゃん。", "つづきにゃん。", "おわりにゃん。"]])
async def test_hardened_one_passes_it_on_as_one_file(pieces: list[str]) -> None:
    server = SpeechServer()
    async with wire_to(server) as wire:
        speech = await _hardened(wire_outbound=Outbound(wire, PlainRetries())).speak(
            pieces, NEUTRAL, "ja", HeldClock().deadline()
        )
        assert all(stream.sent <= 6 for stream in server.streams), "no more than the head is read beforehand"
        assert _spoken(await _all(speech)) == "".join(pieces)
    assert all(stream.closed for stream in server.streams)


async def test_hardened_one_lets_go_when_the_caller_leaves() -> None:
    server = SpeechServer()
    async with wire_to(server) as wire:
        speech = await _hardened(wire_outbound=Outbound(wire, PlainRetries())).speak(
            ["あ" * 1000, "い" * 1000], NEUTRAL, "ja", HeldClock().deadline()
        )
        assert speech is not None
        content = speech.content
        assert isinstance(content, AsyncIterator)
        await anext(content)
        await content.aclose()  # type: ignore[attr-defined]
    assert all(stream.closed for stream in server.streams)
    assert all(stream.sent < 20 for stream in server.streams)


@pytest.mark.parametrize("pieces", [["はい"], ["はい", "にゃん"]])
async def test_hardened_one_does_without_speech(pieces: list[str]) -> None:
    async with wire_to(SpeechServer(503)) as wire:
        audio = _hardened(wire_outbound=Outbound(wire, PlainRetries()))
        assert await audio.speak(pieces, NEUTRAL, "ja", HeldClock().deadline()) is None


async def test_hardened_one_passes_on_only_audio() -> None:
    page = SpokenLetters("")
    page.audio = b"<html>" * 100
    async with wire_to(lambda _: httpx2.Response(200, stream=page)) as wire:
        audio = _hardened(wire_outbound=Outbound(wire, PlainRetries()))
        assert await audio.speak(["はい"], NEUTRAL, "ja", HeldClock().deadline()) is None


def _hardened(wire_outbound: Outbound) -> HardenedAudio:
    return HardenedAudio(settings(), wire_outbound, KeptLog())
