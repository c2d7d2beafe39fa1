"""Chat Completions: `/v1/chat/completions`, plain and streamed, and those that were stored."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from harness.model import GenerationState, ToolCall
from harness.upstreams.exchange import Exchange, mark_in
from harness.upstreams.openai import shapes
from harness.upstreams.openai.body import (
    FieldCheck,
    body_of,
    check_fields,
    flag,
    functions_in,
    list_field,
    metadata_of,
    optional_integer,
    optional_number,
    optional_text,
    stops_of,
    text_field,
    text_of_content,
    tool_choice_of,
)
from harness.upstreams.openai.errors import ApiError, missing, wrong_type, wrong_value
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.shapes import Shaped, check_shape
from harness.upstreams.openai.turn import NO_TURN, Turn, answer_schema_of, pieces_of, take_turn
from harness.upstreams.routing import routed
from harness.upstreams.sse import done, encode, event, stream_head
from harness.upstreams.thought import Ask, Said, ToolResult
from harness.upstreams.wire import Data, Hang, Reply, Step, Wait, json_reply, scripted

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_ROLES = ("system", "developer", "user", "assistant", "tool")
_FINGERPRINT = "fp_standin"


_FIELDS: dict[str, FieldCheck] = {
    "n": partial(optional_integer, least=1, most=128),
    "temperature": partial(optional_number, low=0, high=2),
    "top_p": partial(optional_number, low=0, high=1),
    "max_completion_tokens": partial(optional_integer, least=1),
    "max_tokens": partial(optional_integer, least=1),
    "stream": flag,
    "store": flag,
    "parallel_tool_calls": flag,
    "tools": list_field,
    "stop": lambda body, _: stops_of(body),
    "metadata": lambda body, _: metadata_of(body),
    "tool_choice": Shaped(shapes.CHAT_TOOL_CHOICE),
    "response_format": Shaped(shapes.RESPONSE_FORMAT),
    "stream_options": Shaped(shapes.STREAM_OPTIONS),
    "user": optional_text,
    "safety_identifier": optional_text,
    "seed": optional_integer,
    "frequency_penalty": partial(optional_number, low=-2, high=2),
    "presence_penalty": partial(optional_number, low=-2, high=2),
    "logit_bias": Shaped(shapes.LOGIT_BIAS),
    "logprobs": flag,
    "top_logprobs": partial(optional_integer, least=0, most=20),
    "functions": Shaped(shapes.FUNCTIONS),
    "function_call": Shaped(shapes.FUNCTION_CALL),
    "modalities": Shaped(shapes.MODALITIES),
    "audio": Shaped(shapes.AUDIO),
    "prediction": Shaped(shapes.PREDICTION),
    "reasoning_effort": Shaped(shapes.EFFORT),
    "verbosity": Shaped(shapes.VERBOSITY),
    "service_tier": Shaped(shapes.SERVICE_TIER),
    "prompt_cache_key": optional_text,
    "prompt_cache_retention": Shaped(shapes.CACHE_RETENTION),
    "prompt_cache_options": Shaped(dict),
    "moderation": Shaped(shapes.MODERATION),
    "web_search_options": Shaped(shapes.WEB_SEARCH_OPTIONS),
}
"""What is looked at of the fields that a request may leave out."""


_PROMPT_DETAILS = {"cached_tokens": 0, "audio_tokens": 0}
_COMPLETION_DETAILS = {
    "reasoning_tokens": 0,
    "audio_tokens": 0,
    "accepted_prediction_tokens": 0,
    "rejected_prediction_tokens": 0,
}


class Completion(msgspec.Struct, eq=False):
    """One completion."""

    id: str
    created_s: int
    model: str
    turns: list[Turn]
    messages: list[dict[str, Any]]
    metadata: dict[str, str]
    user_turn: str | None = None
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
    def prompt_tokens(self) -> int:
        """The tokens of what it was given: they count once for all choices."""
        return self.turns[0].prompt_tokens

    @property
    def completion_tokens(self) -> int:
        """The tokens of all choices."""
        tokens = 0
        for turn in self.turns:
            tokens += turn.completion_tokens
        return tokens

    def usage(self) -> dict[str, Any]:
        """Return its tokens."""
        prompt_tokens, completion_tokens = self.prompt_tokens, self.completion_tokens
        return {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "prompt_tokens_details": _PROMPT_DETAILS,
            "completion_tokens_details": _COMPLETION_DETAILS,
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
            role = message.get("role") if isinstance(message, dict) else None
            if role == "assistant":
                new = []
            elif role == "user" or role == "tool":
                content = message.get("content") or ""
                text = content if isinstance(content, str) else text_of_content(content)
                if role == "tool":
                    new.append(text)
                else:
                    exchange.said, new = text, [text]
                    exchange.turn = mark = mark_in(text)
                    exchange.mark = mark or exchange.mark
        exchange.text = text = "\n".join(new)
        exchange.characters = len(text)
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
        heard = _heard(messages)
        exchange.turn = exchange.turn or heard.first_call
        check_fields(body, _FIELDS)
        most = body.get("max_completion_tokens") or body.get("max_tokens")
        stream, store = body.get("stream") is True, body.get("store") is True
        functions = functions_in(body["tools"], shapes.CHAT_TOOLS) if body.get("tools") else ()
        id_ = self._api.new_id("chatcmpl-")
        exchange.generation = id_
        fate = self._api.epoch.faults.fate(exchange)
        held = fate.stays_in in ("queued", "in_progress")
        ask = Ask(
            seed=self._api.epoch.seed,
            subject=exchange.subject,
            ordinal=heard.turns,
            instructions=heard.instructions,
            messages=heard.messages,
            tools=functions,
            results=heard.results,
            tool_choice=_tool_choice(body, heard, functions),
        )
        turns = []
        for _ in range(body.get("n") or 1):
            turn = take_turn(
                self._api,
                exchange,
                ask,
                most_tokens=1 if fate.ends_as == "incomplete" else most,
                parallel_tool_calls=body.get("parallel_tool_calls") is not False,
                answer_schema=answer_schema_of(body["response_format"]) if "response_format" in body else None,
                stops=stops_of(body) if "stop" in body else (),
            )
            turns.append(turn)
        completion = Completion(
            id=id_,
            created_s=int(exchange.wall_s),
            model=model,
            turns=turns,
            messages=messages,
            metadata=body.get("metadata") or {},
            user_turn=exchange.turn or (turns[0].calls[0].id if turns[0].calls else None),
        )
        exchange.model = model
        fails = fate.ends_as in ("failed", "expired")
        if not fails:
            self._api.charge(exchange, model, completion.prompt_tokens, 0 if held else completion.completion_tokens)
        # They come all at once, and the longest is whole last.
        total_s = max([turn.total_s for turn in turns]) if len(turns) > 1 else turns[0].total_s
        ends_ns = exchange.begin_ns + round(1e9 * total_s)
        self._record(exchange, completion, None if held else ends_ns, failed=fails)
        if store and fate.ends_as is None:
            self._stored[id_] = completion
        if fails:
            raise ApiError(500, fate.message, type_="server_error", code=fate.code)
        if held:
            return scripted((stream_head(), Hang()) if stream else (Hang(),))
        if stream:
            options = body.get("stream_options")
            with_usage = isinstance(options, dict) and options.get("include_usage") is True
            return scripted(_stream(completion, with_usage=with_usage))
        return json_reply(completion.document(), after_s=total_s)

    def _record(self, exchange: Exchange, completion: Completion, ends_ns: int | None, *, failed: bool) -> None:
        """Record that a completion is being made, and how it ends: by itself, or because its caller leaves.

        Args:
            exchange: the call that asked for it.
            completion: what it comes to.
            ends_ns: when; None: never.
            failed: whether it fails.
        """
        making = _Making(self._api, self._stored, exchange, completion, ends_ns, failed)
        making.enter("in_progress", exchange.begin_ns)
        if ends_ns is not None and ends_ns <= exchange.begin_ns:
            # It takes no time: nobody can leave before it is over.
            making.end(ends_ns)
            return
        exchange.leaving = making.cancel
        if ends_ns is not None:
            self._api.due.at(ends_ns, making.end)

    # --- stored ones ----------------------------------------------------------------------------------------------

    def _one(self, exchange: Exchange) -> Completion:
        id_ = exchange.params["completion_id"]
        found = self._stored.get(id_)
        if found is None and self._api.adopts(id_):
            found = self._stored[id_] = Completion(
                id=id_,
                created_s=self._api.wall_s(exchange.begin_ns),
                model=self._api.adopted_model,
                turns=[NO_TURN],
                messages=[],
                metadata={},
            )
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
        self._api.was_deleted(completion.id)
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


class _Making(msgspec.Struct, eq=False):
    """The making of a completion, which ends once: by itself, or because its caller leaves."""

    api: OpenAI
    stored: dict[str, Completion]
    exchange: Exchange
    completion: Completion
    ends_ns: int | None
    fails: bool
    is_over: bool = False

    def enter(self, state: GenerationState, at_ns: int, calls: tuple[ToolCall, ...] = ()) -> None:
        """Record that it entered a state."""
        completion = self.completion
        self.api.epoch.ledger.record_generation(
            completion.id,
            state,
            at_ns,
            conversation=None,
            mark=self.exchange.mark,
            turn=completion.user_turn,
            model=completion.model,
            tool_calls=calls,
        )

    def end(self, at_ns: int) -> None:
        """Let it end as it comes to an end."""
        if self.is_over:
            return
        self.is_over = True
        truncated = False
        calls: tuple[ToolCall, ...] = ()
        for turn in self.completion.turns:
            truncated = truncated or turn.truncated
            calls += turn.calls
        self.enter("failed" if self.fails else "incomplete" if truncated else "completed", at_ns, calls)

    def cancel(self, at_ns: int) -> None:
        """Let it end because its caller left, and be paid for as far as it was written."""
        exchange, completion = self.exchange, self.completion
        if self.is_over or completion.is_told:
            return
        self.is_over = True
        self.enter("cancelled", at_ns)
        self.stored.pop(completion.id, None)
        if self.ends_ns is not None and not self.fails:
            after_s = (at_ns - exchange.begin_ns) / 1e9
            tokens = sum([turn.tokens_after(after_s) for turn in completion.turns])
            self.api.charge(exchange, completion.model, completion.prompt_tokens, tokens)


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


class _Heard(msgspec.Struct, frozen=True):
    """What the model makes of the messages of a request."""

    instructions: str
    messages: tuple[Said, ...]
    results: tuple[ToolResult, ...]
    """Of the tools that were called since the user's latest message."""
    turns: int
    """How often the model has answered."""
    first_call: str | None
    """Id of the first tool call since the user's latest message."""


def _heard(messages: list[Any]) -> _Heard:
    """Read messages as the model does.

    Raises:
        ApiError: 400: a message is malformed, or tool calls and their outputs do not belong together.
    """
    instructions: list[str] = []
    said: list[Said] = []
    results: list[ToolResult] = []
    calls: dict[str, tuple[str, str]] = {}
    unanswered: dict[str, None] = {}
    turns = 0
    first_call: str | None = None
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
        if isinstance(content, str):
            text = content
        else:
            text = text_of_content("" if has_calls and content is None else content, f"messages[{index}].content")
            if content:
                check_shape(content, shapes.CHAT_PARTS[role], f"messages[{index}].content")
        if len(message) > 2:
            check_shape(message, shapes.CHAT_MESSAGE, f"messages[{index}]")
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
                first_call = None
            else:
                turns += 1
        if has_calls:
            for id_, name, arguments in _called(message["tool_calls"], f"messages[{index}].tool_calls"):
                calls[id_] = (name, arguments)
                unanswered[id_] = None
                first_call = first_call or id_
    if unanswered:
        raise ApiError(
            400,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
            f" 'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(unanswered)}",
            param="messages",
        )
    return _Heard("\n".join(instructions), tuple(said), tuple(results), turns, first_call)


def _tool_choice(body: dict[str, Any], heard: _Heard, functions: tuple[dict[str, Any], ...]) -> str:
    choice = body.get("tool_choice")
    return "auto" if heard.results or not choice else tool_choice_of(choice, functions)


def _called(calls: Any, param: str) -> Iterator[tuple[str, str, str]]:
    """Yield (id, name, arguments) of the calls that a message of the model brings."""
    check_shape(calls, shapes.CHAT_CALLS, param)
    for call in calls:
        function = call.get("function")
        if function is None:
            yield call["id"], call["custom"]["name"], call["custom"]["input"]
        else:
            yield call["id"], function["name"], function["arguments"]


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
        deltas = _deltas(turn)
        between_s = turn.between_s(len(deltas))
        between = Wait(between_s)
        for delta in deltas:
            yield Data(before + delta + after)
            if between_s:
                yield between
        completion.is_told = turn is completion.turns[-1]
        yield Data(before + b'{},"logprobs":null,"finish_reason":' + encode(_finish(turn)) + end)
    if with_usage:
        yield event(frame | {"choices": [], "usage": completion.usage()})
    yield done()


def _deltas(turn: Turn) -> list[bytes]:
    """Return what a turn adds to its message, chunk by chunk, as JSON."""
    if not turn.calls:
        return [b'{"content":%b}' % encode(piece) for piece in pieces_of(turn.text)]
    deltas: list[dict[str, Any]] = []
    for index, call in enumerate(turn.calls):
        function = {"name": call.name, "arguments": ""}
        deltas.append({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces_of(call.arguments)
        ]
    return [encode(delta) for delta in deltas]
