"""Cycle: the model asks for two or three tools in turn, for ever: A, B, A, B."""

from __future__ import annotations

from collections.abc import Callable

from harness.faults.fault import ModelFault
from harness.upstreams.thought import Ask, Thought


class Cycle(ModelFault, frozen=True, kw_only=True, tag="cycle"):
    """Each turn asks for the next of `tools`, with the result of the one before as its text.

    It begins where a tool of the cycle is wanted.
    """

    tools: tuple[str, ...] = ("analyze_emotion",)
    """Names of tools; those that are not offered are left out. One alone analyses its own result again and again."""

    def validate(self) -> None:
        ModelFault.validate(self)
        if not self.tools:
            msg = "`tools` is empty, expected the names of the tools."
            raise ValueError(msg)

    def think(self, ask: Ask, proceed: Callable[[Ask], Thought], draw: float) -> Thought | None:
        offered = [name for name in self.tools if name in ask.tool_names]
        begins = [call.name for call in proceed(ask.without_results()).tool_calls]
        if not offered or not set(begins) & set(offered):
            return None
        if not ask.results:
            return Thought(tool_calls=(ask.call_of(next(name for name in begins if name in offered)),))
        latest = ask.results[-1]
        place = offered.index(latest.name) if latest.name in offered else -1
        return Thought(tool_calls=(ask.saying(latest.output).call_of(offered[(place + 1) % len(offered)]),))
