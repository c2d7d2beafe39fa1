"""Empty answer: the model says nothing."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class EmptyAnswer(ModelFault, frozen=True, kw_only=True, tag="empty_answer"):
    """Where the model would talk, its answer is the empty text."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        return None if proceed(ask).tool_calls else Thought(text="")
