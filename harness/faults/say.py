"""Say: the model's answer is this text, whatever was asked."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault, from_to
from harness.upstreams.thought import Ask, Thought


class Say(ModelFault, frozen=True, kw_only=True, tag="say"):
    """The answer is `reply`, `repeat` times, then `suffix`. Tools are asked for before it, as usual."""

    reply: str
    repeat: int = 1
    suffix: str = ""

    def validate(self) -> None:
        ModelFault.validate(self)
        from_to("repeat", self.repeat, 1, 1_000_000)

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        return None if proceed(ask).tool_calls else Thought(text=self.reply * self.repeat + self.suffix)
