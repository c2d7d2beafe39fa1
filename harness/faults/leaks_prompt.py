"""Leaks prompt: the model tells what it was told."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class LeaksPrompt(ModelFault, frozen=True, kw_only=True, tag="leaks_prompt"):
    """Where the model would talk, the answer is its instructions, word for word."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        if proceed(ask).tool_calls or not ask.instructions:
            return None
        return Thought(text=ask.instructions)
