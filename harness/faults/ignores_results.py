"""Ignores results: the model gets the tools' results and answers as if there were none."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class IgnoresResults(ModelFault, frozen=True, kw_only=True, tag="ignores_results"):
    """After the tools were called, the answer says nothing of what they came to."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        if not ask.results:
            return None
        return proceed(msgspec.structs.replace(ask, results=(), tools=()))
