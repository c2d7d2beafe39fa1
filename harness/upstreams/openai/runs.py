"""Runs and their steps: a state machine driven by the clock.

    queued -> in_progress -> requires_action -> (outputs) queued -> ...
                          -> completed | incomplete | failed
    any open state -> expired;  queued, in_progress, requires_action -> cancelling -> cancelled

What a turn of the model comes to is decided when the turn begins; nothing can change the thread while a run is active.
It is paid for then too: a run that is cancelled saves the turns that would have followed, not the one that it is at.
What fails or expires because of a fault costs nothing; what is held up by one, costs its prompt.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from harness.model import OPEN_STATES, GenerationState, ToolCall
from harness.upstreams.exchange import Exchange
from harness.upstreams.openai import shapes
from harness.upstreams.openai.assistants import Assistant
from harness.upstreams.openai.body import (
    FieldCheck,
    body_of,
    check_fields,
    check_schema,
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
from harness.upstreams.openai.errors import ApiError, missing, not_found, wrong_type
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.run_stream import THINKS_FOR, stream_run
from harness.upstreams.openai.shapes import Shaped
from harness.upstreams.openai.threads import Message, Thread
from harness.upstreams.openai.turn import NO_TURN, Turn, answer_schema_of, pieces_of, take_turn
from harness.upstreams.routing import routed
from harness.upstreams.thought import Ask, Fate, Said, ToolResult
from harness.upstreams.wire import Reply, json_reply, scripted

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_EXPIRES_AFTER_S = 600
_AUTO_TRUNCATION = {"type": "auto", "last_messages": None}
_FIELDS: dict[str, FieldCheck] = {
    "stream": flag,
    "model": optional_text,
    "tools": list_field,
    "additional_messages": list_field,
    "metadata": lambda body, _: metadata_of(body),
    "parallel_tool_calls": flag,
    "temperature": partial(optional_number, low=0, high=2),
    "top_p": partial(optional_number, low=0, high=1),
    "max_prompt_tokens": partial(optional_integer, least=1),
    "max_completion_tokens": partial(optional_integer, least=1),
    "tool_choice": Shaped(shapes.ASSISTANTS_TOOL_CHOICE),
    "response_format": Shaped(shapes.RESPONSE_FORMAT_OR_AUTO),
    "truncation_strategy": Shaped(shapes.TRUNCATION_STRATEGY),
    "reasoning_effort": Shaped(shapes.EFFORT),
    "tool_resources": Shaped(shapes.TOOL_RESOURCES),
}
"""What is looked at of the fields that a request may leave out."""
_ADOPTED_ASSISTANT = "asst_unknown"
"""Whose work a run was that is adopted; who looks it up finds one, adopted as well."""
_MESSAGES_GIVEN = 20
"""How many of the latest messages the model sees."""


class RunStep(msgspec.Struct, eq=False):
    """One step of a run: tools that were called, or a message that was written."""

    id: str
    created_s: int
    status: str
    message_id: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    outputs: dict[str, str] = {}
    """Tool call id -> its output, once it was submitted."""
    completed_s: int | None = None
    cancelled_s: int | None = None
    expired_s: int | None = None
    failed_s: int | None = None
    last_error: dict[str, str] | None = None
    usage: dict[str, int] | None = None


class Run(msgspec.Struct, eq=False):
    """One run."""

    id: str
    thread: Thread
    assistant_id: str
    model: str
    instructions: str
    tools: list[dict[str, Any]]
    functions: tuple[dict[str, Any], ...]
    created_s: int
    expires_s: int
    mark: str | None
    user_turn: str | None
    metadata: dict[str, str]
    tool_choice: Any
    parallel_tool_calls: bool
    response_format: Any
    truncation_strategy: dict[str, Any]
    temperature: float | None
    top_p: float | None
    max_prompt_tokens: int | None
    max_completion_tokens: int | None
    state: GenerationState = "queued"
    version: int = 0
    """Counts the states entered, so that what was due in an earlier one no longer happens."""
    fate: Fate = Fate()
    turn: Turn = NO_TURN
    """What the model comes up with in the turn that is under way."""
    calls: tuple[ToolCall, ...] = ()
    """The tools that are asked for in requires_action."""
    results: list[ToolResult] = []
    steps: list[RunStep] = []
    queue_ns: int = 0
    turn_ns: int = 0
    answer: Message | None = None
    """What the model writes at the end of this turn, where it writes."""
    answer_step: RunStep | None = None
    is_writing: bool = False
    """The model has begun to write it: both are there for everybody to see."""
    told_pieces: int = 0
    """How many pieces of it a stream has told."""
    turn_begun_ns: int | None = None
    """When the model began with the turn that is under way; None: it has not yet."""
    cancelling_ns: int | None = None
    """When it was told to stop."""
    cancel_takes_ns: int = 0
    prompt_tokens: int = 0
    """Of all turns that have begun."""
    completion_tokens: int = 0
    started_s: int | None = None
    completed_s: int | None = None
    cancelled_s: int | None = None
    failed_s: int | None = None
    last_error: dict[str, str] | None = None
    incomplete_reason: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        is_open = self.state in OPEN_STATES
        return {
            "id": self.id,
            "object": "thread.run",
            "created_at": self.created_s,
            "assistant_id": self.assistant_id,
            "thread_id": self.thread.id,
            "status": self.state,
            "started_at": self.started_s,
            "expires_at": self.expires_s if is_open else None,
            "cancelled_at": self.cancelled_s,
            "failed_at": self.failed_s,
            "completed_at": self.completed_s,
            "required_action": self._required_action() if self.state == "requires_action" else None,
            "last_error": self.last_error,
            "model": self.model,
            "instructions": self.instructions,
            "tools": self.tools,
            "metadata": self.metadata,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_completion_tokens,
            "max_prompt_tokens": self.max_prompt_tokens,
            "truncation_strategy": self.truncation_strategy,
            "incomplete_details": {"reason": self.incomplete_reason} if self.state == "incomplete" else None,
            "usage": None if is_open else usage(self.prompt_tokens, self.completion_tokens),
            "response_format": self.response_format,
            "tool_choice": self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
        }

    def _required_action(self) -> dict[str, Any]:
        return {
            "type": "submit_tool_outputs",
            "submit_tool_outputs": {
                "tool_calls": [
                    {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                    for call in self.calls
                ]
            },
        }

    def step_document(self, step: RunStep) -> dict[str, Any]:
        """Return one of its steps as the API writes it."""
        return {
            "id": step.id,
            "object": "thread.run.step",
            "created_at": step.created_s,
            "assistant_id": self.assistant_id,
            "thread_id": self.thread.id,
            "run_id": self.id,
            "type": "message_creation" if step.message_id is not None else "tool_calls",
            "status": step.status,
            "cancelled_at": step.cancelled_s,
            "completed_at": step.completed_s,
            "expired_at": step.expired_s,
            "failed_at": step.failed_s,
            "last_error": step.last_error,
            "metadata": None,
            "step_details": (
                {"type": "message_creation", "message_creation": {"message_id": step.message_id}}
                if step.message_id is not None
                else {
                    "type": "tool_calls",
                    "tool_calls": [
                        {
                            "id": call.id,
                            "type": "function",
                            "function": {
                                "name": call.name,
                                "arguments": call.arguments,
                                "output": step.outputs.get(call.id),
                            },
                        }
                        for call in step.tool_calls
                    ],
                }
            ),
            "usage": step.usage,
        }


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """Return a usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


class Runs:
    """The runs of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api

    # --- the state machine -----------------------------------------------------------------------------------------

    def _schedule(self, at_ns: int, run: Run, state: GenerationState, *, in_any_state: bool = False) -> None:
        self._api.due.at(at_ns, partial(self._enter_later, run, None if in_any_state else run.version, state))

    def _enter_later(self, run: Run, version: int | None, state: GenerationState, due_ns: int) -> None:
        """Enter a state that was due, unless the run is over or has left the one in which that was due."""
        if run.state in OPEN_STATES and version in (run.version, None):
            self._enter(run, state, due_ns)

    def _enter(self, run: Run, state: GenerationState, at_ns: int) -> None:
        run.state = state
        run.version += 1
        at_s = self._api.wall_s(at_ns)
        if state == "in_progress":
            run.started_s = run.started_s or at_s
            run.turn_begun_ns = at_ns
        elif state == "requires_action":
            self._ask_for_tools(run, at_s)
        elif state in ("completed", "incomplete"):
            self._write_answer(run, at_s)
        elif state == "cancelling":
            run.cancelling_ns = at_ns
        elif state != "queued":
            self._break_off(run, at_ns)
        if state not in OPEN_STATES and run.thread.active is run:
            run.thread.active = None
        self._api.epoch.ledger.record_generation(
            run.id,
            state,
            at_ns,
            conversation=run.thread.id,
            mark=run.mark,
            turn=run.user_turn,
            model=run.model,
            tool_calls=run.calls if state == "requires_action" else (),
        )
        if run.fate.stays_in == state:
            return
        if state == "queued":
            self._schedule(at_ns + run.queue_ns, run, "in_progress")
        elif state == "in_progress":
            self._schedule(at_ns + run.turn_ns, run, _outcome(run))

    def _ask_for_tools(self, run: Run, at_s: int) -> None:
        run.calls = run.turn.calls
        run.steps.append(
            RunStep(id=self._api.new_id("step_"), created_s=at_s, status="in_progress", tool_calls=run.calls)
        )

    def _write_answer(self, run: Run, at_s: int) -> None:
        self.begin_writing(run)
        message, step = run.answer, run.answer_step
        assert message is not None
        assert step is not None
        message.text = run.turn.text
        message.ended_s = step.completed_s = at_s
        step.status = "completed"
        step.usage = usage(run.turn.prompt_tokens, run.turn.completion_tokens)
        run.thread.was_answered()
        if run.state == "completed":
            message.status = "completed"
            run.completed_s = at_s
        else:
            message.status, message.incomplete_reason = "incomplete", "max_tokens"

    def begin_writing(self, run: Run) -> None:
        """Let the model begin with its answer: from now on there is a message, and a step that writes it."""
        if run.is_writing:
            return
        message, step = run.answer, run.answer_step
        assert message is not None
        assert step is not None
        run.is_writing = True
        message.created_s = step.created_s = self._api.wall_s(_writes_from_ns(run))
        run.thread.add(message)
        run.steps.append(step)

    def _break_off(self, run: Run, at_ns: int) -> None:
        """Let a run fail, expire or be cancelled, with what is under way in it."""
        state, at_s = run.state, self._api.wall_s(at_ns)
        error = None
        if state == "failed":
            run.failed_s = at_s
            run.last_error = {"code": run.fate.code, "message": run.fate.message}
            # Steps know fewer codes.
            code = "rate_limit_exceeded" if run.fate.code == "rate_limit_exceeded" else "server_error"
            error = {"code": code, "message": run.fate.message}
        elif state == "cancelled":
            run.cancelled_s = at_s
        stopped_ns = at_ns if run.cancelling_ns is None else run.cancelling_ns
        is_held = run.fate.stays_in in ("queued", "in_progress")
        if run.answer is not None and run.turn_begun_ns is not None and not is_held:
            if stopped_ns >= _writes_from_ns(run):
                self.begin_writing(run)
            if run.is_writing:
                run.answer.text = "".join(pieces_of(run.turn.text)[: _pieces_written(run, stopped_ns)])
                run.answer.status, run.answer.ended_s = "incomplete", at_s
                run.answer.incomplete_reason = f"run_{state}"
        for step in run.steps:
            if step.status == "in_progress":
                step.status, step.last_error = state, error
                step.failed_s = at_s if state == "failed" else None
                step.cancelled_s = at_s if state == "cancelled" else None
                step.expired_s = at_s if state == "expired" else None

    def _begin_turn(self, run: Run, exchange: Exchange) -> None:
        """Decide what the model comes up with next, how long it takes and what it costs."""
        thread, api = run.thread, self._api
        ask = Ask(
            seed=api.epoch.seed,
            subject=run.mark or thread.id,
            ordinal=thread.turns,
            instructions=run.instructions,
            messages=tuple([Said(one.role, one.text) for one in thread.messages[-_MESSAGES_GIVEN:]]),
            tools=run.functions,
            results=tuple(run.results),
            tool_choice="auto"
            if run.results or run.tool_choice == "auto"
            else tool_choice_of(run.tool_choice, run.functions),
        )
        thread.turns += 1
        most = 1 if run.fate.ends_as == "incomplete" else run.max_completion_tokens
        turn = take_turn(
            api,
            exchange,
            ask,
            most_tokens=None if most is None else max(most - run.completion_tokens, 0),
            parallel_tool_calls=run.parallel_tool_calls,
            answer_schema=None if run.response_format == "auto" else answer_schema_of(run.response_format),
            is_timed=False,
        )
        if turn.truncated:
            run.incomplete_reason = "max_completion_tokens"
            turn = msgspec.structs.replace(turn, calls=())
        if run.fate.ends_as in ("failed", "expired"):
            # It breaks off in the middle.
            turn = msgspec.structs.replace(turn, text=turn.text[: (len(turn.text) + 1) // 2])
        run.turn = turn
        run.turn_begun_ns = None
        if not turn.calls:
            self._draft_answer(run)
        exchange.model = run.model
        if run.fate.ends_as not in ("failed", "expired"):
            completion_tokens = 0 if run.fate.stays_in in ("queued", "in_progress") else turn.completion_tokens
            run.prompt_tokens += turn.prompt_tokens
            run.completion_tokens += completion_tokens
            api.charge(exchange, run.model, turn.prompt_tokens, completion_tokens)
        if api.epoch.latency.scale:
            run.queue_ns = round(1e9 * api.epoch.takes(exchange, "run_queue"))
            run.turn_ns = round(1e9 * api.epoch.takes(exchange, "model_turn"))

    def _draft_answer(self, run: Run) -> None:
        """Prepare what the model will write in this turn."""
        run.answer = Message(
            id=self._api.new_id("msg_"),
            thread_id=run.thread.id,
            created_s=run.created_s,
            role="assistant",
            text="",
            assistant_id=run.assistant_id,
            run_id=run.id,
            status="in_progress",
        )
        run.answer_step = RunStep(
            id=self._api.new_id("step_"),
            created_s=run.created_s,
            status="in_progress",
            message_id=run.answer.id,
        )

    # --- routes ------------------------------------------------------------------------------------------------------

    def _read(self, exchange: Exchange, thread: Thread, body: dict[str, Any]) -> tuple[Run, list[Message]]:
        """Return the run that a body asks for and the messages that it brings along; neither is in the thread yet.

        What is refused has to leave nothing behind.
        """
        check_fields(body, _FIELDS)
        if thread.active is not None:
            raise ApiError(400, f"Thread {thread.id} already has an active run {thread.active.id}.")
        assistant = self._api.assistants.get(text_field(body, "assistant_id"), exchange.begin_ns)
        tools = assistant.tools if body.get("tools") is None else body["tools"]
        messages = self._api.threads.read_messages(exchange, thread, body.get("additional_messages") or [])
        created_s = int(exchange.wall_s)
        run = Run(
            self._api.new_id("run_"),
            thread,
            assistant.id,
            body.get("model") or assistant.model,
            _instructions(assistant, body),
            tools,
            functions=assistant.functions if tools is assistant.tools else functions_in(tools, shapes.ASSISTANTS_TOOLS),
            created_s=created_s,
            expires_s=created_s + _EXPIRES_AFTER_S,
            mark=thread.mark,
            user_turn=thread.turn,
            metadata=body.get("metadata") or {},
            tool_choice=body.get("tool_choice") or "auto",
            parallel_tool_calls=body.get("parallel_tool_calls") is not False,
            response_format=body.get("response_format") or assistant.response_format,
            truncation_strategy=body.get("truncation_strategy") or _AUTO_TRUNCATION,
            temperature=_or(body.get("temperature"), assistant.temperature),
            top_p=_or(body.get("top_p"), assistant.top_p),
            max_prompt_tokens=body.get("max_prompt_tokens"),
            max_completion_tokens=body.get("max_completion_tokens"),
        )
        if run.tool_choice != "auto":
            tool_choice_of(run.tool_choice, run.functions)
        if run.response_format != "auto":
            check_schema(answer_schema_of(run.response_format), "response_format")
        return run, messages

    def _begin(self, exchange: Exchange, run: Run, messages: list[Message]) -> None:
        """Start a run in its thread."""
        thread = run.thread
        for message in messages:
            thread.add(message)
        run.mark = exchange.mark = thread.mark
        run.user_turn = exchange.turn = thread.turn
        exchange.generation = run.id
        exchange.said = thread.said
        run.fate = self._api.epoch.faults.fate(exchange)
        self._begin_turn(run, exchange)
        thread.runs.append(run)
        thread.active = run
        thread.was_asked()
        self._schedule(exchange.begin_ns + _EXPIRES_AFTER_S * 1_000_000_000, run, "expired", in_any_state=True)
        self._enter(run, "queued", exchange.begin_ns)

    @routed("POST /v1/threads/{thread_id}/runs")
    def create(self, exchange: Exchange) -> Reply:
        """Start a run."""
        thread = self._api.threads.get(exchange.params["thread_id"], exchange.begin_ns)
        body = body_of(exchange)
        run, messages = self._read(exchange, thread, body)
        self._begin(exchange, run, messages)
        return self._begun(exchange, run, body, (("thread.run.created", run.document()),))

    @routed("POST /v1/threads/runs")
    def create_thread_and_run(self, exchange: Exchange) -> Reply:
        """Create a thread and start a run in it, at once."""
        body = body_of(exchange)
        new_thread = body.get("thread")
        new_thread = {} if new_thread is None else new_thread
        if not isinstance(new_thread, dict):
            raise wrong_type("thread", "an object", new_thread)
        thread = self._api.threads.read(exchange, new_thread)
        run, messages = self._read(exchange, thread, body)
        self._api.threads.enter(exchange, thread)
        self._begin(exchange, run, messages)
        created = (("thread.created", thread.document()), ("thread.run.created", run.document()))
        return self._begun(exchange, run, body, created)

    def _one(self, exchange: Exchange) -> Run:
        thread = self._api.threads.get(exchange.params["thread_id"], exchange.begin_ns)
        id_ = exchange.params["run_id"]
        # The one asked for is nearly always the latest.
        for run in reversed(thread.runs):
            if run.id == id_:
                exchange.model = run.model
                return run
        if self._api.adopts(id_) and not self._is_elsewhere(id_):
            return self._adopted(thread, id_, exchange.begin_ns)
        raise not_found("run", id_)

    def _is_elsewhere(self, id_: str) -> bool:
        return any(run.id == id_ for thread in self._api.threads.known.values() for run in thread.runs)

    def _adopted(self, thread: Thread, id_: str, now_ns: int) -> Run:
        """Bring a run to life that was made before anybody looked: it is completed, and what it did nobody knows."""
        now_s = self._api.wall_s(now_ns)
        run = Run(
            id_,
            thread,
            thread.runs[-1].assistant_id if thread.runs else _ADOPTED_ASSISTANT,
            self._api.adopted_model,
            "",
            [],
            (),
            created_s=now_s,
            expires_s=now_s,
            mark=thread.mark,
            user_turn=None,
            metadata={},
            tool_choice="auto",
            parallel_tool_calls=True,
            response_format="auto",
            truncation_strategy=_AUTO_TRUNCATION,
            temperature=None,
            top_p=None,
            max_prompt_tokens=None,
            max_completion_tokens=None,
            state="completed",
            started_s=now_s,
            completed_s=now_s,
        )
        thread.runs.append(run)
        return run

    def _shown(self, exchange: Exchange, run: Run, doing: str = "read") -> Reply:
        return json_reply(
            run.document(),
            after_s=self._api.epoch.takes(exchange, doing),
            headers=(("openai-poll-after-ms", str(self._api.epoch.latency.poll_after_ms)),),
        )

    def _begun(
        self, exchange: Exchange, run: Run, body: dict[str, Any], before: tuple[tuple[str, dict[str, Any]], ...]
    ) -> Reply:
        """Return a run that begins a turn: as it is, or as the stream of what becomes of it."""
        if flag(body, "stream"):
            return scripted(stream_run(self._api, run, exchange.begin_ns, before))
        return self._shown(exchange, run, "write")

    @routed("GET /v1/threads/{thread_id}/runs")
    def list_runs(self, exchange: Exchange) -> Reply:
        """List a thread's runs, newest first."""
        thread = self._api.threads.get(exchange.params["thread_id"], exchange.begin_ns)
        return self._api.ok(exchange, page(thread.runs, exchange.query, Run.document))

    @routed("GET /v1/threads/{thread_id}/runs/{run_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return a run."""
        return self._shown(exchange, self._one(exchange))

    @routed("POST /v1/threads/{thread_id}/runs/{run_id}")
    def update(self, exchange: Exchange) -> Reply:
        """Change a run's metadata."""
        run = self._one(exchange)
        run.metadata = metadata_of(body_of(exchange))
        return self._shown(exchange, run, "write")

    @routed("POST /v1/threads/{thread_id}/runs/{run_id}/cancel")
    def cancel(self, exchange: Exchange) -> Reply:
        """Cancel a run that is under way."""
        run = self._one(exchange)
        if run.state not in OPEN_STATES or run.state == "cancelling":
            raise ApiError(400, f"Cannot cancel run with status '{run.state}'.")
        self._enter(run, "cancelling", exchange.begin_ns)
        if run.fate.stays_in != "cancelling":
            run.cancel_takes_ns = round(1e9 * self._api.epoch.takes(exchange, "cancel"))
            self._schedule(exchange.begin_ns + run.cancel_takes_ns, run, "cancelled")
        return self._shown(exchange, run, "write")

    @routed("POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs")
    def submit_tool_outputs(self, exchange: Exchange) -> Reply:
        """Take the outputs of the tools, all at once, and let the run go on."""
        run = self._one(exchange)
        if run.state != "requires_action":
            raise ApiError(400, f'Runs in status "{run.state}" do not accept tool outputs.')
        body = body_of(exchange)
        flag(body, "stream")
        outputs = self._outputs(run, body)
        step = run.steps[-1]
        step.outputs = outputs
        step.status = "completed"
        step.completed_s = self._api.wall_s(exchange.begin_ns)
        step.usage = usage(run.turn.prompt_tokens, run.turn.completion_tokens)
        run.results.extend(ToolResult(call.name, call.arguments, outputs[call.id]) for call in run.calls)
        run.calls = ()
        self._begin_turn(run, exchange)
        self._enter(run, "queued", exchange.begin_ns)
        return self._begun(exchange, run, body, (("thread.run.step.completed", run.step_document(step)),))

    @staticmethod
    def _outputs(run: Run, body: dict[str, Any]) -> dict[str, str]:
        if body.get("tool_outputs") is None:
            raise missing("tool_outputs")
        outputs: dict[str, str] = {}
        for index, one in enumerate(list_field(body, "tool_outputs")):
            if not isinstance(one, dict):
                raise wrong_type(f"tool_outputs[{index}]", "an object", one)
            output = one.get("output", "")
            if not isinstance(output, str):
                raise wrong_type(f"tool_outputs[{index}].output", "a string", output)
            outputs[str(one.get("tool_call_id"))] = output
        expected = [call.id for call in run.calls]
        if set(outputs) != set(expected):
            raise ApiError(400, f"Expected tool outputs for call_ids {expected}, got {list(outputs)}")
        return outputs

    @routed("GET /v1/threads/{thread_id}/runs/{run_id}/steps")
    def list_steps(self, exchange: Exchange) -> Reply:
        """List a run's steps, newest first."""
        run = self._one(exchange)
        return self._api.ok(exchange, page(run.steps, exchange.query, run.step_document))

    @routed("GET /v1/threads/{thread_id}/runs/{run_id}/steps/{step_id}")
    def retrieve_step(self, exchange: Exchange) -> Reply:
        """Return one step."""
        run = self._one(exchange)
        for step in run.steps:
            if step.id == exchange.params["step_id"]:
                return self._api.ok(exchange, run.step_document(step))
        raise not_found("run step", exchange.params["step_id"])


def _outcome(run: Run) -> GenerationState:
    if run.fate.ends_as in ("failed", "expired"):
        return run.fate.ends_as
    if run.incomplete_reason is not None:
        return "incomplete"
    return "requires_action" if run.turn.calls else "completed"


def _writes_from_ns(run: Run) -> int:
    """Return when the first words of a turn come, which has begun."""
    assert run.turn_begun_ns is not None
    return run.turn_begun_ns + round(THINKS_FOR * run.turn_ns)


def _pieces_written(run: Run, at_ns: int) -> int:
    """Return how many pieces of an answer there are at a time: those that were told, and those that would have been."""
    begins_ns = _writes_from_ns(run)
    takes_ns = (run.turn_begun_ns or 0) + run.turn_ns - begins_ns
    share = min(max((at_ns - begins_ns) / takes_ns, 0.0), 1.0) if takes_ns > 0 else 1.0
    return max(run.told_pieces, int(share * len(pieces_of(run.turn.text))))


def _instructions(assistant: Assistant, body: dict[str, Any]) -> str:
    own = optional_text(body, "instructions")
    more = optional_text(body, "additional_instructions")
    instructions = (assistant.instructions or "") if own is None else own
    return f"{instructions}\n{more}" if more else instructions


def _or(value: float | None, otherwise: float | None) -> float | None:
    return otherwise if value is None else value
