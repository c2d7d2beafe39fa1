"""Generation expires: the model's work is given up by the upstream."""

from __future__ import annotations

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Fate


class GenerationExpires(ModelFault, frozen=True, kw_only=True, tag="generation_expires"):
    """Runs end as expired when they should have answered. Responses and chats do not expire; they fail."""

    @property
    def fate(self) -> Fate:
        return Fate(ends_as="expired", message="The generation expired.")
