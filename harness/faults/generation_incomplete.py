"""Generation incomplete: the model is stopped in the middle of its first word."""

from __future__ import annotations

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Fate


class GenerationIncomplete(ModelFault, frozen=True, kw_only=True, tag="generation_incomplete"):
    """Runs and responses end as incomplete after one token, a chat completion with the reason `length`."""

    @property
    def fate(self) -> Fate:
        return Fate(ends_as="incomplete")
