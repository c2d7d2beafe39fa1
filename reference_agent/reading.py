"""What is somebody who reads shown of a reply while it is still being made?"""

from __future__ import annotations

from typing import Protocol

from reference_agent.caller import Caller
from reference_agent.parts.persona import Persona


class Reader(Protocol):
    """Somebody who reads along."""

    async def reads(self, piece: str) -> None:
        """This comes next."""
        ...

    async def begins_again(self) -> None:
        """What was shown so far does not count any more."""
        ...

    async def waits_for(self, tool: str) -> None:
        """A tool is asked first."""
        ...


class Reading:
    """Shows of a reply what is sure to stay, as the persona sees it; in the end, what is shown is the whole reply."""

    def __init__(self, reader: Reader, persona: Persona, caller: Caller) -> None:
        self._reader = reader
        self._persona = persona
        self._caller = caller
        self._said = ""
        self._shown = ""

    async def said(self, piece: str) -> None:
        """The model goes on with this."""
        self._said += piece
        beginning = self._persona.beginning(self._said, self._caller)
        if beginning.startswith(self._shown):
            await self._show(beginning)

    async def asked(self, tools: tuple[str, ...]) -> None:
        """It wants tools first: what it has said so far was not its reply."""
        self._said = ""
        await self._take_back()
        for tool in tools:
            await self._reader.waits_for(tool)

    async def is_over(self, reply: str) -> None:
        """This is the reply, all of it."""
        if not reply.startswith(self._shown):
            await self._take_back()
        await self._show(reply)

    async def _show(self, text: str) -> None:
        if len(text) > len(self._shown):
            piece = text[len(self._shown) :]
            self._shown = text
            await self._reader.reads(piece)

    async def _take_back(self) -> None:
        if self._shown:
            self._shown = ""
            await self._reader.begins_again()
