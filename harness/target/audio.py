"""How long does this audio play? Reads headers only, so that it costs microseconds in the load generator."""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

_CHUNK = struct.Struct("<4sI")
_WAV_FORMAT = struct.Struct("<HHIIHH")
_STREAMED_FROM = 0x7FFF0000
"""Sizes from here on are placeholders of writers that did not know the length yet: 0xFFFFFFFF (ffmpeg, OpenAI),
0x7FFFFFFF and 0x7FFFF000 (sox). A real chunk of 2 GiB is no answer of a chat agent. 0 is the other placeholder."""
_TOLERATED_CUT_BYTES = 1
"""A writer that forgot the padding byte of an odd chunk is forgiven; players do the same."""

_MPEG_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_MPEG1_LAYER3_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_LAYER3_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


class AudioError(Exception):
    """These bytes are no audio that a player opens; the message says why."""


class Audio(msgspec.Struct, frozen=True, kw_only=True):
    """What a player would find."""

    format: Literal["wav", "mp3", "flac", "ogg"]
    length_s: float


def read_audio(body: bytes) -> Audio:
    """Read the length of a WAV, MP3, FLAC or Ogg (Opus, Vorbis) body.

    A WAV that was streamed, so that its header says 0 or a huge size, is as long as the bytes that came.

    Returns:
        Its format and length; the length of an MP3 without a Xing header is an estimate from its first frame.

    Raises:
        AudioError: unknown, malformed, cut short, or holding no sound at all.
    """
    if body[:4] == b"RIFF" and body[8:12] == b"WAVE":
        audio = Audio(format="wav", length_s=_wav_s(body))
    elif body[:4] == b"fLaC":
        audio = Audio(format="flac", length_s=_flac_s(body))
    elif body[:4] == b"OggS":
        audio = Audio(format="ogg", length_s=_ogg_s(body))
    elif body[:3] == b"ID3" or (len(body) > 4 and body[0] == 0xFF and body[1] & 0xE6 == 0xE2):
        audio = Audio(format="mp3", length_s=_mp3_s(body))
    elif not body:
        raise AudioError("the body is empty where audio was promised")
    else:
        raise AudioError(f"the body is no audio that a player opens: it begins with {body[:12]!r}")
    if audio.length_s <= 0:
        raise AudioError(f"the {audio.format} audio holds no sound")
    return audio


def _wav_s(body: bytes) -> float:
    position, bytes_per_s = 12, 0
    total = len(body)
    while position + 8 <= total:
        chunk, size = _CHUNK.unpack_from(body, position)
        position += 8
        if chunk == b"data":
            if not bytes_per_s:
                raise AudioError("the wav audio has no format before its data")
            here = total - position
            if size == 0 or size >= _STREAMED_FROM:
                return here / bytes_per_s
            if size > here + _TOLERATED_CUT_BYTES:
                raise AudioError(f"the wav audio is cut short: {here} bytes of the {size} that its header promises")
            return float(size) / bytes_per_s
        if chunk == b"fmt ":
            if size < 16 or position + 16 > total:
                raise AudioError("the wav audio has a malformed format chunk")
            _codec, channels, rate_hz, bytes_per_s, _align, bits = _WAV_FORMAT.unpack_from(body, position)
            bytes_per_s = bytes_per_s or rate_hz * channels * bits // 8
            if not channels or not rate_hz or not bytes_per_s:
                raise AudioError("the wav audio says 0 channels or 0 Hz, which no player opens")
        position += size + (size & 1)
    raise AudioError("the wav audio has no data")


def _mp3_s(body: bytes) -> float:
    start = 0
    if body[:3] == b"ID3":
        if len(body) < 10:
            raise AudioError("the mp3 audio ends within its tag")
        # The size of the tag is written in four bytes of seven bits each.
        start = 10 + (body[6] << 21 | body[7] << 14 | body[8] << 7 | body[9])
    if len(body) < start + 4 or body[start] != 0xFF or body[start + 1] & 0xE0 != 0xE0:
        raise AudioError("the mp3 audio has no frame")
    version, rate_index = body[start + 1] >> 3 & 3, body[start + 2] >> 2 & 3
    kbps_index = body[start + 2] >> 4
    if body[start + 1] & 6 != 2 or version == 1 or rate_index == 3 or kbps_index in (0, 15):
        raise AudioError("the mp3 audio begins with a malformed frame")
    rate_hz = _MPEG_RATES_HZ[version][rate_index]
    kbps = (_MPEG1_LAYER3_KBPS if version == 3 else _MPEG2_LAYER3_KBPS)[kbps_index]
    samples_per_frame = 1152 if version == 3 else 576
    frame = body[start : start + 64]
    for tag in (b"Xing", b"Info"):
        at = frame.find(tag)
        if at > 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return int.from_bytes(frame[at + 8 : at + 12], "big") * samples_per_frame / rate_hz
    return (len(body) - start) * 8 / (kbps * 1000)


def _flac_s(body: bytes) -> float:
    if len(body) < 26:
        raise AudioError("the flac audio ends within its header")
    packed = int.from_bytes(body[18:26], "big")  # 20 bits rate, 3 channels, 5 sample size, 36 samples in all
    rate_hz, samples = packed >> 44, packed & 0xFFFFFFFFF
    if not rate_hz:
        raise AudioError("the flac audio says 0 Hz, which no player opens")
    # A streamed FLAC does not know its length; 700 kbit/s is what speech at 48 kHz needs at most.
    return samples / rate_hz if samples else max(0, len(body) - 42) * 8 / 700_000


def _ogg_s(body: bytes) -> float:
    last = body.rfind(b"OggS")
    if last < 0 or len(body) < last + 14:
        raise AudioError("the ogg audio ends within a page")
    granule = int.from_bytes(body[last + 6 : last + 14], "little", signed=True)
    rate_hz = 48000  # Opus counts at 48 kHz whatever was recorded
    vorbis = body.find(b"\x01vorbis", 0, 128)
    if vorbis > 0 and len(body) >= vorbis + 16:
        rate_hz = int.from_bytes(body[vorbis + 12 : vorbis + 16], "little") or rate_hz
    return max(0, granule) / rate_hz
