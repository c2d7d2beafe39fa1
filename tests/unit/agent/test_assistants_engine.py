"""Is a turn played right on threads and runs, and does no run stay behind?"""

from __future__ import annotations

import httpx2
import openai
import pytest
from agent_stage import HeldClock, KeptLog, settings
from assistants_server import AssistantsServer, error, wants

from reference_agent.conversation import Asks, Failed, Replied, ToolCall, ToolOutput, Usage
from reference_agent.engines.assistants import AssistantsEngine
from reference_agent.engines.assistants_api import MessageSeen
from reference_agent.errors import Gone, Unavailable
from reference_agent.parts.assistant import HardenedAssistant
from reference_agent.parts.breaker import DocumentedBreaker
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.persona import DocumentedPersona
from reference_agent.parts.polling import HardenedPolling
from reference_agent.parts.retries import HardenedRetries
from reference_agent.parts.turn_order import DocumentedTurnOrder
from reference_agent.toolbox import Toolbox


class Books:
    """Notes what was spent."""

    def __init__(self) -> None:
        self.entries: list[Usage] = []

    async def __call__(self, usage: Usage) -> None:
        self.entries.append(usage)


def _engine(server: AssistantsServer) -> AssistantsEngine:
    clock, log, api = HeldClock(), KeptLog(), server.api()
    retries = HardenedRetries(settings(), clock, DocumentedBreaker(), KeptLog(), DocumentedMetrics())
    persona = DocumentedPersona(settings(), DocumentedLocale())
    assistant = HardenedAssistant(
        settings(), clock, Toolbox([]), persona, api, retries, log, DocumentedMetrics(), DocumentedTurnOrder()
    )
    return AssistantsEngine(settings(), clock, api, assistant, retries, HardenedPolling(clock, log))


async def test_a_turn_with_a_tool() -> None:
    server = AssistantsServer({"status": "in_progress"}, wants("get_time"), {"status": "completed"})
    engine = _engine(server)
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
    await generation.begin("今何時")
    assert await generation.next() == Asks((ToolCall("call_0", "get_time", "{}"),))
    await generation.give([ToolOutput("call_0", "get_time", "正午")])
    assert {"tool_outputs": [{"tool_call_id": "call_0", "output": "正午"}]} in server.bodies
    assert generation.is_open()
    assert await generation.next() == Replied("はいにゃん")
    assert not generation.is_open()


async def test_a_run_that_fails_says_so() -> None:
    server = AssistantsServer({"status": "failed", "last_error": {"code": "server_error", "message": "sorry"}})
    engine = _engine(server)
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
    await generation.begin("hi")
    assert await generation.next() == Failed("failed", "sorry")
    assert not generation.is_open()


async def test_an_open_run_is_cancelled_and_one_that_has_ended_is_left() -> None:
    for step, cancelled in (({"status": "in_progress"}, "cancelled"), ({"status": "completed"}, "completed")):
        server = AssistantsServer(step)
        engine = _engine(server)
        deadline = HeldClock().deadline()
        generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
        await generation.begin("hi")
        server.run = step
        await generation.end()
        assert server.run is not None
        assert server.run["status"] == cancelled
        assert not generation.is_open()


async def test_a_run_whose_creation_was_not_answered_is_found_and_cancelled() -> None:
    server = AssistantsServer({"status": "in_progress"})
    engine = _engine(server)
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())

    def lose_answer(call: str) -> httpx2.Response | None:
        if call == "POST /threads/thread_0/runs":
            server.run = {"status": "in_progress"}
            raise httpx2.ReadError("reset")
        return None

    server.fault = lose_answer
    with pytest.raises(Unavailable):
        await generation.begin("hi")
    assert server.calls.count("POST /threads/thread_0/runs") == 1, "no second run from a retried create"
    assert generation.is_open()
    await generation.end()
    assert server.run == {"status": "cancelled"}


@pytest.mark.parametrize("status", [400, 401, 429])
async def test_a_run_that_was_refused_is_not_open(status: int) -> None:
    server = AssistantsServer()
    engine = _engine(server)
    deadline = HeldClock().deadline(0.5)
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
    server.fault = lambda call: error(status, "no") if call.endswith("/runs") else None
    with pytest.raises(Exception, match=r"Unavailable|no|rejected|429"):
        await generation.begin("hi")
    assert not generation.is_open()


async def test_a_thread_that_is_gone() -> None:
    engine = _engine(AssistantsServer())
    deadline = HeldClock().deadline()
    with pytest.raises(Gone):
        await engine.generation("thread_9", deadline, Books()).begin("hi")
    await engine.delete_conversation("thread_9", deadline)


@pytest.mark.parametrize("ends", ["completed", "cancelled"])
async def test_what_a_run_took_is_booked_once_however_it_ends(ends: str) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}
    server = AssistantsServer({"status": "in_progress"}, {"status": "completed", "model": "gpt-4o", "usage": usage})
    engine = _engine(server)
    deadline = HeldClock().deadline()
    books = Books()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, books)
    await generation.begin("hi")
    assert books.entries == []
    if ends == "completed":
        await generation.next()
    else:
        server.cancelled = {"status": "cancelled", "model": "gpt-4o", "usage": usage}
        await generation.end()
    assert books.entries == [Usage("gpt-4o", 100, 7)]


# --- the assistant ---


async def test_hardened_assistant_does_not_keep_the_agent_from_starting() -> None:
    server = AssistantsServer()
    server.fault = lambda call: error(401, "Incorrect API key")
    engine = _engine(server)
    await engine.warm_up()
    assert server.assistants == []
    server.fault = lambda call: None
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
    await generation.begin("hi")
    assert len(server.assistants) == 1


async def test_hardened_assistant_that_somebody_deleted_is_made_anew() -> None:
    server = AssistantsServer()
    engine = _engine(server)
    await engine.warm_up()
    gone = server.assistants.pop()["id"]
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, Books())
    server.fault = lambda call: (
        error(404, f"No assistant found with id '{gone}'.")
        if call.endswith("/runs") and call.startswith("POST") and not server.assistants
        else None
    )
    await generation.begin("hi")
    assert await generation.next() == Replied("はいにゃん")
    assert len(server.assistants) == 1


async def test_a_run_that_a_dead_process_left_is_ended_and_the_next_turn_goes_on() -> None:
    server = AssistantsServer({"status": "completed"})
    engine = _engine(server)
    deadline, books = HeldClock().deadline(), Books()
    conversation = await engine.open_conversation(deadline)
    server.run = {"status": "in_progress"}
    refused = error(400, f"Can't add messages to {conversation} while a run run_0 is active.")
    server.fault = lambda call: refused if call.endswith("/messages") and server.run != server.cancelled else None
    generation = engine.generation(conversation, deadline, books)
    await generation.begin("hi")
    assert "POST /threads/thread_0/runs/run_0/cancel" in server.calls
    server.fault = lambda call: error(400, "Something else") if call.endswith("/messages") else None
    with pytest.raises(openai.BadRequestError):
        await engine.generation(conversation, deadline, books).begin("hi")


async def _cut_off(server: AssistantsServer) -> AssistantsEngine:
    """Begin a run, as a process does that dies in the middle of it; return the engine of another process."""
    deadline, engine = HeldClock().deadline(), _engine(server)
    await engine.generation(await engine.open_conversation(deadline), deadline, Books()).begin("hi")
    return _engine(server)


@pytest.mark.parametrize("known", ["run_0", ""])
async def test_another_process_goes_on_with_a_run_and_starts_no_second_one(known: str) -> None:
    server = AssistantsServer({"status": "in_progress"}, {"status": "completed"})
    engine = await _cut_off(server)
    said = [body for body in server.bodies if body]
    generation = engine.generation("thread_0", HeldClock().deadline(), Books())
    await generation.resume(known, "hi")
    assert generation.is_open()
    assert await generation.next() == Replied("はいにゃん")
    assert [body for body in server.bodies if body] == said, "nothing was said and nothing started again"


@pytest.mark.parametrize("came_to", ["failed", "cancelled", "expired"])
async def test_a_run_that_came_to_nothing_is_not_gone_on_with(came_to: str) -> None:
    server = AssistantsServer({"status": came_to})
    engine = await _cut_off(server)
    for known in ("run_0", ""):
        server.run = {"status": came_to}
        generation = engine.generation("thread_0", HeldClock().deadline(), Books())
        with pytest.raises(Gone):
            await generation.resume(known, "hi")
        assert not generation.is_open()


async def test_a_run_that_is_somebody_elses_now_is_left_alone() -> None:
    server = AssistantsServer({"status": "in_progress"})
    engine = await _cut_off(server)
    generation = engine.generation("thread_0", HeldClock().deadline(), Books())
    await generation.resume("run_0", "hi")
    generation.disown()
    assert not generation.is_open()


@pytest.mark.parametrize("answered", [True, False])
async def test_a_run_that_nobody_was_told_of_is_found_by_what_was_said(answered: bool) -> None:
    server = AssistantsServer({"status": "completed"})
    engine = await _cut_off(server)
    server.run = {"status": "completed"} if answered else None
    reply = MessageSeen("assistant", "はいにゃん", "run_0")
    seen = [
        *([reply] if answered else []),
        MessageSeen("user", "hi", ""),
        MessageSeen("assistant", "にゃん", "run_before"),
    ]

    async def latest_messages(thread: str) -> list[MessageSeen]:
        return seen

    engine._api.latest_messages = latest_messages  # type: ignore[method-assign]
    said = [body for body in server.bodies if body]
    generation = engine.generation("thread_0", HeldClock().deadline(), Books())
    await generation.resume("", "hi")
    assert await generation.next() == Replied("はいにゃん")
    begun = [body for body in server.bodies if body][len(said) :]
    assert begun == ([] if answered else [{"assistant_id": "asst_0"}]), "what was said is not said again"
    with pytest.raises(Gone):
        await engine.generation("thread_0", HeldClock().deadline(), Books()).resume("", "something else")
