"""How often may the model ask for tools before it has to answer?"""

from __future__ import annotations

from typing import Protocol

from reference_agent.caller import CALLER, Language
from reference_agent.clock import Deadline
from reference_agent.conversation import Asks, Failed, Generation, Outcome, Replied, ToolCall, ToolOutput
from reference_agent.errors import HandledFailure
from reference_agent.parts.logging import Logging
from reference_agent.parts.tool_running import ToolRunning
from reference_agent.settings import Settings


class ToolLoop(Protocol):
    """Goes back and forth between the model and the tools."""

    async def run(self, generation: Generation, deadline: Deadline) -> Outcome:
        """Return what the model came to.

        Raises:
            HandledFailure: the model failed.
        """
        ...


class DocumentedToolLoop:
    """As often as it likes: a model that does not understand a tool's answer asks for ever."""

    def __init__(self, tool_running: ToolRunning) -> None:
        self._tool_running = tool_running

    async def run(self, generation: Generation, deadline: Deadline) -> Outcome:
        outcome = Outcome("")
        while True:
            step = await generation.next()
            if not isinstance(step, Asks):
                return _over(step, outcome)
            outputs = await self._tool_running.run(step.calls, deadline)
            outcome.outputs += outputs
            await generation.give(outputs)


def _over(step: Replied | Failed, outcome: Outcome) -> Outcome:
    if isinstance(step, Failed):
        msg = f"run {step.state}: {step.reason}"
        raise HandledFailure(msg)
    outcome.reply = step.text
    return outcome


_CONFUSED: dict[Language, str] = {
    "ja": "考えがぐるぐるしちゃった",
    "ko": "생각이 빙글빙글 돌고 있어요",
    "en": "My thoughts go round in circles",
    "de": "Ich drehe mich im Kreis",
    "fr": "Mes idées tournent en rond",
    "es": "Le doy vueltas y vueltas a esto",
}


class HardenedToolLoop:
    """Caps rounds, calls, repeats and cycles; then ends the run and answers all the same.

    Repeats are counted by the tool's name, as a confused model changes the arguments a little each time. An equal
    call (name and arguments) within a turn is answered from what it said before.
    """

    def __init__(self, settings: Settings, tool_running: ToolRunning, logging: Logging) -> None:
        self._settings = settings
        self._tool_running = tool_running
        self._logging = logging

    async def run(self, generation: Generation, deadline: Deadline) -> Outcome:
        outcome = Outcome("")
        rounds: list[frozenset[str]] = []
        said: dict[tuple[str, str], str] = {}
        while True:
            step = await generation.next()
            if not isinstance(step, Asks):
                return _over(step, outcome)
            rounds.append(frozenset(call.name for call in step.calls))
            fresh = tuple({(c.name, c.arguments): c for c in step.calls if (c.name, c.arguments) not in said}.values())
            why = self._too_much(rounds, len(outcome.outputs) + len(fresh))
            if why:
                self._logging.warned("tool_loop_ended", why=why, rounds=len(rounds))
                # The generation is still open: whoever watches over it ends it upstream.
                outcome.reply = _CONFUSED[CALLER.get().language]
                outcome.repeatable = False
                return outcome
            outputs = await self._tool_running.run(fresh, deadline) if fresh else []
            outcome.outputs += outputs
            said.update(zip(((c.name, c.arguments) for c in fresh), (o.text for o in outputs), strict=True))
            await generation.give([_output(call, said) for call in step.calls])

    def _too_much(self, rounds: list[frozenset[str]], calls: int) -> str:
        if len(rounds) > self._settings.tool_rounds:
            return "rounds"
        if calls > self._settings.tool_calls:
            return "calls"
        most = self._settings.tool_repeats
        if len(rounds) > most and len(set(rounds[-most - 1 :])) == 1:
            return "repeats"
        for period in (2, 3):
            if len(rounds) > 2 * period and rounds[-2 * period :] == rounds[-period:] * 2:
                return "cycle"
        return ""


def _output(call: ToolCall, said: dict[tuple[str, str], str]) -> ToolOutput:
    return ToolOutput(call.id, call.name, said[call.name, call.arguments])


VARIANTS = {
    "documented": DocumentedToolLoop,
    "proposed": DocumentedToolLoop,  # nothing was proposed
    "hardened": HardenedToolLoop,
}
