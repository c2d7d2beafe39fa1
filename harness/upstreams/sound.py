"""How does a text sound? A hum that swells with each syllable, as long as the text takes to speak."""

from __future__ import annotations

import math
import struct
import unicodedata
from array import array
from functools import cache, lru_cache
from io import BytesIO
from typing import Literal

SAMPLE_RATE_HZ = 8_000
"""Of a telephone: what is said is not judged by its sound, and every byte of it costs the load side CPU."""
SYLLABLES_PER_S = 7.5
"""How fast Japanese is spoken: 7 to 8 morae a second."""
_KEPT = 16
_KEPT_BYTES = 1_000_000
"""Speech up to this size is kept for the next text of the same length, that many lengths of it: 16 MB at the most."""
_ENCODED_KEPT = 256
"""Encoded speeches that are kept. Texts differ by a fifteenth of a second: of one format, all lengths up to 17 s."""
_LONG_ENCODED_KEPT = 4
"""The same, of speech whose samples are beyond `_KEPT_BYTES`: what a fault makes for ever longer is made once."""

Encoding = Literal["mp3", "opus", "flac"]
_LIBSNDFILE_NAMES: dict[Encoding, tuple[str, str]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
}
"""What samples can be encoded as, and what libsndfile calls it; it has no AAC."""


def seconds_to_speak(text: str, *, speed: float = 1.0) -> float:
    """Return how long a text takes to speak, in seconds: 7.5 wide letters or 15 narrow ones a second, pauses included.

    Args:
        text: what is spoken.
        speed: 1 is the usual pace, 2 twice as fast.
    """
    syllables = 0.0
    for letter in text:
        category = unicodedata.category(letter)
        if letter in "。、.,!?！？\n":
            syllables += 2.0
        elif category[0] in "LN":
            syllables += 1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.5
        elif category == "So":
            syllables += 3.0
    return (0.25 + syllables / SYLLABLES_PER_S) / speed


@cache
def _syllable(rate_hz: int) -> bytes:
    """Return one syllable of a hum at 220 Hz in 16-bit samples: a whole number of waves, so that it can be repeated."""
    count = round(rate_hz / SYLLABLES_PER_S)
    waves = round(count * 220 / rate_hz)
    samples = array("h")
    for index in range(count):
        swell = math.sin(math.pi * index / count)
        samples.append(round(9000 * swell * math.sin(2 * math.pi * waves * index / count)))
    return samples.tobytes()


def pcm(seconds: float, *, rate_hz: int = SAMPLE_RATE_HZ) -> bytes:
    """Return signed 16-bit little-endian mono samples of that length."""
    size = 2 * round(seconds * rate_hz)
    return (_samples_kept if size <= _KEPT_BYTES else _samples)(size, rate_hz)


def wav(seconds: float, *, rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1) -> bytes:
    """Return a WAV file of that length: RIFF, PCM, 16 bit, the same in each of its one or two channels."""
    size = 2 * round(seconds * rate_hz)
    return (_file_kept if size <= _KEPT_BYTES else _file)(size, rate_hz, channels)


def _samples(size_bytes: int, rate_hz: int) -> bytes:
    syllable = _syllable(rate_hz)
    return (syllable * (size_bytes // len(syllable) + 1))[:size_bytes]


def _file(size_bytes: int, rate_hz: int, channels: int) -> bytes:
    samples = _samples(size_bytes, rate_hz)
    if channels == 2:
        mono = array("h", samples)
        both = array("h", bytes(2 * len(samples)))
        both[0::2] = mono
        both[1::2] = mono
        samples = both.tobytes()
    return wav_header(len(samples), rate_hz=rate_hz, channels=channels) + samples


# Answers have few different lengths, and making one costs the kernel fresh memory: 840 us for 5.6 s at 24 kHz, which
# was three quarters of the call.
_samples_kept = lru_cache(maxsize=_KEPT)(_samples)
_file_kept = lru_cache(maxsize=_KEPT)(_file)


def wav_header(size_bytes: int, *, rate_hz: int = SAMPLE_RATE_HZ, channels: int = 1) -> bytes:
    """Return the 44 bytes before `size_bytes` bytes of samples."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + size_bytes,
        b"WAVE",
        b"fmt ",
        16,
        1,
        channels,
        rate_hz,
        2 * channels * rate_hz,
        2 * channels,
        16,
        b"data",
        size_bytes,
    )


def encoded(seconds: float, *, encoding: Encoding, rate_hz: int) -> bytes:
    """Return a file of that length, of the same samples as `pcm`, by libsndfile's encoders.

    The first of each length costs 7 ms of CPU per second of speech as MP3, 25 ms as Opus and 1 ms as FLAC, and the very
    first another 160 ms, for the library. Two Opus files of the same speech differ in their stream's serial number.

    Args:
        seconds: how long.
        encoding: mp3, opus (in Ogg) or flac.
        rate_hz: one that all three know: 8, 12, 16, 24 or 48 kHz.
    """
    size = 2 * round(seconds * rate_hz)
    return (_encoded_kept if size <= _KEPT_BYTES else _long_encoded_kept)(size, encoding, rate_hz)


def _encoded(size_bytes: int, encoding: Encoding, rate_hz: int) -> bytes:
    import soundfile  # brings NumPy: 160 ms and 16 MB that only those pay for who ask for such a format

    container, subtype = _LIBSNDFILE_NAMES[encoding]
    to = BytesIO()
    with soundfile.SoundFile(to, "w", rate_hz, 1, subtype, format=container) as file:
        file.buffer_write(_samples(size_bytes, rate_hz), dtype="int16")
    return to.getvalue()


_encoded_kept = lru_cache(maxsize=_ENCODED_KEPT)(_encoded)
_long_encoded_kept = lru_cache(maxsize=_LONG_ENCODED_KEPT)(_encoded)
