"""Malformed arguments: what the model passes to a tool is no JSON."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought, WantedTool


class MalformedArguments(ModelFault, frozen=True, kw_only=True, tag="malformed_arguments"):
    """The arguments of every tool that is asked for lose their last brace."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        asked = proceed(ask).tool_calls
        if not asked:
            return None
        return Thought(tool_calls=tuple(WantedTool(call.name, call.arguments[:-1]) for call in asked))
