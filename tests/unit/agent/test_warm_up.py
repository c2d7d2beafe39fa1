"""Does the first caller wait longer than the next one?"""

from __future__ import annotations

from agent_stage import CountedEngine

from reference_agent.app import alive
from reference_agent.caller import Caller, Hints, Language
from reference_agent.compose import Composition
from reference_agent.parts.warm_up import DocumentedWarmUp, HardenedWarmUp
from reference_agent.settings import read_settings


class WarmedUp(CountedEngine):
    """An engine, and a locale, that count how often they were warmed up."""

    language_order = ""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.locale = _Locale(self.done)

    async def warm_up(self) -> None:
        self.done.append("engine")


class _Locale:
    language_order = ""
    time_properties: dict[str, object] = {}  # noqa: RUF012

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def caller(self, text: str, hints: Hints) -> Caller:
        return Caller()

    def is_in(self, text: str, language: Language) -> bool:
        return True

    def warm_up(self) -> None:
        self._done.append("locale")


async def _done_before_ready(variant: str) -> list[str]:
    """Return what was warm when the application around this variant was ready."""
    engine = WarmedUp()
    read, overrides = read_settings(
        {"OPENAI_API_KEY": "sk-test", "AGENT_PART_WARM_UP": variant}, profile="hardened", session_store="memory"
    )
    composition = Composition(read, overrides)
    composition._built |= {"engine": engine, "locale": engine.locale}
    assert isinstance(composition.get("warm_up"), {"documented": DocumentedWarmUp, "hardened": HardenedWarmUp}[variant])
    async with alive(composition):
        return list(engine.done)


async def test_documented_one_leaves_it_to_the_first_caller() -> None:
    assert await _done_before_ready("documented") == []


async def test_hardened_one_is_ready_when_all_is_warm() -> None:
    assert sorted(await _done_before_ready("hardened")) == ["engine", "locale"]
