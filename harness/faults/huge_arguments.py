"""Huge arguments: the model passes far more to a tool than anybody asked for."""

from __future__ import annotations

import json
from collections.abc import Callable

from harness.faults.fault import ModelFault, from_to
from harness.upstreams.thought import Ask, Thought, WantedTool


class HugeArguments(ModelFault, frozen=True, kw_only=True, tag="huge_arguments"):
    """Every text in the arguments is repeated until it has `characters` letters; without a text, one is added."""

    characters: int = 100_000
    """Length of each text, 1 to 100 million."""

    def validate(self) -> None:
        ModelFault.validate(self)
        from_to("characters", self.characters, 1, 100_000_000)

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        asked = proceed(ask).tool_calls
        if not asked:
            return None
        return Thought(tool_calls=tuple(WantedTool(call.name, self._huge(call.arguments)) for call in asked))

    def _huge(self, arguments: str) -> str:
        given = {name: self._long(value) for name, value in json.loads(arguments).items()}
        return json.dumps(given or {"padding": "x" * self.characters}, ensure_ascii=False)

    def _long(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        value = value or "x"
        return (value * (self.characters // len(value) + 1))[: self.characters]
