"""Generation fails: the model's work ends in an error instead of an answer."""

from __future__ import annotations

from typing import Literal

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Fate


class GenerationFails(ModelFault, frozen=True, kw_only=True, tag="generation_fails"):
    """Runs and responses end as failed, with this error; a chat completion is answered with 500."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"] = "server_error"
    """What `last_error` says."""
    message: str = "Sorry, something went wrong."

    @property
    def fate(self) -> Fate:
        return Fate(ends_as="failed", code=self.code, message=self.message)
