"""Over-long: the model talks and talks."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault, from_to
from harness.upstreams.thought import Ask, Thought


class OverLong(ModelFault, frozen=True, kw_only=True, tag="over_long"):
    """The answer is repeated, sentence after sentence, until it has `characters` letters."""

    characters: int = 400
    """Length of the answer, 1 to 100 million."""

    def validate(self) -> None:
        ModelFault.validate(self)
        from_to("characters", self.characters, 1, 100_000_000)

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        thought = proceed(ask)
        if thought.tool_calls:
            return None
        sentence = thought.text.rstrip("。. ") + "。"
        return Thought(text=(sentence * (self.characters // len(sentence) + 1))[: self.characters])
