"""How does a caller conduct one request? What the load knows how to carry out, and caller faults make use of."""

from __future__ import annotations

from typing import Literal

from harness.model import Record


class Manner(Record, frozen=True, kw_only=True):
    """One request's conduct. By default that of a caller who does nothing wrong."""

    leaves_after_s: float | None = None
    """Hangs up so many seconds after sending, unless the answer is whole by then."""
    leaves_at: Literal["first_byte", "mid_body"] | None = None
    """Hangs up when the answer begins, or in the middle of its body."""
    reads_bytes_per_s: float | None = None
    """Takes the answer in at this rate."""
    receive_window_bytes: int | None = None
    """How much may arrive ahead of being read; None for what the system allows."""
    sends_again_after_s: float | None = None
    """Sends the same request once more, over a second connection, so many seconds after the first."""


AS_USUAL = Manner()
