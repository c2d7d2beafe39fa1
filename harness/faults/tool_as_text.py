"""Tool as text: the model writes down the call of a tool instead of making it."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class ToolAsText(ModelFault, frozen=True, kw_only=True, tag="tool_as_text"):
    """Where the model would ask for tools, it says them: `get_time({})`."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        asked = proceed(ask).tool_calls
        return Thought(text="\n".join(f"{call.name}({call.arguments})" for call in asked)) if asked else None
