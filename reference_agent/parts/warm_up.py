"""What is done before anybody has asked for anything?"""

from __future__ import annotations

from typing import Protocol

from reference_agent.conversation import Engine
from reference_agent.parts.locale import Locale


class WarmUp(Protocol):
    """Stands between the start of the process and its readiness."""

    async def run(self) -> None:
        """Do beforehand what the first caller would have to wait for."""
        ...


class DocumentedWarmUp:
    """Nothing: the first caller waits until the assistant is there, and for what is loaded when it is first used."""

    async def run(self) -> None:
        pass


class HardenedWarmUp:
    """The assistant is found (where the engine has one), the first call rehearsed, the models of languages loaded."""

    needs_loop = True

    def __init__(self, locale: Locale, engine: Engine) -> None:
        self._locale = locale
        self._engine = engine

    async def run(self) -> None:
        self._locale.warm_up()
        await self._engine.warm_up()


VARIANTS = {
    "documented": DocumentedWarmUp,
    "proposed": DocumentedWarmUp,  # nothing was proposed
    "hardened": HardenedWarmUp,
}
