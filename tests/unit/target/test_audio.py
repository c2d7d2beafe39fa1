"""Is the length of an audio body read right, and is what no player opens recognised?"""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.target import AudioError, read_audio
from tests.unit.target.sound import wav


def streamed_wav(length_s: float, said_bytes: int, rate_hz: int = 24000) -> bytes:
    """Return a WAV whose writer did not know its length and wrote `said_bytes` instead."""
    body = bytearray(wav(length_s, rate_hz))
    struct.pack_into("<I", body, 4, said_bytes)
    struct.pack_into("<I", body, 40, said_bytes)
    return bytes(body)


def mp3(frames: int, *, tag: bool = False, vbr_frames: int | None = None) -> bytes:
    """Return an MP3 of silent frames: MPEG 1 layer III, 128 kbit/s, 44.1 kHz, 417 bytes a frame."""
    frame = bytes([0xFF, 0xFB, 0x90, 0xC4]) + bytes(413)
    body = frame * frames
    if vbr_frames is not None:
        first = bytearray(frame)
        first[36:40] = b"Xing"
        first[40:44] = (1).to_bytes(4, "big")
        first[44:48] = vbr_frames.to_bytes(4, "big")
        body = bytes(first) + body
    return (b"ID3\4\0\0\0\0\1\0" + bytes(128) if tag else b"") + body


@given(st.floats(0.01, 2.0), st.sampled_from([8000, 16000, 24000, 44100]))
def test_a_wav_is_as_long_as_it_plays(length_s: float, rate_hz: int) -> None:
    assert read_audio(wav(length_s, rate_hz)).length_s == pytest.approx(length_s, abs=1 / rate_hz)


@pytest.mark.parametrize("said", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36, 0x7FFFF000])
def test_a_streamed_wav_is_as_long_as_what_came(said: int) -> None:
    assert read_audio(streamed_wav(0.25, said)).length_s == 0.25


def test_chunks_that_are_not_sound_are_passed_over() -> None:
    body = wav(0.25)
    extra = b"LIST" + struct.pack("<I", 3) + b"abc\0"
    assert read_audio(body[:12] + extra + body[12:36] + extra + body[36:] + extra).length_s == 0.25


def test_mp3_flac_and_ogg() -> None:
    assert read_audio(mp3(100)).length_s == pytest.approx(100 * 417 * 8 / 128000)
    assert read_audio(mp3(100, tag=True)).length_s == pytest.approx(100 * 417 * 8 / 128000)
    assert read_audio(mp3(100, vbr_frames=1000)).length_s == pytest.approx(1000 * 1152 / 44100)
    flac = b"fLaC\x80\0\0\x22" + bytes(10) + ((16000 << 44) | 8000).to_bytes(8, "big") + bytes(16)
    assert read_audio(flac).length_s == 0.5
    page = b"OggS\0\4" + (24000).to_bytes(8, "little") + bytes(13)
    assert read_audio(page).length_s == 0.5


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "empty"),
        (b"hello", "begins with b'hello'"),
        (wav(0), "holds no sound"),
        (wav()[:60], "cut short: 16 bytes of the 4800"),
        (wav()[:40], "has no data"),
        (wav()[:12] + wav()[36:], "no format before its data"),
        (wav()[:16] + struct.pack("<I", 4) + wav()[20:], "malformed format chunk"),
        (wav()[:22] + bytes(10) + wav()[32:], "0 channels or 0 Hz"),
        (b"ID3", "within its tag"),
        (b"ID3" + bytes(20), "no frame"),
        (b"\xff\xfb\xf0\xc4" + bytes(400), "malformed frame"),
        (b"fLaC", "within its header"),
        (b"fLaC" + bytes(40), "0 Hz"),
        (b"OggS", "within a page"),
    ],
)
def test_what_no_player_opens(body: bytes, why: str) -> None:
    with pytest.raises(AudioError, match=why):
        read_audio(body)


@given(
    st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", wav()[:44], b"ID3", b"\xff\xfb", b"fLaC", b"OggS"]),
    st.binary(max_size=80),
)
def test_any_bytes_are_audio_or_an_audio_error(head: bytes, tail: bytes) -> None:
    try:
        audio = read_audio(head + tail)
    except AudioError:
        return
    assert audio.length_s > 0
