"""Chat Completions: `/v1/chat/completions`, plain and streamed, and those that were stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from harness.model import GenerationState, ToolCall
from harness.upstreams.exchange import Exchange, mark_in
from harness.upstreams.openai.body import (
    body_of,
    flag,
    functions_in,
    list_field,
    metadata_of,
    optional_integer,
    optional_number,
    stops_of,
    text_field,
    text_of_content,
    tool_choice_of,
)
from harness.upstreams.openai.errors import ApiError, missing, wrong_type, wrong_value
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.turn import Turn, pieces_of, take_turn
from harness.upstreams.routing import routed
from harness.upstreams.sse import done, encode, event, stream_head
from harness.upstreams.thought import Ask, Said, ToolResult
from harness.upstreams.wire import Data, Hang, Reply, Step, Wait, json_reply, scripted

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_ROLES = ("system", "developer", "user", "assistant", "tool")
_FINGERPRINT = "fp_standin"


class Completion(msgspec.Struct, eq=False):
    """One completion."""

    id: str
    created_s: int
    model: str
    turns: list[Turn]
    messages: list[dict[str, Any]]
    metadata: dict[str, str]
    is_told: bool = False
    """Its last words were sent: who leaves now has it."""

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        return {
            "id": self.id,
            "object": "chat.completion",
            "created": self.created_s,
            "model": self.model,
            "choices": [
                {"index": index, "message": _message(turn), "logprobs": None, "finish_reason": _finish(turn)}
                for index, turn in enumerate(self.turns)
            ],
            "usage": self.usage(),
            "service_tier": "default",
            "system_fingerprint": _FINGERPRINT,
            "metadata": self.metadata,
        }

    @property
    def completion_tokens(self) -> int:
        """The tokens of all choices."""
        return sum([turn.completion_tokens for turn in self.turns])

    def usage(self) -> dict[str, Any]:
        """Return its tokens; the prompt counts once for all choices."""
        prompt_tokens, completion_tokens = self.turns[0].prompt_tokens, self.completion_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def _message(turn: Turn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
    if turn.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in turn.calls
        ]
    else:
        message["content"] = turn.text
    return message


def _finish(turn: Turn) -> str:
    if turn.truncated:
        return "length"
    return "tool_calls" if turn.calls else "stop"


class Chat:
    """The chat completions of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self._stored: dict[str, Completion] = {}

    def identify(self, exchange: Exchange) -> None:
        """Note what the user said last, or what the tools came to."""
        body = exchange.json_object
        messages = body.get("messages")
        new: list[str] = []
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, dict):
                continue
            try:
                text = text_of_content(message.get("content") or "")
            except ApiError:
                continue
            if message.get("role") == "user":
                exchange.said, new = text, [text]
                exchange.mark = mark_in(text) or exchange.mark
            elif message.get("role") == "tool":
                new.append(text)
            elif message.get("role") == "assistant":
                new = []
        exchange.text = "\n".join(new)
        exchange.characters = len(exchange.text)
        user = body.get("safety_identifier") or body.get("user")
        exchange.caller = user if isinstance(user, str) else None

    @routed("POST /v1/chat/completions")
    def create(self, exchange: Exchange) -> Reply:
        """Complete a chat: at once, or as a stream."""
        body = body_of(exchange)
        model = text_field(body, "model")
        messages = list_field(body, "messages")
        if not messages:
            raise missing("messages")
        instructions, said, results = _heard(messages)
        count = optional_integer(body, "n") or 1
        if not 1 <= count <= 128:
            raise ApiError(400, f"Invalid 'n': expected 1 to 128, but got {count}.", param="n")
        optional_number(body, "temperature", 0, 2)
        optional_number(body, "top_p", 0, 1)
        limit = optional_integer(body, "max_completion_tokens", least=1)
        most = optional_integer(body, "max_tokens", least=1) if limit is None else limit
        stream, store, stops = flag(body, "stream"), flag(body, "store"), stops_of(body)
        functions = functions_in(list_field(body, "tools"))
        id_ = self._api.new_id("chatcmpl-")
        exchange.generation = id_
        fate = self._api.epoch.faults.fate(exchange)
        held = fate.stays_in in ("queued", "in_progress")
        ask = Ask(
            seed=self._api.epoch.seed,
            subject=exchange.subject,
            ordinal=sum(message.role == "assistant" for message in said),
            instructions=instructions,
            messages=said,
            tools=functions,
            results=results,
            tool_choice="auto" if results else tool_choice_of(body.get("tool_choice") or "auto", functions),
        )
        turns = [
            take_turn(
                self._api,
                exchange,
                ask,
                model=model,
                most_tokens=1 if fate.ends_as == "incomplete" else most,
                parallel_tool_calls=flag(body, "parallel_tool_calls", otherwise=True),
                answer_schema=_answer_schema(body),
                stops=stops,
            )
            for _ in range(count)
        ]
        completion = Completion(
            id=id_,
            created_s=self._api.wall_s(exchange.begin_ns),
            model=model,
            turns=turns,
            messages=messages,
            metadata=metadata_of(body),
        )
        exchange.completion_tokens = completion.completion_tokens
        exchange.cost_usd = self._api.epoch.prices.of_tokens(model, exchange.prompt_tokens, exchange.completion_tokens)
        ends_ns = exchange.begin_ns + round(1e9 * max(turn.total_s for turn in turns))
        self._record(exchange, completion, None if held else ends_ns, failed=fate.ends_as in ("failed", "expired"))
        if store and fate.ends_as is None:
            self._stored[id_] = completion
        if fate.ends_as in ("failed", "expired"):
            raise ApiError(500, fate.message, type_="server_error", code=fate.code)
        if held:
            return scripted((stream_head(), Hang()) if stream else (Hang(),))
        if stream:
            options = body.get("stream_options")
            with_usage = isinstance(options, dict) and options.get("include_usage") is True
            return scripted(_stream(completion, with_usage=with_usage))
        return json_reply(completion.document(), after_s=max(turn.total_s for turn in turns))

    def _record(self, exchange: Exchange, completion: Completion, ends_ns: int | None, *, failed: bool) -> None:
        """Record that a completion is being made, and how it ends: by itself, or because its caller leaves.

        Args:
            exchange: the call that asked for it.
            completion: what it comes to.
            ends_ns: when; None: never.
            failed: whether it fails.
        """
        epoch = self._api.epoch
        mark, model = exchange.mark, completion.model
        is_open = True

        def end(state: GenerationState, at_ns: int, calls: tuple[ToolCall, ...] = ()) -> None:
            nonlocal is_open
            is_open = False
            epoch.ledger.record_generation(
                completion.id, state, at_ns, conversation=None, mark=mark, model=model, tool_calls=calls
            )

        def end_by_itself(at_ns: int) -> None:
            truncated = any(turn.truncated for turn in completion.turns)
            calls = tuple(call for turn in completion.turns for call in turn.calls)
            if is_open:
                end("failed" if failed else "incomplete" if truncated else "completed", at_ns, calls)

        def cancel(at_ns: int) -> None:
            if not is_open or completion.is_told:
                return
            end("cancelled", at_ns)
            self._stored.pop(completion.id, None)
            after_s = (at_ns - exchange.begin_ns) / 1e9
            tokens = 0 if ends_ns is None else sum(turn.tokens_after(after_s) for turn in completion.turns)
            exchange.completion_tokens = tokens
            exchange.cost_usd = epoch.prices.of_tokens(model, exchange.prompt_tokens, exchange.completion_tokens)

        epoch.ledger.record_generation(
            completion.id, "in_progress", exchange.begin_ns, conversation=None, mark=mark, model=model
        )
        exchange.leaving = cancel
        if ends_ns is not None:
            self._api.due.at(ends_ns, end_by_itself)

    # --- stored ones ----------------------------------------------------------------------------------------------

    def _one(self, exchange: Exchange) -> Completion:
        id_ = exchange.params["completion_id"]
        found = self._stored.get(id_)
        if found is None:
            raise ApiError(404, f"Chat completion with id '{id_}' not found.")
        return found

    @routed("GET /v1/chat/completions")
    def list(self, exchange: Exchange) -> Reply:
        """List stored completions, oldest first; `model` and `metadata[key]` choose."""
        query = exchange.query
        wanted = {name[9:-1]: text for name, text in query.items() if name.startswith("metadata[")}
        chosen = [
            one
            for one in self._stored.values()
            if query.get("model", one.model) == one.model and wanted.items() <= one.metadata.items()
        ]
        return self._api.ok(exchange, page(chosen, query, Completion.document, newest_first=False))

    @routed("GET /v1/chat/completions/{completion_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return a stored completion."""
        return self._api.ok(exchange, self._one(exchange).document())

    @routed("POST /v1/chat/completions/{completion_id}")
    def update(self, exchange: Exchange) -> Reply:
        """Change a stored completion's metadata."""
        completion = self._one(exchange)
        completion.metadata = metadata_of(body_of(exchange))
        return self._api.ok(exchange, completion.document(), "write")

    @routed("DELETE /v1/chat/completions/{completion_id}")
    def delete(self, exchange: Exchange) -> Reply:
        """Delete a stored completion."""
        completion = self._one(exchange)
        del self._stored[completion.id]
        document = {"id": completion.id, "object": "chat.completion.deleted", "deleted": True}
        return self._api.ok(exchange, document, "write")

    @routed("GET /v1/chat/completions/{completion_id}/messages")
    def list_messages(self, exchange: Exchange) -> Reply:
        """List the messages that a stored completion was given."""
        completion = self._one(exchange)
        things = [
            _StoredMessage(f"{completion.id}-{index}", message) for index, message in enumerate(completion.messages)
        ]
        return self._api.ok(exchange, page(things, exchange.query, _StoredMessage.document, newest_first=False))


class _StoredMessage(msgspec.Struct, frozen=True):
    id: str
    given: dict[str, Any]

    def document(self) -> dict[str, Any]:
        # The client's types know only one role here, whatever was sent.
        return {
            "id": self.id,
            "role": "assistant",
            "content": text_of_content(self.given.get("content") or ""),
            "refusal": None,
            "content_parts": None,
        }


def _heard(messages: list[Any]) -> tuple[str, tuple[Said, ...], tuple[ToolResult, ...]]:
    """Return (instructions, what was said, results of tools since the user's latest message).

    Raises:
        ApiError: 400: a message is malformed, or tool calls and their outputs do not belong together.
    """
    instructions: list[str] = []
    said: list[Said] = []
    results: list[ToolResult] = []
    calls: dict[str, tuple[str, str]] = {}
    unanswered: dict[str, None] = {}
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{index}]", "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"messages[{index}].role")
        if role not in _ROLES:
            raise wrong_value(f"messages[{index}].role", role, _ROLES)
        if role != "tool" and unanswered:
            break
        has_calls = role == "assistant" and message.get("tool_calls")
        content = message.get("content")
        text = text_of_content(content or "" if has_calls else content, f"messages[{index}].content")
        if role in ("system", "developer"):
            instructions.append(text)
        elif role == "tool":
            call_id = str(message.get("tool_call_id"))
            if call_id not in calls:
                raise ApiError(
                    400,
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                    " 'tool_calls'.",
                    param=f"messages.[{index}].role",
                )
            unanswered.pop(call_id, None)
            results.append(ToolResult(*calls[call_id], text))
        else:
            said.append(Said(role, text))
            if role == "user":
                results.clear()
        if has_calls:
            for id_, name, arguments in _called(message["tool_calls"], f"messages[{index}].tool_calls"):
                calls[id_] = (name, arguments)
                unanswered[id_] = None
    if unanswered:
        raise ApiError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(unanswered)}",
            param="messages",
        )
    return "\n".join(instructions), tuple(said), tuple(results)


def _called(calls: Any, param: str) -> Iterator[tuple[str, str, str]]:
    """Yield (id, name, arguments) of the calls that a message of the model brings."""
    if not isinstance(calls, list):
        raise wrong_type(param, "an array", calls)
    for index, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            raise wrong_type(f"{param}[{index}]", "an object", call)
        for name, value in (("id", call.get("id")), *((name, function.get(name)) for name in ("name", "arguments"))):
            if not isinstance(value, str):
                raise missing(f"{param}[{index}].{name}")
        yield call["id"], function["name"], function["arguments"]


def _answer_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    wanted = body.get("response_format")
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_schema", "json_object"):
        return None
    inner = wanted.get("json_schema")
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else {}


def _stream(completion: Completion, *, with_usage: bool) -> Iterator[Step]:
    """Yield a completion piece by piece; several choices one after the other."""
    frame = {
        "id": completion.id,
        "object": "chat.completion.chunk",
        "created": completion.created_s,
        "model": completion.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    # What is the same in every chunk is written once: a stream is hundreds of chunks, a thousand streams many more.
    begin = b"data: " + encode(frame)[:-1] + b',"choices":[{"index":'
    end = b"}]" + (b',"usage":null}\n\n' if with_usage else b"}\n\n")

    yield stream_head()
    for index, turn in enumerate(completion.turns):
        yield Wait(turn.first_token_s if index == 0 else 0.0)
        before = begin + b'%d,"delta":' % index
        after = b',"logprobs":null,"finish_reason":null' + end
        first: dict[str, Any] = {"role": "assistant", "content": None if turn.calls else "", "refusal": None}
        yield Data(before + encode(first) + after)
        pieces = _pieces(turn)
        between = Wait(turn.between_s(len(pieces)))
        for piece in pieces:
            yield Data(before + encode(piece) + after)
            yield between
        completion.is_told = turn is completion.turns[-1]
        yield Data(before + b'{},"logprobs":null,"finish_reason":' + encode(_finish(turn)) + end)
    if with_usage:
        yield event(frame | {"choices": [], "usage": completion.usage()})
    yield done()


def _pieces(turn: Turn) -> list[dict[str, Any]]:
    if not turn.calls:
        return [{"content": piece} for piece in pieces_of(turn.text)]
    pieces: list[dict[str, Any]] = []
    for index, call in enumerate(turn.calls):
        function = {"name": call.name, "arguments": ""}
        pieces.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        pieces += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces_of(call.arguments)
        ]
    return pieces
