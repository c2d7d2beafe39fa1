"""What is a model asked, and what does it answer? The values between an API, a model, and the faults of a model."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Said(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    text: str


class WantedTool(msgspec.Struct, frozen=True):
    """A tool that the model asks for. `arguments` is JSON, as models write it: not always well."""

    name: str
    arguments: str


class ToolResult(msgspec.Struct, frozen=True):
    """What a tool that was asked for came to."""

    name: str
    arguments: str
    output: str


class Thought(msgspec.Struct, frozen=True, kw_only=True):
    """What the model comes up with: tools it wants, or text."""

    text: str = ""
    tool_calls: tuple[WantedTool, ...] = ()


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault has in store for a generation."""

    stays_in: str | None = None
    """The state that it never leaves by itself."""
    ends_as: Literal["failed", "incomplete", "expired"] | None = None
    """Instead of what its work would come to."""
    code: str = "server_error"
    message: str = ""


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is given for one turn."""

    seed: int
    subject: str
    """Mark of the latest user message, else the conversation: what choices are keyed by."""
    ordinal: int = 0
    """Number of the turn of the model within the conversation, from 0."""
    instructions: str = ""
    messages: tuple[Said, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    """The functions offered: {"name", "description", "parameters"}."""
    results: tuple[ToolResult, ...] = ()
    """What the tools asked for since the latest user message came to."""
    tool_choice: str = "auto"
    """auto, none, required, or the name of the function that must be called."""

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools offered."""
        return tuple(tool["name"] for tool in self.tools)

    @property
    def said(self) -> str:
        """The latest message of the user."""
        for message in reversed(self.messages):
            if message.role == "user":
                return message.text
        return ""

    def without_results(self) -> Ask:
        """Return the same ask before any tool was called."""
        return msgspec.structs.replace(self, results=())

    def saying(self, text: str) -> Ask:
        """Return the same ask as if the user had said `text`."""
        return msgspec.structs.replace(self, messages=(*self.messages, Said("user", text)))

    def call_of(self, name: str) -> WantedTool:
        """Return a call of an offered tool, its arguments filled from its schema and what was said."""
        from harness.upstreams.tool_arguments import arguments_for

        tool = next((tool for tool in self.tools if tool["name"] == name), {})
        return WantedTool(name, arguments_for(tool, self))
