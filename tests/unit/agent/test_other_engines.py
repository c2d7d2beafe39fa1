"""Is a turn played right on responses and on chat completions, and does nothing stay behind?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest
from agent_stage import HeldClock, KeptLog, settings

from reference_agent.compose import Composition
from reference_agent.conversation import Asks, Failed, Replied, ToolCall, ToolOutput, Usage
from reference_agent.engines.chat import ChatEngine, ProcessHistory, StoredHistory
from reference_agent.engines.responses import ResponsesEngine
from reference_agent.errors import Gone, Unavailable
from reference_agent.leftovers import NoLeftovers
from reference_agent.parts.breaker import DocumentedBreaker
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.persona import DocumentedPersona
from reference_agent.parts.polling import HardenedPolling
from reference_agent.parts.retries import HardenedRetries
from reference_agent.parts.sessions import bounds
from reference_agent.session_store import SqliteSessionStore
from reference_agent.toolbox import Toolbox


class Books:
    """Notes what was spent."""

    def __init__(self) -> None:
        self.entries: list[Usage] = []

    async def __call__(self, usage: Usage) -> None:
        self.entries.append(usage)


class Upstream:
    """Answers by route with what a test has laid out; a list is dealt out one by one, the last one for ever."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bodies: list[Any] = []
        self.routes: dict[str, Any] = {}

    def on(self, call: str, *answers: Any) -> None:
        self.routes[call] = list(answers)

    def client(self) -> openai.AsyncOpenAI:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return openai.AsyncOpenAI(api_key="sk-test", base_url="http://openai/v1", max_retries=0, http_client=http)

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        call = f"{request.method} {request.url.path.removeprefix('/v1')}"
        self.calls.append(call)
        self.bodies.append(json.loads(request.content) if request.content else None)
        answers = self.routes.get(call)
        if answers is None:
            return httpx2.Response(404, json={"error": {"message": "No such thing"}})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    def body_of(self, call: str, number: int = -1) -> Any:
        return [body for made, body in zip(self.calls, self.bodies, strict=True) if made == call][number]


def _refusal(message: str, code: str | None = None) -> httpx2.Response:
    return httpx2.Response(400, json={"error": {"message": message, "type": "invalid_request_error", "code": code}})


# --- responses ---


def _response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    usage = {"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}
    return {
        "id": "resp_1",
        "object": "response",
        "status": status,
        "model": "gpt-4o",
        "output": list(output),
        "usage": None if status in ("queued", "in_progress") else usage,
    }


def _text(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}


_CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_time", "arguments": "{}"}


class NoPlaceToWrite(NoLeftovers):
    """Leftovers that cannot be written down."""

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        raise Unavailable("leftovers", "down", never_arrived=True)


def _responses(upstream: Upstream, log: KeptLog | None = None, leftovers: NoLeftovers | None = None) -> ResponsesEngine:
    clock, log = HeldClock(), log or KeptLog()
    retries = HardenedRetries(settings(), clock, DocumentedBreaker(), KeptLog(), DocumentedMetrics())
    persona = DocumentedPersona(settings(), DocumentedLocale())
    polling = HardenedPolling(clock, log)
    return ResponsesEngine(
        settings(), clock, upstream.client(), retries, polling, persona, Toolbox([]), log, leftovers or NoLeftovers()
    )


def _upstream_of_responses() -> Upstream:
    upstream = Upstream()
    upstream.on("POST /conversations", {"id": "conv_1", "object": "conversation", "created_at": 0, "metadata": {}})
    upstream.on("POST /responses", _response("queued"))
    upstream.on("GET /responses/resp_1", _response("in_progress"), _response("completed", _text("はいにゃん")))
    upstream.on("DELETE /responses/resp_1", {"id": "resp_1", "object": "response", "deleted": True})
    upstream.on("POST /conversations/conv_1/items", {"object": "list", "data": [], "has_more": False})
    return upstream


async def test_responses_a_turn_with_a_tool() -> None:
    upstream, books = _upstream_of_responses(), Books()
    upstream.on("GET /responses/resp_1", _response("completed", _CALL), _response("completed", _text("正午だにゃん")))
    engine = _responses(upstream)
    deadline = HeldClock().deadline()
    generation = engine.generation(await engine.open_conversation(deadline), deadline, books)
    await generation.begin("今何時")
    assert await generation.next() == Asks((ToolCall("call_1", "get_time", "{}"),))
    assert generation.is_open()
    await generation.give([ToolOutput("call_1", "get_time", "正午")])
    assert await generation.next() == Replied("正午だにゃん")
    assert not generation.is_open()
    assert books.entries == [Usage("gpt-4o", 90, 10)] * 2
    first, second = (upstream.body_of("POST /responses", number) for number in (0, 1))
    assert first["input"] == [{"type": "message", "role": "user", "content": "今何時"}]
    assert first["conversation"] == "conv_1"
    assert second["input"] == [{"type": "function_call_output", "call_id": "call_1", "output": "正午"}]
    assert upstream.calls.count("DELETE /responses/resp_1") == 2, "what was said stays in one place"


async def test_responses_an_order_to_say_it_better_holds_for_one_response_and_is_nobodys_words() -> None:
    upstream = _upstream_of_responses()
    engine = _responses(upstream)
    generation = engine.generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin_again("Say it again in English")
    assert await generation.next() == Replied("はいにゃん")
    again = upstream.body_of("POST /responses")
    assert again["instructions"].endswith("\nSay it again in English")
    assert "input" not in again
    later = engine.generation("conv_1", HeldClock().deadline(), Books())
    await later.begin("hello")
    await later.next()
    assert "English" not in upstream.body_of("POST /responses")["instructions"]


@pytest.mark.parametrize(
    ("newest_first", "booked"),
    [(["reply", "said"], 0), (["better reply", "reply", "said"], 1), (["call", "reply", "said"], 1), ([], 0)],
)
async def test_responses_a_better_reply_whose_answer_is_lost_is_booked_where_it_shows(
    newest_first: list[str], booked: int
) -> None:
    items = {
        "said": {"type": "message", "id": "msg_0", "role": "user", "status": "completed", "content": []},
        "reply": _text("Hello"),
        "better reply": _text("はいにゃん"),
        "call": _CALL,
    }
    upstream, books = _upstream_of_responses(), Books()
    upstream.on("GET /conversations/conv_1/items", _items(*(items[name] for name in newest_first)))
    upstream.on("POST /responses", httpx2.ReadError("reset"))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), books)
    await generation.begin_again("Say it again in English")
    with pytest.raises(Unavailable):
        await generation.next()
    await generation.hear_out(patiently=True)
    assert len(books.entries) == booked


async def test_responses_one_that_fails_says_so() -> None:
    upstream = _upstream_of_responses()
    failed = _response("failed") | {"error": {"code": "server_error", "message": "sorry"}}
    upstream.on("GET /responses/resp_1", failed)
    deadline = HeldClock().deadline()
    generation = _responses(upstream).generation("conv_1", deadline, Books())
    await generation.begin("hi")
    assert await generation.next() == Failed("failed", "sorry")


async def test_responses_one_that_nobody_waits_for_is_cancelled_and_booked() -> None:
    upstream, books = _upstream_of_responses(), Books()
    upstream.on("GET /responses/resp_1", _response("in_progress"))
    upstream.on("POST /responses/resp_1/cancel", _response("cancelled"))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(0.5), books)
    await generation.begin("hi")
    upstream.on("GET /responses/resp_1", httpx2.ReadError("reset"))
    with pytest.raises(Unavailable):
        await generation.next()
    assert generation.is_open()
    await generation.end()
    assert not generation.is_open()
    assert books.entries == [Usage("gpt-4o", 90, 10)]


@pytest.mark.parametrize("status", ["cancelled", "failed"])
@pytest.mark.parametrize("is_kept", [False, True])
async def test_responses_what_one_took_that_does_not_say_so_is_counted_and_the_rest_estimated(
    status: str, is_kept: bool
) -> None:
    """Whether the conversation has what was said before it was answered differs; it is counted once."""
    upstream, books = _upstream_of_responses(), Books()
    without = _response(status) | {"usage": None, "error": {"code": "server_error", "message": "sorry"}}
    upstream.on("POST /responses/resp_1/cancel", without)
    upstream.on("GET /conversations/conv_1/items", _items(_SAID) if is_kept else _items())
    upstream.on("POST /responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 123})
    engine = _responses(upstream)
    answered = engine.generation("conv_1", HeldClock().deadline(), books)
    await answered.begin("hello")
    await answered.next()
    upstream.on("GET /responses/resp_1", httpx2.ReadError("reset"))
    generation = engine.generation("conv_1", HeldClock().deadline(0.5), books)
    await generation.begin("hi")
    with pytest.raises(Unavailable):
        await generation.next()
    await generation.end()
    assert books.entries[1:] == [Usage("gpt-4o", 123, 0), Usage("gpt-4o", 0, 10, is_estimate=True)]
    counted = upstream.body_of("POST /responses/input_tokens")
    assert counted["conversation"] == "conv_1"
    assert counted.keys() >= {"model", "instructions", "tools"}
    assert counted.get("input") == (None if is_kept else [{"type": "message", "role": "user", "content": "hi"}])
    assert upstream.calls[-1] == "DELETE /responses/resp_1"


async def test_responses_what_nobody_can_count_is_estimated() -> None:
    upstream, books = _upstream_of_responses(), Books()
    upstream.on("POST /responses/resp_1/cancel", _response("cancelled") | {"usage": None})
    engine = _responses(upstream)
    for text in ("hi", "hi"):
        generation = engine.generation("conv_1", HeldClock().deadline(0.5), books)
        await generation.begin(text)
        if not books.entries:
            await generation.next()
    upstream.on("GET /responses/resp_1", httpx2.ReadError("reset"))
    with pytest.raises(Unavailable):
        await generation.next()
    await generation.end()
    assert books.entries == [Usage("gpt-4o", 90, 10), Usage("gpt-4o", 90, 10, is_estimate=True)]


@pytest.mark.parametrize(
    ("in_the_conversation", "completion_tokens", "is_counted"),
    [
        ([], None, False),
        (["said"], 0, True),
        (["answered", "said"], 4, False),
        (["asked", "said"], 3, False),
        (["said again", "answered", "said"], 4, False),
    ],
    ids=str,
)
async def test_responses_one_whose_answer_is_lost_is_booked_where_its_conversation_shows_that_it_was_made(
    in_the_conversation: list[str], completion_tokens: int | None, is_counted: bool
) -> None:
    upstream, books = _upstream_of_responses(), Books()
    upstream.on("POST /responses", httpx2.ReadError("reset"))
    there = {"said": _SAID, "answered": _text("はいにゃん"), "asked": _CALL, "said again": _SAID | {"content": []}}
    upstream.on("GET /conversations/conv_1/items", _items(*(there[one] for one in in_the_conversation)))
    upstream.on("POST /responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 7})
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), books)
    await generation.begin("hi")
    with pytest.raises(Unavailable):
        await generation.next()
    assert not generation.is_open(), "the talk may go on"
    assert generation.is_unheard()
    await generation.hear_out(patiently=True)
    assert not generation.is_unheard()
    if completion_tokens is None:
        assert books.entries == []
    else:
        (booked,) = books.entries
        assert (booked.completion_tokens, booked.is_estimate) == (completion_tokens, True)
        assert (booked.prompt_tokens == 7) == is_counted, "else what was said, and what goes along with it"
        assert booked.prompt_tokens >= 7


@pytest.mark.parametrize("asks_after_all", [False, True])
async def test_responses_what_was_asked_for_is_answered_before_it_is_left(asks_after_all: bool) -> None:
    """A call without an output would spoil the conversation's next turn."""
    upstream = _upstream_of_responses()
    upstream.on("POST /responses/resp_1/cancel", _refusal("Cannot cancel a completed response."))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin("hi")
    if asks_after_all:
        upstream.on("GET /responses/resp_1", httpx2.ReadError("reset"))
        with pytest.raises(Unavailable):
            await generation.next()
    upstream.on("GET /responses/resp_1", _response("completed", _CALL))
    if not asks_after_all:
        await generation.next()
    await generation.end()
    assert upstream.body_of("POST /conversations/conv_1/items")["items"] == [
        {"type": "function_call_output", "call_id": "call_1", "output": "cancelled"}
    ]
    assert not generation.is_open()


async def test_responses_what_an_earlier_turn_never_learned_is_answered_now() -> None:
    upstream = _upstream_of_responses()
    spoiled = _refusal("No tool output found for function call call_7.")
    upstream.on("POST /responses", spoiled, _response("queued"))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin("hi")
    assert await generation.next() == Replied("はいにゃん")
    assert upstream.body_of("POST /responses")["input"] == [
        {"type": "function_call_output", "call_id": "call_7", "output": "cancelled"},
        {"type": "message", "role": "user", "content": "hi"},
    ]


async def test_responses_a_locked_conversation_is_waited_for() -> None:
    upstream = _upstream_of_responses()
    locked = _refusal("Another process is currently operating on this conversation.", "conversation_locked")
    upstream.on("POST /responses", locked, locked, _response("queued"))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin("hi")
    assert await generation.next() == Replied("はいにゃん")


async def test_responses_deletes_items_with_the_conversation_and_is_told_what_is_gone() -> None:
    upstream = _upstream_of_responses()
    items = [{"id": f"msg_{i}", **_text("x")} | {"id": f"msg_{i}"} for i in range(6)]
    page = {"object": "list", "data": items, "has_more": False, "first_id": "msg_0", "last_id": "msg_5"}
    upstream.on("GET /conversations/conv_1/items", page)
    for i in range(5):  # the sixth is gone already
        upstream.on(f"DELETE /conversations/conv_1/items/msg_{i}", {"id": "conv_1", "object": "conversation"})
    upstream.on("DELETE /conversations/conv_1", {"id": "conv_1", "object": "conversation.deleted", "deleted": True})
    engine = _responses(upstream)
    await engine.delete_conversation("conv_1", HeldClock().deadline())
    assert [call for call in upstream.calls if "DELETE" in call][-1] == "DELETE /conversations/conv_1"
    assert len([call for call in upstream.calls if "/items/" in call]) == 6
    await engine.delete_conversation("conv_9", HeldClock().deadline())
    upstream.on("POST /responses", httpx2.Response(404, json={"error": {"message": "no such conversation"}}))
    generation = engine.generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin("hi")
    with pytest.raises(Gone):
        await generation.next()


@pytest.mark.parametrize("leftovers", [NoLeftovers(), NoPlaceToWrite()], ids=lambda one: type(one).__name__)
async def test_responses_one_that_cannot_be_deleted_does_not_spoil_the_answer(leftovers: NoLeftovers) -> None:
    upstream, log = _upstream_of_responses(), KeptLog()
    upstream.on("DELETE /responses/resp_1", httpx2.Response(503, json={"error": {"message": "down"}}))
    generation = _responses(upstream, log, leftovers).generation("conv_1", HeldClock().deadline(), Books())
    await generation.begin("hi")
    assert await generation.next() == Replied("はいにゃん")
    assert log.events == ["response_not_deleted"]


async def test_responses_another_process_goes_on_with_one_and_makes_no_second() -> None:
    upstream, books = _upstream_of_responses(), Books()
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), books)
    await generation.resume("resp_1", "hi")
    assert generation.is_open()
    assert await generation.next() == Replied("はいにゃん")
    assert "POST /responses" not in upstream.calls
    assert len(books.entries) == 1


def _items(*newest_first: dict[str, Any]) -> dict[str, Any]:
    return {"object": "list", "data": list(newest_first), "has_more": False, "first_id": "a", "last_id": "z"}


_SAID = {
    "type": "message", "id": "msg_0", "role": "user", "status": "completed",
    "content": [{"type": "input_text", "text": "hi"}],
}  # fmt: skip
_OUTPUT = {"type": "function_call_output", "id": "fo_1", "call_id": "call_1", "output": "正午", "status": "completed"}


@pytest.mark.parametrize("known", ["", "resp_deleted"])
async def test_responses_what_came_of_one_that_is_not_known_stands_in_the_conversation(known: str) -> None:
    upstream = _upstream_of_responses()
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    upstream.on("GET /conversations/conv_1/items", _items(_text("はいにゃん"), _OUTPUT, _CALL, _SAID))
    await generation.resume(known, "hi")
    assert not generation.is_open()
    assert await generation.next() == Replied("はいにゃん")

    upstream.on("GET /conversations/conv_1/items", _items(_CALL, _SAID))
    await generation.resume(known, "hi")
    assert generation.is_open(), "a call without its output would spoil the next turn"
    assert await generation.next() == Asks((ToolCall("call_1", "get_time", "{}"),))
    assert "POST /responses" not in upstream.calls


@pytest.mark.parametrize(
    "items", [_items(), _items(_SAID), _items(_text("はいにゃん"), {**_SAID, "content": []}), _items(_OUTPUT, _CALL)]
)
async def test_responses_what_was_not_said_or_not_answered_is_said_again(items: dict[str, Any]) -> None:
    upstream = _upstream_of_responses()
    upstream.on("GET /conversations/conv_1/items", items)
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    with pytest.raises(Gone):
        await generation.resume("", "hi")
    assert not generation.is_open()


async def test_responses_what_came_to_nothing_is_not_gone_on_with_and_what_is_somebody_elses_is_left_alone() -> None:
    upstream = _upstream_of_responses()
    upstream.on("GET /responses/resp_2", _response("cancelled"))
    generation = _responses(upstream).generation("conv_1", HeldClock().deadline(), Books())
    for nothing in ("", "resp_2", "resp_unheard_of"):
        with pytest.raises(Gone):
            await generation.resume(nothing, "hi")
        assert not generation.is_open()
    await generation.resume("resp_1", "hi")
    generation.disown()
    assert not generation.is_open()


# --- chat completions ---


def _completion(message: dict[str, Any], finish_reason: str = "stop") -> dict[str, Any]:
    return {
        "id": "chatcmpl_1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    }


_ASKS = {
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}],
}


def _store() -> SqliteSessionStore:
    return SqliteSessionStore(None, bounds(settings()))


_HISTORIES = pytest.mark.parametrize("history", [ProcessHistory, lambda: StoredHistory(_store())])


def _chat(upstream: Upstream, history: Any) -> ChatEngine:
    retries = HardenedRetries(settings(), HeldClock(), DocumentedBreaker(), KeptLog(), DocumentedMetrics())
    persona = DocumentedPersona(settings(), DocumentedLocale())
    return ChatEngine(settings(), upstream.client(), history, retries, persona, Toolbox([]))


@_HISTORIES
async def test_chat_a_turn_with_a_tool_and_one_that_remembers_it(history: Callable[[], Any]) -> None:
    upstream, books = Upstream(), Books()
    upstream.on(
        "POST /chat/completions",
        _completion(_ASKS, "tool_calls"),
        _completion({"content": "正午だにゃん"}),
        _completion({"content": "さっき言ったにゃん"}),
    )
    engine = _chat(upstream, history())
    deadline = HeldClock().deadline()
    conversation = await engine.open_conversation(deadline)
    generation = engine.generation(conversation, deadline, books)
    await generation.begin("今何時")
    assert await generation.next() == Asks((ToolCall("call_1", "get_time", "{}"),))
    await generation.give([ToolOutput("call_1", "get_time", "正午")])
    assert await generation.next() == Replied("正午だにゃん")
    sent = upstream.body_of("POST /chat/completions")["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "tool"]
    generation = engine.generation(conversation, deadline, books)
    await generation.begin("もう一度")
    assert await generation.next() == Replied("さっき言ったにゃん")
    sent = upstream.body_of("POST /chat/completions")["messages"]
    assert [message["content"] for message in sent[1:]] == ["今何時", "正午だにゃん", "もう一度"]
    assert books.entries == [Usage("gpt-4o", 90, 10)] * 3
    await engine.delete_conversation(conversation, deadline)
    generation = engine.generation(conversation, deadline, books)
    await generation.begin("覚えてる？")
    await generation.next()
    assert len(upstream.body_of("POST /chat/completions")["messages"]) == 2


async def test_chat_an_order_to_say_it_better_is_not_kept() -> None:
    upstream, history = Upstream(), ProcessHistory()
    upstream.on("POST /chat/completions", _completion({"role": "assistant", "content": "Hello"}))
    engine = _chat(upstream, history)
    first, again = (engine.generation("chat_1", HeldClock().deadline(), Books()) for _ in range(2))
    await first.begin("こんにちは")
    await first.next()
    await again.begin_again("日本語で言い直して")
    await again.next()
    assert upstream.body_of("POST /chat/completions")["messages"][-1] == {
        "role": "system",
        "content": "日本語で言い直して",
    }
    kept = [(message["role"], message["content"]) for message in await history.of("chat_1")]
    assert kept == [("user", "こんにちは"), ("assistant", "Hello"), ("assistant", "Hello")]


@_HISTORIES
async def test_chat_a_turn_that_came_to_nothing_leaves_no_trace(history: Callable[[], Any]) -> None:
    upstream = Upstream()
    upstream.on("POST /chat/completions", _completion({"content": ""}, "content_filter"))
    engine = _chat(upstream, history())
    for _ in range(2):
        generation = engine.generation("chat_1", HeldClock().deadline(), Books())
        await generation.begin("hi")
        assert await generation.next() == Failed("content_filter", "")
        assert len(upstream.body_of("POST /chat/completions")["messages"]) == 2
        assert not generation.is_open()


async def test_chat_nothing_is_gone_on_with_as_it_ended_with_its_connection() -> None:
    generation = _chat(Upstream(), ProcessHistory()).generation("chat_1", HeldClock().deadline(), Books())
    with pytest.raises(Gone):
        await generation.resume("chatcmpl_1", "hi")


# --- all ---


@pytest.mark.parametrize("engine", ["responses", "chat"])
@pytest.mark.parametrize("profile", ["documented", "hardened"])
async def test_a_warm_up_plays_all_that_a_turn_calls_and_reaches_no_upstream(profile: str, engine: str) -> None:
    nobody = "http://127.0.0.1:9/v1"  # a call that left the process would be refused there
    composition = Composition(settings(profile=profile, engine=engine, openai_base_url=nobody), {})
    await composition.get("engine").warm_up()
    await composition.close()


@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
@pytest.mark.parametrize("profile", ["documented", "proposed", "hardened"])
async def test_every_profile_builds_on_every_engine(profile: str, engine: str) -> None:
    composition = Composition(settings(profile=profile, engine=engine), {})
    assert composition.get("turn")
    assert composition.get("engine").is_ready() == (engine != "assistants" or profile != "hardened")
    await composition.close()
