"""How are the tools run that the model asks for at once?"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import ToolCall, ToolOutput
from reference_agent.parts.tool_fallback import ToolFallback
from reference_agent.settings import Settings
from reference_agent.toolbox import Toolbox
from reference_agent.wire import run_without_loop


class ToolRunning(Protocol):
    """Runs tools."""

    async def run(self, calls: tuple[ToolCall, ...], deadline: Deadline) -> list[ToolOutput]:
        """Return one output per call, in the order of the calls."""
        ...


class DocumentedToolRunning:
    """One after the other, each for as long as it takes: three tools cost the sum of their times."""

    def __init__(self, toolbox: Toolbox, tool_fallback: ToolFallback) -> None:
        self._toolbox = toolbox
        self._fallback = tool_fallback

    async def run(self, calls: tuple[ToolCall, ...], deadline: Deadline) -> list[ToolOutput]:
        outputs = []
        for call in calls:
            text = await self._fallback.output(call, lambda call=call: self._toolbox.run(call, deadline))  # type: ignore[misc]
            outputs.append(ToolOutput(call.id, call.name, text))
        return outputs


class ProposedToolRunning:
    """A pool of five threads inside of a coroutine, and `result()` in the order of the calls.

    The tools do run at once, but nothing else does: `result()` holds the event loop, and with it every other caller,
    until the slowest tool is done. No tool has a time limit, and the first failure loses what the others said.
    """

    needs_loop = True

    def __init__(self, blocking_toolbox: Toolbox, tool_fallback: ToolFallback) -> None:
        self._toolbox = blocking_toolbox
        self._fallback = tool_fallback
        self._pool = ThreadPoolExecutor(max_workers=5)

    async def run(self, calls: tuple[ToolCall, ...], deadline: Deadline) -> list[ToolOutput]:
        tasks = [self._pool.submit(run_without_loop, self._one(call, deadline)) for call in calls]
        return [ToolOutput(call.id, call.name, task.result()) for call, task in zip(calls, tasks, strict=True)]

    async def _one(self, call: ToolCall, deadline: Deadline) -> str:
        return await self._fallback.output(call, lambda: self._toolbox.run(call, deadline))


_GRACE_S = 0.05
_SHARE_OF_ONE = 0.5  # of all places: calls of one tool under way at once


class HardenedToolRunning:
    """All at once, each under a deadline of its own; all turns' calls together are bounded, and those of one tool are
    bounded once more, so that a tool whose server hangs does not hold the places of all others."""

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, toolbox: Toolbox, tool_fallback: ToolFallback) -> None:
        self._toolbox = toolbox
        self._clock = clock
        self._fallback = tool_fallback
        self._tool_s = settings.tool_deadline_s
        self._places = asyncio.Semaphore(settings.tools_at_once)
        of_one = max(1, round(settings.tools_at_once * _SHARE_OF_ONE))
        self._places_of: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(of_one))

    async def run(self, calls: tuple[ToolCall, ...], deadline: Deadline) -> list[ToolOutput]:
        # The model still has to make an answer of what the tools say: a third of the time is kept for that.
        limit_s = min(self._tool_s, deadline.remaining_s() * 2 / 3)
        if len(calls) == 1:
            return [await self._one(calls[0], limit_s)]
        results = await asyncio.gather(*(self._one(call, limit_s) for call in calls), return_exceptions=True)
        for result in results:
            # Only after all have ended, so that nothing goes on behind the turn's back.
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, ToolOutput)]

    async def _one(self, call: ToolCall, limit_s: float) -> ToolOutput:
        deadline = Deadline.after(self._clock, limit_s)

        async def bounded() -> str:
            # The tool's own call upstream gives up at the deadline, which the breaker then counts; this is for a tool
            # that does something else.
            of_tool = self._places_of[self._toolbox.known(call.name)]
            async with asyncio.timeout(limit_s + _GRACE_S), of_tool, self._places:
                return await self._toolbox.run(call, deadline)

        return ToolOutput(call.id, call.name, await self._fallback.output(call, bounded))


VARIANTS = {"documented": DocumentedToolRunning, "proposed": ProposedToolRunning, "hardened": HardenedToolRunning}
