"""Hang up: the caller leaves before the answer is whole."""

from __future__ import annotations

from typing import Literal

from harness.faults.fault import CallerFault, at_least
from harness.faults.manner import Manner


class HangUp(CallerFault, frozen=True, kw_only=True, tag="hang_up"):
    """The caller closes the connection `after_s` seconds after sending, or `at` a point of the answer.

    An answer that is whole before has been heard: then there was nothing to hang up on, and the fault did not fire.
    """

    after_s: float | None = None
    """Seconds after sending."""
    at: Literal["first_byte", "mid_body"] | None = None
    """`first_byte`: when the answer begins. `mid_body`: at half of its Content-Length; without one, at the body's first
    piece."""

    def validate(self) -> None:
        CallerFault.validate(self)
        if (self.after_s is None) == (self.at is None):
            msg = "`hang_up` needs exactly one of `after_s` and `at`: when does the caller leave?"
            raise ValueError(msg)
        at_least("after_s", self.after_s or 0.0, 0.0)

    @property
    def manner(self) -> Manner:
        return Manner(leaves_after_s=self.after_s, leaves_at=self.at)
