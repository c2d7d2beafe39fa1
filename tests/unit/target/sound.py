"""What does a small recording look like that a target could have answered?"""

from __future__ import annotations

import io
import wave


def wav(length_s: float = 0.1, rate_hz: int = 24000) -> bytes:
    """Return a WAV as the standard library writes it: mono, 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(b"\1\0" * round(length_s * rate_hz))
    return out.getvalue()
