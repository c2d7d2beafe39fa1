"""How does the speech get from its server to the caller?"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2

from reference_agent.clock import Deadline
from reference_agent.errors import HandledFailure, OutOfTime, Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.emotion import Vector
from reference_agent.parts.logging import Logging
from reference_agent.settings import Settings
from reference_agent.trouble import trouble_in
from reference_agent.wav import HEADER_BYTES, NotPlainWav, WavHeader
from reference_agent.wire import Body


@dataclass(frozen=True)
class Speech:
    """Audio on its way to the caller."""

    content: Iterator[bytes] | AsyncIterator[bytes]
    media_type: str = "audio/wav"

    async def aclose(self) -> None:
        """Let go of it, whether anybody has listened or not."""
        close = getattr(self.content, "aclose", None)
        if close is not None:
            await close()


class Audio(Protocol):
    """Has texts spoken."""

    async def speak(self, pieces: list[str], emotions: Vector, language: str, deadline: Deadline) -> Speech | None:
        """Return the speech once it has begun to arrive; None: there is none, the reply has to do as a text."""
        ...


def _order(text: str, emotions: Vector, language: str) -> dict[str, Any]:
    return {
        "text": text,
        "language": language,
        "emotions": emotions,
        "cfg_scale": 2.0,
        "speaking_rate": 15.0,
        "pitch_std": 45.0,
        "vq_score": 0.78,
        "dnsmos": 4.0,
    }


_BLOCK_BYTES = 65536


class DocumentedAudio:
    """The whole audio into memory, then out of it; a speech server that is down fails everything."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._url = f"{settings.tts_url.rstrip('/')}/speak"
        self._outbound = outbound

    async def speak(self, pieces: list[str], emotions: Vector, language: str, deadline: Deadline) -> Speech | None:
        whole = io.BytesIO()
        for text in pieces:
            try:
                body = await self._outbound.open(
                    "tts", self._url, _order(text, emotions, language), deadline, attempt_s=float("inf")
                )
            except httpx2.HTTPStatusError as failure:
                msg = f"TTS failed: {failure.response.status_code}"
                raise HandledFailure(msg) from failure
            whole.write(await body.whole())
        return Speech(_blocks(whole))


def _blocks(whole: io.BytesIO) -> Iterator[bytes]:
    # Iterated as it is, a BytesIO gives lines; a WAV has one every 256 bytes, and each costs a hop between threads:
    # 100 ms of CPU a turn, which would drown what is to be seen.
    whole.seek(0)
    while block := whole.read(_BLOCK_BYTES):
        yield block


class HardenedAudio:
    """Passed through as it arrives; without a speech server, a text is better than nothing.

    The pieces of a long reply are asked for together and passed on one after the other under one WAV header: what
    waits does so in the speech server's socket, not in our memory. A caller who leaves closes them all, and so does one
    who takes nothing for a while: whoever opens answers and does not read them would hold the speech server's places.
    """

    needs_loop = True

    def __init__(self, settings: Settings, outbound: Outbound, logging: Logging) -> None:
        self._url = f"{settings.tts_url.rstrip('/')}/speak"
        self._first_byte_s = settings.tts_first_byte_s
        self._stall_s = settings.speech_stall_s
        self._outbound = outbound
        self._logging = logging
        self._closings: set[asyncio.Future[None]] = set()

    async def speak(self, pieces: list[str], emotions: Vector, language: str, deadline: Deadline) -> Speech | None:
        limit_s = min(self._first_byte_s, deadline.remaining_s())
        opened = [_Stream(self._outbound, self._url, _order(text, emotions, language)) for text in pieces]
        try:
            if len(opened) == 1:
                await opened[0].begin(deadline, limit_s)
            else:
                async with asyncio.TaskGroup() as tasks:
                    for stream in opened:
                        tasks.create_task(stream.begin(deadline, limit_s))
            head = opened[0].head.written(sum(stream.head.data_bytes for stream in opened))
        except BaseException as failure:
            await _close(opened)
            if not _speech_server_is_to_blame(failure):
                raise
            self._logging.warned("speech_unavailable", pieces=len(pieces))
            return None
        return Speech(_Passed(self._joined(head, opened), opened))

    async def _joined(self, head: bytes, streams: list[_Stream]) -> AsyncGenerator[bytes, None]:
        try:
            yield head
            for stream in streams:
                async for piece in stream.samples():
                    # Here it waits for the caller, for as long as it takes them to take the piece.
                    stalled = asyncio.get_running_loop().call_later(self._stall_s, self._abandon, streams)
                    try:
                        yield piece
                    finally:
                        stalled.cancel()
        finally:
            await _close(streams)

    def _abandon(self, streams: list[_Stream]) -> None:
        self._logging.warned("speech_not_taken", pieces=len(streams))
        self._closings.add(closing := asyncio.ensure_future(_close(streams)))
        closing.add_done_callback(self._closings.discard)


class _Passed:
    """What is passed on; closed, its streams are, also when nobody has begun to listen: a generator that was not begun
    knows of nothing that it would have to clean up."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], streams: list[_Stream]) -> None:
        self._pieces = pieces
        self._streams = streams

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._pieces)

    async def aclose(self) -> None:
        await self._pieces.aclose()
        await _close(self._streams)


class _Stream:
    """One piece of speech on its way."""

    def __init__(self, outbound: Outbound, url: str, order: dict[str, Any]) -> None:
        self._outbound = outbound
        self._url = url
        self._order = order
        self._body: Body | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._early = b""
        self.head = WavHeader(b"", 0)

    async def begin(self, deadline: Deadline, limit_s: float) -> None:
        """Wait until the head of the audio is there, for as long as that in all, however often it is asked for."""
        within = Deadline.after(deadline.clock, limit_s)
        self._body = await self._outbound.open("tts", self._url, self._order, within, limit_s)
        self._pieces = self._body.pieces()
        head = b""
        async with asyncio.timeout(limit_s):
            async for piece in self._pieces:
                head += piece
                if len(head) >= HEADER_BYTES:
                    break
        self.head = WavHeader.read(head)
        self._early = head[HEADER_BYTES:]

    async def samples(self) -> AsyncIterator[bytes]:
        assert self._pieces is not None
        if self._early:
            yield self._early
        async for piece in self._pieces:
            yield piece

    async def close(self) -> None:
        if self._body is not None:
            await self._body.close()


async def _close(streams: list[_Stream]) -> None:
    """Close them all, also when whoever closes them is being cancelled."""
    await asyncio.shield(asyncio.gather(*(stream.close() for stream in streams), return_exceptions=True))


def _speech_server_is_to_blame(failure: BaseException) -> bool:
    if isinstance(failure, BaseExceptionGroup):
        return all(_speech_server_is_to_blame(one) for one in failure.exceptions)
    return isinstance(failure, Unavailable | OutOfTime | NotPlainWav) or trouble_in(failure) is not None


VARIANTS = {
    "documented": DocumentedAudio,
    "proposed": DocumentedAudio,  # nothing was proposed
    "hardened": HardenedAudio,
}
