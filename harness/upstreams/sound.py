"""How does a text sound? A hum that swells with each syllable, as long as the text takes to speak."""

from __future__ import annotations

import math
import struct
import threading
import unicodedata
from array import array
from collections.abc import Callable
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

_ENCODED_AT_ONCE_S = 10
"""What is encoded in one piece, in seconds of speech: a quarter of a second of CPU at the most."""

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


class GivenUpError(Exception):
    """Nobody wants any more what was being encoded."""


_Key = tuple[int, Encoding, int]
"""Bytes of the samples, how they are encoded, and their rate in Hz."""


class _Files:
    """The files that were wanted last, for several threads.

    Args:
        most: so many of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[_Key, bytes] = {}
        self._lock = threading.Lock()

    def find(self, key: _Key) -> bytes | None:
        with self._lock:
            file = self._kept.pop(key, None)
            if file is not None:
                self._kept[key] = file
            return file

    def keep(self, key: _Key, file: bytes) -> None:
        with self._lock:
            self._kept[key] = file
            if len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]


def encoded_before(seconds: float, *, encoding: Encoding, rate_hz: int) -> bytes | None:
    """Return what `encoded` returned for the same before, None where it was never asked or that is long ago."""
    size = 2 * round(seconds * rate_hz)
    return _kept(size).find((size, encoding, rate_hz))


def encoded(
    seconds: float, *, encoding: Encoding, rate_hz: int, is_given_up: Callable[[], bool] = lambda: False
) -> bytes:
    """Return a file of that length, of the same samples as `pcm`, by libsndfile's encoders.

    The first of each length costs 7 ms of CPU per second of speech as MP3, 25 ms as Opus and 1 ms as FLAC, and the very
    first another 160 ms, for the library, which lets other threads run. Two Opus files of the same speech differ in
    their stream's serial number.

    Args:
        seconds: how long.
        encoding: mp3, opus (in Ogg) or flac.
        rate_hz: one that all three know: 8, 12, 16, 24 or 48 kHz.
        is_given_up: is asked after every few seconds of speech whether nobody wants it any more.

    Raises:
        GivenUpError: nobody wants it any more.
    """
    size = 2 * round(seconds * rate_hz)
    key = size, encoding, rate_hz
    file = _kept(size).find(key)
    if file is None:
        file = _encoded(size, encoding, rate_hz, is_given_up)
        _kept(size).keep(key, file)
    return file


def _encoded(size_bytes: int, encoding: Encoding, rate_hz: int, is_given_up: Callable[[], bool]) -> bytes:
    import soundfile  # brings NumPy: 160 ms and 16 MB that only those pay for who ask for such a format

    container, subtype = _LIBSNDFILE_NAMES[encoding]
    samples = memoryview(_samples(size_bytes, rate_hz))
    at_once = 2 * _ENCODED_AT_ONCE_S * rate_hz
    to = BytesIO()
    with soundfile.SoundFile(to, "w", rate_hz, 1, subtype, format=container) as file:
        for begin in range(0, size_bytes, at_once):
            if is_given_up():
                raise GivenUpError
            file.buffer_write(samples[begin : begin + at_once], dtype="int16")
    return to.getvalue()


_short, _long = _Files(_ENCODED_KEPT), _Files(_LONG_ENCODED_KEPT)


def _kept(size_bytes: int) -> _Files:
    return _short if size_bytes <= _KEPT_BYTES else _long
