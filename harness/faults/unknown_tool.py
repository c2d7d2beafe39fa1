"""Unknown tool: the model asks for a tool that nobody offered."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought, WantedTool


class UnknownTool(ModelFault, frozen=True, kw_only=True, tag="unknown_tool"):
    """Where the model would ask for tools, the first has another name; where it would talk, it does not apply."""

    name_asked: str = "search_the_web"
    """The name that it makes up."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        asked = proceed(ask).tool_calls
        if not asked:
            return None
        return Thought(tool_calls=(WantedTool(self.name_asked, asked[0].arguments), *asked[1:]))
