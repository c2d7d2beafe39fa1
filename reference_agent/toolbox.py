"""Which tools does the model have, and how does a call of the model reach one? One file per tool in `tools/`."""

from __future__ import annotations

from typing import Any

from reference_agent.clock import Deadline
from reference_agent.conversation import BadArguments, Tool, ToolCall, UnknownTool
from reference_agent.parts.cache import Cache, DocumentedCache
from reference_agent.parts.input_guard import DocumentedInputGuard, InputGuard
from reference_agent.parts.metrics import DocumentedMetrics, Metrics

_UNCOUNTED = DocumentedMetrics()
_NOT_KEPT = DocumentedCache()
_UNGUARDED = DocumentedInputGuard()


class Toolbox:
    """All tools, by name."""

    def __init__(
        self,
        tools: list[Tool],
        metrics: Metrics = _UNCOUNTED,
        cache: Cache = _NOT_KEPT,
        input_guard: InputGuard = _UNGUARDED,
    ) -> None:
        self._input_guard = input_guard
        self._cache = cache
        self._metrics = metrics
        self._tools = {tool.name: tool for tool in tools}

    def definitions(self) -> list[dict[str, Any]]:
        """Return the tools as the model is told about them (as functions, the way Assistants take them)."""
        return [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in self._tools.values()
        ]

    def known(self, name: str) -> str:
        """Return the name where there is such a tool; empty: a model may make up as many as it likes."""
        return name if name in self._tools else ""

    async def run(self, call: ToolCall, deadline: Deadline) -> str:
        """Run the tool that the model asks for and return what it says.

        Raises:
            UnknownTool: there is no such tool.
            BadArguments: the arguments are no JSON object, too long, or make no sense to the tool.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            raise UnknownTool(call.name)
        arguments = self._input_guard.tool_arguments(tool.name, call.arguments)

        async def asked() -> str:
            with self._metrics.tool(tool.name):
                return await tool(arguments, deadline)

        return await self._cache.tool(tool.name, arguments, tool.keeps_s, deadline, asked)


def text_argument(arguments: dict[str, Any], name: str, default: str | None = None) -> str:
    """Return an argument that is a text.

    Raises:
        BadArguments: it is missing and has no default, or is not a text.
    """
    value = arguments.get(name, default)
    if not isinstance(value, str):
        msg = f"{name} must be a text"
        raise BadArguments(msg)
    return value
