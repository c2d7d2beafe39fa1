"""Read slowly: the caller takes the answer in so slowly that the target has to hold it for them."""

from __future__ import annotations

from harness.faults.fault import CallerFault, at_least
from harness.faults.manner import Manner


class ReadSlowly(CallerFault, frozen=True, kw_only=True, tag="read_slowly"):
    """The caller reads `bytes_per_s`, and lets no more than a small window arrive ahead.

    Who is still reading at the deadline gives up: by their own doing, so that it is laid to nobody.
    """

    bytes_per_s: float
    """Bytes a second, of head and body together."""
    receive_window_bytes: int = 4096
    """What may arrive ahead of being read. The system rounds it up; without a bound it would take most answers whole,
    and the target would never notice who is reading."""

    def validate(self) -> None:
        CallerFault.validate(self)
        at_least("bytes_per_s", self.bytes_per_s, 1.0)
        at_least("receive_window_bytes", self.receive_window_bytes, 1)

    @property
    def manner(self) -> Manner:
        return Manner(reads_bytes_per_s=self.bytes_per_s, receive_window_bytes=self.receive_window_bytes)
