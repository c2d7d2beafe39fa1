"""Out of persona: the model forgets how it was told to speak."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class OutOfPersona(ModelFault, frozen=True, kw_only=True, tag="out_of_persona"):
    """Where the model would talk, it speaks as an assistant does that was told nothing: without にゃん, say."""

    reply: str = "こんにちは。ご用件をお伺いします。"
    """What it says."""

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        return None if proceed(ask).tool_calls else Thought(text=self.reply)
