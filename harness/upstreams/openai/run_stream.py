"""A run as it streams: the events that a client sees while the state machine goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.model import OPEN_STATES
from harness.upstreams.openai.threads import Message
from harness.upstreams.openai.turn import pieces_of
from harness.upstreams.sse import done, event, stream_head
from harness.upstreams.wire import Hang, Step, Wait

if TYPE_CHECKING:
    from harness.upstreams.openai.runs import Run, RunStep
    from harness.upstreams.openai.upstream import OpenAI

_IN_PROGRESS = "thread.run.in_progress"
_SPOKE = ("completed", "incomplete")
_JUST_BEGUN = {"status": "in_progress", "completed_at": None, "incomplete_details": None, "usage": None}
_THINKS_FOR = 0.4
"""Share of a turn that passes before the first words."""


def stream_run(api: OpenAI, run: Run, begin_ns: int, before: tuple[tuple[str, dict[str, Any]], ...]) -> Iterator[Step]:
    """Yield the events of one turn of a run, from now until it completes or waits for tools.

    Args:
        api: whose state machine goes on meanwhile.
        run: a run that has just been queued.
        begin_ns: when it was.
        before: (name, data) of events that come first.
    """
    yield stream_head()
    for name, data in before:
        yield event(data, name)
    yield event(run.document(), "thread.run.queued")
    if run.fate.stays_in == "queued":
        yield Hang()
    yield Wait(run.queue_ns / 1e9)
    started_ns = begin_ns + run.queue_ns
    api.due.advance(started_ns)
    # A carrier that is late finds the run at its end already: its events are told all the same. Only a run that was
    # cancelled, or ended badly, before it began to speak has none.
    if (run.state in OPEN_STATES and run.state != "cancelling") or run.state in _SPOKE:
        yield event({**run.document(), **_JUST_BEGUN} if run.state in _SPOKE else run.document(), _IN_PROGRESS)
        if run.fate.stays_in == "in_progress":
            yield Hang()
        yield Wait(_THINKS_FOR * run.turn_ns / 1e9)
        rest_s = (1 - _THINKS_FOR) * run.turn_ns / 1e9
        if run.turn.calls:
            yield Wait(rest_s)
            api.due.advance(started_ns + run.turn_ns)
            yield from _tool_events(run)
        else:
            yield from _message_events(api, run, started_ns, rest_s)
    if run.state == "cancelling":
        yield event(run.document(), "thread.run.cancelling")
    else:
        yield event(run.document(), f"thread.run.{run.state}")
    yield done("done")


def _tool_events(run: Run) -> Iterator[Step]:
    if run.state != "requires_action":
        return
    step = run.steps[-1]
    begun = run.step_document(step)
    begun["step_details"] = {"type": "tool_calls", "tool_calls": []}
    yield event(begun, "thread.run.step.created")
    yield event(begun, "thread.run.step.in_progress")
    for index, call in enumerate(run.calls):
        function = {"name": call.name, "arguments": call.arguments, "output": None}
        asked = {"index": index, "id": call.id, "type": "function", "function": function}
        yield event(
            {
                "id": step.id,
                "object": "thread.run.step.delta",
                "delta": {"step_details": {"type": "tool_calls", "tool_calls": [asked]}},
            },
            "thread.run.step.delta",
        )


def _message_events(api: OpenAI, run: Run, started_ns: int, rest_s: float) -> Iterator[Step]:
    message, step = run.answer, run.answer_step
    assert message is not None
    assert step is not None
    yield from _begun(run, message, step)
    pieces = pieces_of(run.turn.text)
    for piece in pieces:
        text = {"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}
        yield event(
            {"id": message.id, "object": "thread.message.delta", "delta": {"content": [text]}}, "thread.message.delta"
        )
        yield Wait(rest_s / len(pieces))
    api.due.advance(started_ns + run.turn_ns)
    if run.state in ("completed", "incomplete"):
        yield event(message.document(), f"thread.message.{run.state}")
        yield event(run.step_document(step), "thread.run.step.completed")


def _begun(run: Run, message: Message, step: RunStep) -> Iterator[Step]:
    begun_step = {**run.step_document(step), "status": "in_progress", "completed_at": None, "usage": None}
    begun_message = {**message.document(), "status": "in_progress", "completed_at": None, "content": []}
    yield event(begun_step, "thread.run.step.created")
    yield event(begun_step, "thread.run.step.in_progress")
    yield event(begun_message, "thread.message.created")
    yield event(begun_message, "thread.message.in_progress")
