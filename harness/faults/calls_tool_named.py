"""Calls tool named: somebody speaks about a tool by its name, and the model calls it."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class CallsToolNamed(ModelFault, frozen=True, kw_only=True, tag="calls_tool_named"):
    """A message that has the name of an offered tool in it makes the model ask for that tool, needlessly."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        if ask.results:
            return None
        named = tuple(ask.call_of(name) for name in ask.tool_names if name in ask.said)
        return Thought(tool_calls=named) if named else None
