"""Is there one assistant at the upstream, whichever process asks, and is it there before anybody waits for it?"""

from __future__ import annotations

import asyncio
from typing import Any

from agent_stage import HeldClock, KeptLog, settings
from assistants_server import AssistantsServer

from reference_agent.clock import Deadline, LoopClock
from reference_agent.engines.assistants_api import AssistantsApi, StoredAssistant
from reference_agent.parts.assistant import DocumentedAssistant, HardenedAssistant
from reference_agent.parts.breaker import DocumentedBreaker
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.persona import DocumentedPersona
from reference_agent.parts.retries import HardenedRetries
from reference_agent.parts.sessions import bounds
from reference_agent.parts.turn_order import DocumentedTurnOrder, HardenedTurnOrder, TurnOrder
from reference_agent.session_store import SqliteSessionStore
from reference_agent.toolbox import Toolbox


class Counting(DocumentedMetrics):
    def __init__(self) -> None:
        self.created = 0

    def assistant_created(self) -> None:
        self.created += 1


def _persona() -> DocumentedPersona:
    return DocumentedPersona(settings(), DocumentedLocale())


def _hardened(
    server: AssistantsServer, metrics: DocumentedMetrics | None = None, order: TurnOrder | None = None
) -> HardenedAssistant:
    clock, log, counted = HeldClock(), KeptLog(), metrics or DocumentedMetrics()
    retries = HardenedRetries(settings(), clock, DocumentedBreaker(), log, counted)
    return HardenedAssistant(
        settings(),
        clock,
        Toolbox([]),
        _persona(),
        server.api(),
        retries,
        log,
        counted,
        order or DocumentedTurnOrder(),
    )


async def test_documented_one_is_a_new_one_in_every_process_made_while_the_first_caller_waits() -> None:
    server = AssistantsServer()
    for number in range(3):
        process = DocumentedAssistant(settings(), Toolbox([]), _persona(), server.api())
        await process.warm_up()
        assert len(server.assistants) == number, "nothing is done beforehand"
        assert process.is_ready(), "and yet it says so"
        first = await process.id(HeldClock().deadline())
        assert await process.id(HeldClock().deadline()) == first
    assert len(server.assistants) == 3


async def test_documented_one_fails_until_it_is_restarted_when_somebody_deletes_it() -> None:
    server = AssistantsServer()
    process = DocumentedAssistant(settings(), Toolbox([]), _persona(), server.api())
    gone = await process.id(HeldClock().deadline())
    server.assistants.clear()
    process.is_gone(gone)
    assert await process.id(HeldClock().deadline()) == gone


async def test_hardened_one_is_found_again_and_ready_beforehand() -> None:
    server, metrics = AssistantsServer(), Counting()
    for _ in range(3):
        assistant = _hardened(server, metrics)
        assert not assistant.is_ready()
        await assistant.warm_up()
        assert assistant.is_ready()
    assert len(server.assistants) == 1
    assert metrics.created == 1


async def test_hardened_one_is_made_once_for_all_who_ask_at_once() -> None:
    server = AssistantsServer()
    assistant = _hardened(server)
    ids = await asyncio.gather(*(assistant.id(HeldClock().deadline()) for _ in range(20)))
    assert len(set(ids)) == len(server.assistants) == 1


class SlowToFind:
    """What it saw is old when it says so."""

    def __init__(self, api: AssistantsApi) -> None:
        self._api = api

    async def find_assistant(self, name: str) -> StoredAssistant | None:
        found = await self._api.find_assistant(name)
        await asyncio.sleep(0.02)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)


async def test_hardened_one_is_made_once_by_replicas_that_start_together() -> None:
    server, store = AssistantsServer(), SqliteSessionStore(None, bounds(settings()))
    replicas = [
        _hardened(server, order=HardenedTurnOrder(settings(), LoopClock(), store, DocumentedMetrics()))
        for _ in range(5)
    ]
    for replica in replicas:
        replica._api = SlowToFind(replica._api)
    ids = await asyncio.gather(*(replica.id(Deadline.after(LoopClock(), 30)) for replica in replicas))
    assert len(set(ids)) == len(server.assistants) == 1
    await store.close()


async def test_hardened_one_is_updated_when_its_configuration_changes() -> None:
    server = AssistantsServer()
    await _hardened(server).warm_up()
    server.assistants[0]["metadata"]["configuration"] = "older"
    server.assistants[0]["instructions"] = "犬です"
    await _hardened(server).warm_up()
    assert len(server.assistants) == 1
    assert "猫" in server.assistants[0]["instructions"]
