"""Mistyped arguments: what the model passes to a tool is JSON, but not what its schema asks for."""

from __future__ import annotations

import json
from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought, WantedTool


class MistypedArguments(ModelFault, frozen=True, kw_only=True, tag="mistyped_arguments"):
    """Every value of the arguments becomes a list that holds it; without arguments, they become a list."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        asked = proceed(ask).tool_calls
        if not asked:
            return None
        return Thought(tool_calls=tuple(WantedTool(call.name, _mistyped(call.arguments)) for call in asked))


def _mistyped(arguments: str) -> str:
    given = json.loads(arguments)
    if not given:
        return "[]"
    return json.dumps({name: [value] for name, value in given.items()}, ensure_ascii=False)
