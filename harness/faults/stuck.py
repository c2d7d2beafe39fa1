"""Stuck: a generation enters a state and never leaves it by itself."""

from __future__ import annotations

from typing import Literal

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Fate


class Stuck(ModelFault, frozen=True, kw_only=True, tag="stuck"):
    """Generations begun while it is armed stay in `state` until they are cancelled or expire, also after it is lifted.

    A generation stuck in `cancelling` does not react to being cancelled: it stays there until it expires. A completion,
    or a response that is not made in the background, is cancelled when its caller leaves.
    """

    state: Literal["queued", "in_progress", "cancelling"] = "in_progress"

    @property
    def fate(self) -> Fate:
        return Fate(stays_in=self.state)
