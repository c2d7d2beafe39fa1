"""Where samples go: to the run directory, and to Locust's own statistics so that its page shows something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from locust.env import Environment

from harness.evidence import EvidenceError, JsonLinesWriter
from harness.model import Outcome, Sample

_UNCOUNTED: Final = frozenset({Outcome.ABANDONED})


class Recorder:
    """Writes the samples of one scenario and keeps the few figures that a live display shows.

    Args:
        environment: Locust's, whose statistics are fed; nothing is ever read back from them.
        writer: the scenario's file of samples.
    """

    def __init__(self, environment: Environment, writer: JsonLinesWriter) -> None:
        self.sent = 0
        self.answered = 0
        self.failure: EvidenceError | None = None
        """Why samples cannot be written any more; the campaign looks here and stops."""
        self._fire: Callable[..., None] = environment.events.request.fire
        self._writer = writer

    def __call__(self, sample: Sample) -> None:
        """Record one sample. Never raises: it is called from the middle of a caller's life."""
        if sample.outcome in _UNCOUNTED:
            pass
        else:
            self.sent += 1
            answered = sample.outcome is Outcome.ANSWERED
            self.answered += answered
            self._fire(
                request_type=sample.role,
                name=sample.callers,
                response_time=sample.latency_s * 1000,
                response_length=sample.audio_bytes,
                exception=None if answered else _Unanswered(f"{sample.outcome}: {sample.error}"),
                context={},
            )
        try:
            self._writer.add(sample)
        except EvidenceError as error:
            self.failure = error

    def flush(self) -> None:
        """Bring what was recorded to disk."""
        try:
            self._writer.flush()
        except EvidenceError as error:
            self.failure = error

    def close(self) -> None:
        """Bring everything to disk; nothing is recorded afterwards."""
        try:
            self._writer.close()
        except EvidenceError as error:
            self.failure = error


class _Unanswered(Exception):
    """What Locust's statistics are told about a request that was not answered."""
