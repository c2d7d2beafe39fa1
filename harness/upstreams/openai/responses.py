"""Responses: `/v1/responses`, plain, streamed and in the background.

    queued -> in_progress -> completed | incomplete      queued, in_progress -> cancelled

Those that are made in the background are cancelled by a call of their own, the others by a caller who leaves.

A response that asks for tools is completed too; their outputs come with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.model import OPEN_STATES, GenerationState
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
    text_field,
    tool_choice_of,
)
from harness.upstreams.openai.conversations import Conversation, item_page
from harness.upstreams.openai.errors import ApiError, missing, wrong_type, wrong_value
from harness.upstreams.openai.items import (
    History,
    Item,
    answer_item,
    call_item,
    compaction_item,
    history_of,
    read_items,
    text_of,
    unpacked,
)
from harness.upstreams.openai.pages import integer_in
from harness.upstreams.openai.shapes import Shaped
from harness.upstreams.openai.socket_mode import KEY, ResponsesDialogue, handshake_headers
from harness.upstreams.openai.turn import (
    NO_TURN,
    TOKENS_A_MESSAGE,
    Turn,
    answer_schema_of,
    pieces_of,
    prompt_tokens_of,
    take_turn,
)
from harness.upstreams.openai.user_turns import turn_name
from harness.upstreams.prices import tokens_in
from harness.upstreams.routing import routed
from harness.upstreams.sse import event, stream_head
from harness.upstreams.thought import Ask, Fate, Said
from harness.upstreams.wire import Hang, Head, Reply, Step, Upgrade, Wait, json_reply, scripted

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

# What a response repeats of its request, with what it says where the request is silent.
_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


_NO_REASONING = {"effort": None, "summary": None}
_PLAIN_TEXT = {"format": {"type": "text"}, "verbosity": "medium"}
_INPUT_DETAILS = {"cached_tokens": 0, "cache_write_tokens": 0}
_OUTPUT_DETAILS = {"reasoning_tokens": 0}

_FIELDS: dict[str, FieldCheck] = {
    "store": flag,
    "background": flag,
    "stream": flag,
    "instructions": optional_text,
    "tools": list_field,
    "temperature": partial(optional_number, low=0, high=2),
    "top_p": partial(optional_number, low=0, high=1),
    "metadata": lambda body, _: metadata_of(body),
    "max_tool_calls": partial(optional_integer, least=0),
    "max_output_tokens": partial(optional_integer, least=1),
    "parallel_tool_calls": flag,
    "tool_choice": Shaped(shapes.RESPONSES_TOOL_CHOICE),
    "text": Shaped(shapes.TEXT_CONFIG),
    "reasoning": Shaped(shapes.REASONING),
    "truncation": Shaped(Literal["auto", "disabled"]),
    "stream_options": Shaped(shapes.STREAM_OPTIONS),
    "include": Shaped(shapes.INCLUDE),
    "prompt": Shaped(shapes.PROMPT),
    "user": optional_text,
    "safety_identifier": optional_text,
    "service_tier": Shaped(shapes.RESPONSES_SERVICE_TIER),
    "top_logprobs": partial(optional_integer, least=0, most=20),
    "prompt_cache_key": optional_text,
    "prompt_cache_retention": Shaped(shapes.CACHE_RETENTION),
    "prompt_cache_options": Shaped(dict),
    "context_management": Shaped(shapes.CONTEXT_MANAGEMENT),
    "background_options": Shaped(dict),
    "access_programs": Shaped(dict),
    "image": Shaped(dict),
    "moderation": Shaped(shapes.MODERATION),
    "personality": optional_text,
}
"""What is looked at of the fields that a request may leave out."""


class Response(msgspec.Struct, eq=False):
    """One response."""

    id: str
    created_s: int
    body: dict[str, Any]
    tools: list[dict[str, Any]]
    chain: str
    """What the ledger calls its conversation: the conversation, else the first response of the chain."""
    input: list[Item]
    before: list[Item]
    """What was said before its own input."""
    turn: Turn
    background: bool
    stored: bool
    mark: str | None
    user_turn: str | None
    said: str
    caller: str | None
    user_turn_number: int = 1
    """Which one of its chain that is."""
    conversation: Conversation | None = None
    state: GenerationState = "queued"
    fate: Fate = Fate()
    output: list[Item] = []
    ends_s: int = 0
    """When it will be over, in seconds since 1970."""
    is_told: bool = False
    """Its last words were sent: who leaves now has it."""
    completed_s: int | None = None

    @property
    def end(self) -> GenerationState:
        """The state in which it ends if nobody cancels it."""
        # Responses do not expire; one that should fails.
        if self.fate.ends_as in ("failed", "expired"):
            return "failed"
        return "incomplete" if self.turn.truncated else "completed"

    @property
    def is_held(self) -> bool:
        """Whether it never gets so far as to write."""
        return self.fate.stays_in in ("queued", "in_progress")

    def document(self, state: GenerationState | None = None) -> dict[str, Any]:
        """Return it as the API writes it, in the state it is in or in an earlier one."""
        state = state or self.state
        is_open = state in OPEN_STATES
        body, turn = self.body, self.turn
        text = body.get("text")
        document: dict[str, Any] = {
            "id": self.id,
            "object": "response",
            "created_at": self.created_s,
            "completed_at": None if is_open else self.completed_s or self.ends_s,
            "status": state,
            "background": self.background,
            "conversation": None if self.conversation is None else {"id": self.conversation.id},
            "error": {"code": self.fate.code, "message": self.fate.message} if state == "failed" else None,
            "incomplete_details": {"reason": "max_output_tokens"} if state == "incomplete" else None,
            "metadata": body.get("metadata") or {},
            "model": body["model"],
            "output": [] if is_open or state == "failed" else [item.document for item in self.output],
            "parallel_tool_calls": body.get("parallel_tool_calls") is not False,
            "reasoning": body.get("reasoning") or _NO_REASONING,
            "store": self.stored,
            "text": _PLAIN_TEXT | text if isinstance(text, dict) else _PLAIN_TEXT,
            "tool_choice": body.get("tool_choice") or "auto",
            "tools": self.tools,
            "usage": None
            if is_open or state in ("cancelled", "failed")
            else usage(turn.prompt_tokens, turn.completion_tokens),
            **_ECHOED,
        }
        for name in body:
            if name in _ECHOED and body[name] is not None:
                document[name] = body[name]
        return document


def usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    """Return a usage object of this API."""
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": _INPUT_DETAILS,
        "output_tokens": output_tokens,
        "output_tokens_details": _OUTPUT_DETAILS,
        "total_tokens": input_tokens + output_tokens,
    }


class Responses:
    """The responses of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self.known: dict[str, Response] = {}
        self._latest: dict[str, Response] = {}
        """By WebSocket: what was said last there can be gone on from, though it is not stored."""

    def _earlier_one(self, exchange: Exchange, id_: Any) -> Response | None:
        latest = self._latest.get(exchange.request.headers.get(KEY, ""))
        return latest if latest is not None and latest.id == id_ else self.known.get(str(id_))

    def identify(self, exchange: Exchange) -> None:
        """Note whose request for a response this is: from its conversation, what came before, and its own input."""
        body = exchange.json_object
        conversation_id = _conversation_id(body) if body.get("conversation") else None
        conversation: Conversation | None = None
        if conversation_id is not None:
            exchange.conversation = conversation_id
            conversation = self._api.conversations.known.get(conversation_id)
            if conversation is not None:
                exchange.mark, exchange.said = conversation.mark, conversation.said
                exchange.turn = conversation.turn
        previous_id = body.get("previous_response_id")
        previous = self._earlier_one(exchange, previous_id) if previous_id else None
        if previous is not None:
            exchange.conversation, exchange.mark, exchange.said = previous.chain, previous.mark, previous.said
            exchange.turn = previous.user_turn
        given = body.get("input") or []
        new, said = ([given], [given]) if isinstance(given, str) else _texts(given)
        exchange.text = "\n".join(new)
        exchange.characters = len(exchange.text)
        for text in said:
            exchange.said = text
            exchange.mark = mark_in(text) or exchange.mark
        if said and conversation is not None:
            exchange.turn = conversation.turn_of(said[-1])
        elif said:
            exchange.turn = mark_in(said[-1])
            if previous is not None and exchange.turn is None:
                exchange.turn = turn_name(previous.chain, previous.user_turn_number + 1)
        user = body.get("safety_identifier") or body.get("user")
        exchange.caller = user if isinstance(user, str) else None

    # --- over a WebSocket ------------------------------------------------------------------------------------------

    @routed("GET /v1/responses")
    def connect(self, exchange: Exchange) -> Reply:
        """Become a WebSocket, on which each `response.create` is a call of `create`."""
        headers = exchange.request.headers
        if headers.get("upgrade", "").lower() != "websocket" or KEY not in headers:
            exchange.unexpected = True
            raise ApiError(404, "Invalid URL (GET /v1/responses)")
        return scripted(
            (
                Wait(self._api.epoch.takes(exchange, "read")),
                Head(101, handshake_headers(headers[KEY]), 0),
                Upgrade(ResponsesDialogue(exchange.request)),
            )
        )

    @routed("WS /v1/responses")
    def hear(self, exchange: Exchange) -> Reply:
        """Answer a message that creates nothing. Nothing is steered here, as with most models."""
        event = exchange.json_object
        if event.get("type") != "response.steer":
            raise wrong_value("type", event.get("type"), ("response.create", "response.steer"))
        steer = {name: event.get(name) for name in ("input", "previous_response_id")}
        error = {
            "type": "invalid_request_error",
            "code": "steering_not_supported",
            "message": "This model does not support steering.",
        }
        failed = {"type": "response.steer.failed", "sequence_number": 0, "steer": steer, "error": error}
        return self._api.ok(exchange, failed)

    # --- making one -----------------------------------------------------------------------------------------------

    @routed("POST /v1/responses")
    def create(self, exchange: Exchange) -> Reply:
        """Make a response: at once, as a stream, or in the background."""
        body = body_of(exchange)
        text_field(body, "model")
        check_fields(body, _FIELDS)
        stored = body.get("store") is not False
        background = body.get("background") is True
        stream = body.get("stream") is True
        if background and KEY in exchange.request.headers:
            raise ApiError(400, "Background mode is not supported over WebSocket.", param="background")
        if background and not stored:
            raise ApiError(400, "Background mode requires store to be true.", param="background")
        response = self._begin(exchange, body, stored=stored, background=background)
        if stream:
            return scripted(self._stream(response))
        if background:
            return self._api.ok(exchange, response.document(), "write")
        if response.fate.stays_in == "in_progress":
            return scripted((Hang(),))
        return json_reply(response.document(response.end), after_s=response.turn.total_s)

    def _begin(self, exchange: Exchange, body: dict[str, Any], *, stored: bool, background: bool) -> Response:
        api = self._api
        conversation, before, chain = self._earlier(exchange, body)
        if body.get("input") is None and conversation is None and not before:
            raise ApiError(
                400,
                "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided.",
            )
        given = _given(body)
        own = read_items(given, api.new_id)
        if before:
            known = {item.id: item for item in before}
            own = [known.get(item.id, item) if item.type == "item_reference" else item for item in own]
        if isinstance(given, str) and not before:
            history = History("", (Said("user", given),), (), 0)
        else:
            history = history_of(unpacked([*before, *own]))
        instructions = _instructions(body, history)
        tools = [_tool(tool) for tool in body.get("tools") or ()]
        id_ = api.new_id("resp_")
        chain = chain or id_
        exchange.conversation = chain
        exchange.generation = id_
        fate = api.epoch.faults.fate(exchange)
        if fate.stays_in == "queued" and not background:
            # Only what is made in the background is ever queued.
            fate = Fate(stays_in="in_progress")
        # Over a WebSocket a response may be prepared that nothing is generated for.
        generates = KEY not in exchange.request.headers or flag(body, "generate", otherwise=True)
        functions = functions_in(tools, shapes.RESPONSES_TOOLS, flat=True) if tools else ()
        ask = Ask(
            seed=api.epoch.seed,
            subject=exchange.mark or chain,
            ordinal=history.turns,
            instructions=instructions,
            messages=history.messages,
            tools=functions,
            results=history.results,
            tool_choice="auto"
            if history.results or not body.get("tool_choice")
            else tool_choice_of(body["tool_choice"], functions),
        )
        turn = NO_TURN
        if generates:
            turn = take_turn(
                api,
                exchange,
                ask,
                most_tokens=1 if fate.ends_as == "incomplete" else body.get("max_output_tokens"),
                parallel_tool_calls=body.get("parallel_tool_calls") is not False,
                # The bound counts what is called in one response; earlier ones of a turn count in their own.
                most_calls=body.get("max_tool_calls"),
                answer_schema=answer_schema_of(body["text"].get("format")) if body.get("text") else None,
            )
        exchange.turn = exchange.turn or history.first_call
        response = Response(
            id=id_,
            created_s=int(exchange.wall_s),
            body=body,
            tools=tools,
            chain=chain,
            input=own,
            before=before if conversation is None else [],
            turn=turn,
            background=background,
            stored=stored,
            mark=exchange.mark,
            user_turn=exchange.turn or (turn.calls[0].id if turn.calls else None),
            said=exchange.said,
            caller=exchange.caller,
            conversation=conversation,
            fate=fate,
        )
        response.output = self._output(turn) if generates else []
        exchange.model = body["model"]
        if generates and response.end != "failed":
            api.charge(exchange, body["model"], turn.prompt_tokens, 0 if response.is_held else turn.completion_tokens)
        takes_s = turn.total_s + (self._queue_s(response) if background else 0.0)
        response.ends_s = api.wall_s(exchange.begin_ns + round(1e9 * takes_s)) if takes_s else response.created_s
        if stored:
            self.known[id_] = response
        if KEY in exchange.request.headers:
            self._latest[exchange.request.headers[KEY]] = response
        if conversation is not None:
            conversation.locked_by = id_
            conversation.add(own)
            conversation.was_asked()
            response.user_turn = exchange.turn = conversation.turn
        elif body.get("previous_response_id"):
            previous = self._earlier_one(exchange, body["previous_response_id"])
            if previous is not None:
                response.user_turn_number = previous.user_turn_number + (exchange.turn != previous.user_turn)
        self._enter(response, "queued" if background else "in_progress", exchange.begin_ns)
        if not background:
            exchange.leaving = lambda at_ns: self._leave(response, exchange, at_ns)
        return response

    def _leave(self, response: Response, exchange: Exchange, at_ns: int) -> None:
        """Cancel a response for which nobody waits any more; what was written until then is paid for."""
        if response.state not in OPEN_STATES or response.is_told:
            return
        if not response.is_held and response.end != "failed":
            turn = response.turn
            tokens = turn.tokens_after((at_ns - exchange.begin_ns) / 1e9)
            self._api.charge(exchange, response.body["model"], turn.prompt_tokens, tokens)
        self._enter(response, "cancelled", at_ns)

    def _earlier(self, exchange: Exchange, body: dict[str, Any]) -> tuple[Conversation | None, list[Item], str | None]:
        """Return the conversation, what was said before, and what the ledger calls it."""
        if body.get("previous_response_id") is None and body.get("conversation") is None:
            return None, [], None
        previous_id = optional_text(body, "previous_response_id")
        conversation_id = _conversation_id(body)
        if previous_id and conversation_id:
            raise ApiError(
                400,
                "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Please provide only one.",
                param="previous_response_id",
                code="mutually_exclusive_parameters",
            )
        if conversation_id:
            conversation = self._api.conversations.get(conversation_id, exchange.begin_ns)
            self._api.conversations.check_unlocked(conversation)
            return conversation, list(conversation.items), conversation.id
        if previous_id:
            previous = self._earlier_one(exchange, previous_id) or self._adopted(previous_id, exchange.begin_ns)
            if previous is None:
                raise ApiError(
                    400,
                    f"Previous response with id '{previous_id}' not found.",
                    param="previous_response_id",
                    code="previous_response_not_found",
                )
            return None, [*previous.before, *previous.input, *previous.output], previous.chain
        return None, [], None

    def _output(self, turn: Turn) -> list[Item]:
        if turn.calls:
            return [call_item(self._api.new_id("fc_"), call.id, call.name, call.arguments) for call in turn.calls]
        return [answer_item(self._api.new_id("msg_"), turn.text, "incomplete" if turn.truncated else "completed")]

    # --- the state machine ------------------------------------------------------------------------------------------

    def _enter(self, response: Response, state: GenerationState, at_ns: int) -> None:
        api = self._api
        response.state = state
        if state not in OPEN_STATES:
            response.completed_s = api.wall_s(at_ns)
            conversation = response.conversation
            if conversation is not None and conversation.locked_by == response.id:
                conversation.locked_by = None
                if state not in ("cancelled", "failed"):
                    conversation.add(response.output)
            if state == "cancelled":
                response.output = []
        api.epoch.ledger.record_generation(
            response.id,
            state,
            at_ns,
            conversation=response.chain,
            mark=response.mark,
            turn=response.user_turn,
            model=response.body["model"],
            tool_calls=response.turn.calls if state == "completed" else (),
        )
        if response.fate.stays_in == state:
            return
        if state == "queued":
            self._schedule(response, "in_progress", at_ns + round(1e9 * self._queue_s(response)))
        elif state == "in_progress":
            takes_ns = round(1e9 * response.turn.total_s)
            if takes_ns or response.background:
                self._schedule(response, response.end, at_ns + takes_ns)
            else:
                # It takes no time: nobody can leave, or look at it, before it is over.
                self._enter(response, response.end, at_ns)

    def _schedule(self, response: Response, state: GenerationState, at_ns: int) -> None:
        def enter(due_ns: int) -> None:
            if response.state in OPEN_STATES:
                self._enter(response, state, due_ns)

        self._api.due.at(at_ns, enter)

    def _queue_s(self, response: Response) -> float:
        """Return how long it waits before it is worked on: only what is made in the background waits."""
        latency = self._api.epoch.latency
        return latency.draw("run_queue", response.mark or response.id, 0) if response.background else 0.0

    # --- streaming --------------------------------------------------------------------------------------------------

    def _stream(self, response: Response, *, after: int = -1) -> Iterator[Step]:
        """Yield the stream of a response from its beginning; events up to the number `after` are left out."""
        yield stream_head()
        number = 0
        for step in self._events(response):
            if isinstance(step, Wait):
                if number > after and response.state in OPEN_STATES:
                    yield step
                continue
            if isinstance(step, dict):
                step["sequence_number"] = number
                if number > after:
                    yield event(step, step["type"])
                number += 1
            else:
                yield step

    def _events(self, response: Response) -> Iterator[Any]:
        turn = response.turn
        first: GenerationState = "queued" if response.background else "in_progress"
        yield {"type": "response.created", "response": response.document(first)}
        if response.background:
            yield {"type": "response.queued", "response": response.document("queued")}
            if response.fate.stays_in == "queued":
                yield Hang()
            yield Wait(self._queue_s(response))
        yield {"type": "response.in_progress", "response": response.document("in_progress")}
        if response.fate.stays_in == "in_progress":
            yield Hang()
        yield Wait(turn.first_token_s)
        pieces = pieces_of(turn.text) if not turn.calls else [call.arguments for call in turn.calls]
        between_s = turn.between_s(len(pieces))
        for index, item in enumerate(tuple(response.output)):
            place = {"item_id": item.id, "output_index": index}
            if item.type == "function_call":
                yield from self._call_events(item, place)
                yield Wait(between_s)
            else:
                yield from self._text_events(item, place, pieces, between_s)
        response.is_told = True
        if response.state != "cancelled":
            yield {"type": f"response.{response.end}", "response": response.document(response.end)}

    @staticmethod
    def _call_events(item: Item, place: dict[str, Any]) -> Iterator[Any]:
        arguments, index = item.document["arguments"], place["output_index"]
        started = {**item.document, "status": "in_progress", "arguments": ""}
        yield {"type": "response.output_item.added", "output_index": index, "item": started}
        yield {"type": "response.function_call_arguments.delta", **place, "delta": arguments}
        name = item.document["name"]
        yield {"type": "response.function_call_arguments.done", **place, "arguments": arguments, "name": name}
        yield {"type": "response.output_item.done", "output_index": index, "item": item.document}

    @staticmethod
    def _text_events(item: Item, place: dict[str, Any], pieces: list[str], between_s: float) -> Iterator[Any]:
        index = place["output_index"]
        where = {**place, "content_index": 0}
        (part,) = item.document["content"]
        started = {**item.document, "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": index, "item": started}
        yield {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}
        for piece in pieces:
            yield {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
            yield Wait(between_s)
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **where, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": item.document}

    # --- stored ones --------------------------------------------------------------------------------------------------

    def _adopted(self, id_: str, now_ns: int) -> Response | None:
        """Bring a response of elsewhere to life, completed and empty; None where it stays unknown."""
        if not self._api.adopts(id_):
            return None
        now_s = self._api.wall_s(now_ns)
        self.known[id_] = adopted = Response(
            id=id_,
            created_s=now_s,
            body={"model": self._api.adopted_model},
            tools=[],
            chain=id_,
            input=[],
            before=[],
            turn=NO_TURN,
            # Who waits for a response that is not in its hands, or cancels it, had it made in the background.
            background=True,
            stored=True,
            mark=None,
            user_turn=None,
            said="",
            caller=None,
            state="completed",
            completed_s=now_s,
        )
        return adopted

    def _one(self, exchange: Exchange) -> Response:
        id_ = exchange.params["response_id"]
        found = self.known.get(id_) or self._adopted(id_, exchange.begin_ns)
        if found is None:
            raise ApiError(404, f"Response with id '{id_}' not found.")
        exchange.model = found.body["model"]
        return found

    @routed("GET /v1/responses/{response_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return a stored response, or play its stream again from an event on."""
        response = self._one(exchange)
        if exchange.query.get("stream") != "true":
            return self._api.ok(exchange, response.document())
        return scripted(self._stream(response, after=integer_in(exchange.query, "starting_after", -1)))

    @routed("DELETE /v1/responses/{response_id}")
    def delete(self, exchange: Exchange) -> Reply:
        """Delete a stored response."""
        response = self._one(exchange)
        del self.known[response.id]
        self._api.was_deleted(response.id)
        return self._api.ok(exchange, {"id": response.id, "object": "response", "deleted": True}, "write")

    @routed("POST /v1/responses/{response_id}/cancel")
    def cancel(self, exchange: Exchange) -> Reply:
        """Cancel a response that is being made in the background; one that is over stays as it is."""
        response = self._one(exchange)
        if not response.background:
            raise ApiError(400, "Cannot cancel a synchronous response.")
        if response.state in OPEN_STATES and response.fate.stays_in != "cancelling":
            self._enter(response, "cancelled", exchange.begin_ns)
        return self._api.ok(exchange, response.document(), "write")

    @routed("GET /v1/responses/{response_id}/input_items")
    def input_items(self, exchange: Exchange) -> Reply:
        """List what a response was given, newest first."""
        response = self._one(exchange)
        return self._api.ok(exchange, item_page([*response.before, *response.input], exchange))

    @routed("POST /v1/responses/input_tokens")
    def input_tokens(self, exchange: Exchange) -> Reply:
        """Count the tokens of what a response would be given."""
        body = body_of(exchange)
        optional_text(body, "model")
        check_fields(body, _FIELDS)
        optional_text(body, "instructions")
        functions = functions_in(body.get("tools"), shapes.RESPONSES_TOOLS, flat=True)
        _, before, _ = self._earlier(exchange, body)
        history = history_of(unpacked([*before, *read_items(_given(body), self._api.new_id)]))
        count = prompt_tokens_of(_instructions(body, history), history.messages, history.results, functions)
        return self._api.ok(exchange, {"object": "response.input_tokens", "input_tokens": count})

    @routed("POST /v1/responses/compact")
    def compact(self, exchange: Exchange) -> Reply:
        """Return the user's messages and one item that stands for everything."""
        body = body_of(exchange)
        text_field(body, "model")
        check_fields(body, _FIELDS)
        _, before, _ = self._earlier(exchange, body)
        if body.get("input") is None and not before:
            raise missing("input")
        items = unpacked([*before, *read_items(_given(body), self._api.new_id)])
        packed = compaction_item(self._api.new_id("cmp_"), items)
        document = {
            "id": self._api.new_id("resp_"),
            "object": "response.compaction",
            "created_at": self._api.wall_s(exchange.begin_ns),
            "output": [packed.document],
            "usage": usage(_tokens(items), tokens_in(packed.document["encrypted_content"])),
        }
        return self._api.ok(exchange, document, "write")


def _tokens(items: list[Item]) -> int:
    return sum(tokens_in(text_of(item)) + TOKENS_A_MESSAGE for item in items)


def _instructions(body: dict[str, Any], history: History) -> str:
    return "\n".join([part for part in (body.get("instructions"), history.instructions) if part])


def _given(body: dict[str, Any]) -> Any:
    given = body.get("input")
    return [] if given is None or given == "" else given


def _texts(given: Any) -> tuple[list[str], list[str]]:
    """Return what is new in a request's input, and what the user says in it."""
    items = read_items(given, lambda prefix: prefix)
    said = [text_of(item) for item in items if item.type == "message" and item.document["role"] == "user"]
    return [text_of(item) for item in items if _is_new(item)], said


def _is_new(item: Item) -> bool:
    """Return whether an input item is something new: what the model said is only brought along."""
    return item.type == "function_call_output" or (item.type == "message" and item.document["role"] != "assistant")


def _conversation_id(body: dict[str, Any]) -> str | None:
    conversation = body.get("conversation")
    if isinstance(conversation, dict):
        conversation = conversation.get("id")
        if conversation is None:
            raise missing("conversation.id")
    if conversation is not None and not isinstance(conversation, str):
        raise wrong_type("conversation", "one of a string or object", conversation)
    return conversation or None


def _tool(tool: Any) -> Any:
    """Return a tool as a response repeats it: a function with what it leaves out."""
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": {}, "strict": True, **tool}
