"""Send twice: the caller sends the same request again, as an impatient finger or a retrying client does."""

from __future__ import annotations

from harness.faults.fault import CallerFault, at_least
from harness.faults.manner import Manner


class SendTwice(CallerFault, frozen=True, kw_only=True, tag="send_twice"):
    """The same request, to the letter, comes a second time, `after_s` after the first and over another connection."""

    after_s: float = 0.0
    """Seconds after the first; 0 for both at once."""

    def validate(self) -> None:
        CallerFault.validate(self)
        at_least("after_s", self.after_s, 0.0)

    @property
    def manner(self) -> Manner:
        return Manner(sends_again_after_s=self.after_s)
