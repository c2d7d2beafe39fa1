"""Does the speech arrive, and what if there is none?"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
import tracemalloc
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from agent_stage import HeldClock, KeptLog, PlainRetries, settings, wire_to
from starlette.requests import ClientDisconnect

from reference_agent.clock import Deadline, LoopClock
from reference_agent.errors import HandledFailure
from reference_agent.outbound import Outbound
from reference_agent.parts.audio import DocumentedAudio, HardenedAudio, Speech
from reference_agent.parts.emotion import NEUTRAL
from reference_agent.parts.handler import SpokenResponse
from reference_agent.wire import LoopWire


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


async def test_hardened_one_waits_for_a_first_byte_once_however_often_it_asks() -> None:
    waits: list[float] = []

    class Patient(PlainRetries):
        async def call(self, upstream: str, attempt: Any, deadline: Deadline, **options: Any) -> Any:
            waits.extend((deadline.remaining_s(), options["attempt_s"]))
            return await super().call(upstream, attempt, deadline)

    async with wire_to(SpeechServer()) as wire:
        audio = _hardened(wire_outbound=Outbound(wire, Patient()))
        assert await _all(await audio.speak(["はい"], NEUTRAL, "ja", HeldClock().deadline(100)))
    first_byte_s = settings().tts_first_byte_s
    assert waits == [pytest.approx(first_byte_s), pytest.approx(first_byte_s)]


async def test_hardened_one_passes_on_only_audio() -> None:
    page = SpokenLetters("")
    page.audio = b"<html>" * 100
    async with wire_to(lambda _: httpx2.Response(200, stream=page)) as wire:
        audio = _hardened(wire_outbound=Outbound(wire, PlainRetries()))
        assert await audio.speak(["はい"], NEUTRAL, "ja", HeldClock().deadline()) is None


def _hardened(wire_outbound: Outbound) -> HardenedAudio:
    return HardenedAudio(settings(), wire_outbound, KeptLog())


class SpeechOverTheWire:
    """A speech server behind a real socket: it sends as fast as it is read, and counts."""

    def __init__(self, data_bytes: int) -> None:
        self.sent = 0
        self.cut_off = asyncio.Semaphore(0)
        """Released for each answer whose reader went away."""
        self._data_bytes = data_bytes

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(length)
            audio = _wav(b"")[:40] + struct.pack("<I", self._data_bytes)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(audio) + self._data_bytes) + audio)
            for at in range(0, self._data_bytes, 65536):
                writer.write(bytes(min(65536, self._data_bytes - at)))
                await writer.drain()
                self.sent += 65536
        except (ConnectionError, asyncio.IncompleteReadError):
            self.cut_off.release()
        finally:
            writer.close()


@asynccontextmanager
async def _speaking(server: SpeechOverTheWire, **given: Any) -> AsyncIterator[tuple[HardenedAudio, KeptLog]]:
    async with await asyncio.start_server(server, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        wire, log = LoopWire(), KeptLog()
        try:
            yield HardenedAudio(settings(tts_url=url, **given), Outbound(wire, PlainRetries()), log), log
        finally:
            await wire.close()


async def _opened(audio: HardenedAudio, *pieces: str) -> Speech:
    speech = await audio.speak(list(pieces), NEUTRAL, "ja", Deadline.after(LoopClock(), 30))
    assert speech is not None
    return speech


async def _begun(audio: HardenedAudio, *pieces: str) -> Any:
    content: Any = (await _opened(audio, *pieces)).content
    await anext(content)
    await anext(content)
    return content


async def test_hardened_one_has_flat_memory_however_long_the_speech() -> None:
    server = SpeechOverTheWire(64_000_000)
    async with _speaking(server) as (audio, _):
        content = await _begun(audio, "long")
        tracemalloc.start()
        length = sum([len(piece) async for piece in content])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert length > 63_000_000
    assert peak < 4_000_000, "64 MB went through; measured 0.7 MB, in the server's own blocks as well"


async def test_hardened_one_lets_the_speech_server_wait_for_a_slow_caller() -> None:
    server = SpeechOverTheWire(64_000_000)
    async with _speaking(server) as (audio, _):
        content = await _begun(audio, "long")
        before = -1
        while server.sent != before:  # until it is stopped by nobody reading
            before = server.sent
            await asyncio.sleep(0.2)
        assert server.sent < 32_000_000, "no more than sockets hold; measured 4.2 MB"
        await content.aclose()
        await asyncio.wait_for(server.cut_off.acquire(), 10)


@pytest.mark.parametrize("leaves", ["disconnects", "cannot be written to"])
async def test_hardened_one_lets_go_of_all_pieces_when_its_caller_leaves(leaves: str) -> None:
    server = SpeechOverTheWire(64_000_000)
    taken = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await taken.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            taken.set()
            if leaves == "disconnects":
                await asyncio.Event().wait()  # a caller who takes no more
            raise OSError("broken pipe")

    async with _speaking(server) as (audio, log):
        response = SpokenResponse(Speech(await _begun(audio, "one", "two", "three")), {})
        version = "2.3" if leaves == "disconnects" else "2.4"
        with contextlib.suppress(ClientDisconnect):
            await response({"type": "http", "asgi": {"spec_version": version}}, receive, send)  # type: ignore[arg-type]
        for _ in range(3):
            await asyncio.wait_for(server.cut_off.acquire(), 10)
        assert log.events == []


async def test_hardened_one_lets_go_of_all_pieces_when_its_caller_has_left_before_they_begin() -> None:
    server = SpeechOverTheWire(64_000_000)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        raise OSError("broken pipe")

    async with _speaking(server) as (audio, _):
        response = SpokenResponse(await _opened(audio, "one", "two"), {})
        with contextlib.suppress(ClientDisconnect):
            await response({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)  # type: ignore[arg-type]
        for _ in range(2):
            await asyncio.wait_for(server.cut_off.acquire(), 10)


async def test_hardened_one_abandons_what_nobody_takes() -> None:
    server = SpeechOverTheWire(64_000_000)
    async with _speaking(server, speech_stall_s=0.05) as (audio, log):
        content = await _begun(audio, "one", "two")
        for _ in range(2):
            await asyncio.wait_for(server.cut_off.acquire(), 10)
        assert log.events == ["speech_not_taken"]
        with contextlib.suppress(httpx2.HTTPError):  # what is left of it, if the caller comes back
            async for _ in content:
                pass
