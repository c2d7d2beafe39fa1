"""Where a process's samples go: into lines for the run directory, and into Locust's statistics for its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from locust.env import Environment

from harness.model import FaultEvent, Outcome, Sample

_UNCOUNTED: Final = frozenset({Outcome.ABANDONED})


class Recorder:
    """Collects the samples of one scenario in one process.

    Args:
        environment: Locust's, whose statistics are fed; nothing is ever read back from them.
        shift_ns: added to every time of a sample, for a process whose clock is not the conductor's.
    """

    def __init__(self, environment: Environment, shift_ns: int = 0) -> None:
        self.sent = 0
        self.answered = 0
        self._shift_ns = shift_ns
        self._fire: Callable[..., None] = environment.events.request.fire
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._fault_lines: list[bytes] = []

    def __call__(self, sample: Sample) -> None:
        """Record one sample."""
        if sample.outcome not in _UNCOUNTED:
            answered = sample.outcome is Outcome.ANSWERED
            self.sent += 1
            self.answered += answered
            self._fire(
                request_type=sample.role,
                name=sample.callers,
                response_time=sample.latency_s * 1000,
                response_length=sample.audio_bytes,
                exception=None if answered else _Unanswered(f"{sample.outcome}: {sample.error}"),
                context={},
            )
        self._lines.append(self._encode(self._shifted(sample)))

    def fault(self, event: FaultEvent) -> None:
        """Record that something was broken by a caller."""
        moved = msgspec.structs.replace(event, at_ns=event.at_ns + self._shift_ns)
        self._fault_lines.append(self._encode(moved))

    def take(self) -> tuple[bytes, bytes]:
        """Return the lines of samples, and those of faults, that were recorded since the last call."""
        lines, self._lines = self._lines, []
        fault_lines, self._fault_lines = self._fault_lines, []
        return b"".join(line + b"\n" for line in lines), b"".join(line + b"\n" for line in fault_lines)

    def _shifted(self, sample: Sample) -> Sample:
        if not self._shift_ns:
            return sample
        moved = {
            name: at_ns + self._shift_ns
            for name in ("intended_ns", "sent_ns", "first_byte_ns", "end_ns")
            if (at_ns := getattr(sample, name)) is not None
        }
        return msgspec.structs.replace(sample, **moved)


class _Unanswered(Exception):
    """What Locust's statistics are told about a request that was not answered."""
