"""Loop: the model asks for the same tool again and again, because it does not understand the result."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class Loop(ModelFault, frozen=True, kw_only=True, tag="loop"):
    """In every turn the same tool with the same arguments, for ever.

    It does not apply to a turn in which the model would have asked for no tool, nor where the tool is not offered.
    """

    tool: str | None = None
    """Name of the tool; None: what the model would have asked for first."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        if self.tool is not None and self.tool not in ask.tool_names:
            return None
        asked = proceed(ask.without_results()).tool_calls
        if self.tool is None:
            return Thought(tool_calls=asked[:1]) if asked else None
        same = tuple(call for call in asked if call.name == self.tool)
        return Thought(tool_calls=same[:1] or (ask.call_of(self.tool),))
