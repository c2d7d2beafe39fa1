"""How are several WAV files read out as one, without holding any of them in memory?"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER_BYTES = 44
_RIFF_OVERHEAD = 36


class NotPlainWav(ValueError):
    """The bytes are no WAV file whose samples begin after the usual 44 bytes."""


@dataclass(frozen=True)
class WavHeader:
    """The head of a plain WAV file: format as it stands there, and the number of bytes of samples."""

    format: bytes
    data_bytes: int

    @classmethod
    def read(cls, head: bytes) -> WavHeader:
        """Read the first 44 bytes of a file.

        Raises:
            NotPlainWav: they are something else.
        """
        if len(head) < HEADER_BYTES or head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt " or head[36:40] != b"data":
            msg = "not a plain WAV file"
            raise NotPlainWav(msg)
        return cls(head[16:36], struct.unpack("<I", head[40:44])[0])

    def written(self, data_bytes: int) -> bytes:
        """Return a head of this format for `data_bytes` bytes of samples."""
        size = struct.pack("<I", min(data_bytes + _RIFF_OVERHEAD, 0xFFFFFFFF))
        return b"RIFF" + size + b"WAVEfmt " + self.format + b"data" + struct.pack("<I", min(data_bytes, 0xFFFFFFFF))
