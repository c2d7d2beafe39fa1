"""A run as it streams: the events that a client sees while the state machine goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from harness.upstreams.openai.turn import pieces_of
from harness.upstreams.sse import done, event, stream_head
from harness.upstreams.wire import Hang, Step, Wait

if TYPE_CHECKING:
    from harness.upstreams.openai.runs import Run
    from harness.upstreams.openai.upstream import OpenAI

_STEP_BEGUN: dict[str, Any] = {
    "status": "in_progress",
    "cancelled_at": None,
    "completed_at": None,
    "expired_at": None,
    "failed_at": None,
    "last_error": None,
    "usage": None,
}
_RUN_BEGUN: dict[str, Any] = {
    "status": "in_progress",
    "cancelled_at": None,
    "completed_at": None,
    "failed_at": None,
    "last_error": None,
    "incomplete_details": None,
    "required_action": None,
    "usage": None,
}
_MESSAGE_BEGUN: dict[str, Any] = {
    "status": "in_progress",
    "completed_at": None,
    "incomplete_at": None,
    "incomplete_details": None,
    "content": [],
}
THINKS_FOR = 0.4
"""Share of a turn that passes before the first words."""


def stream_run(api: OpenAI, run: Run, begin_ns: int, before: tuple[tuple[str, dict[str, Any]], ...]) -> Iterator[Step]:
    """Yield the events of one turn of a run, from now until it is over or waits for tools.

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
    # A carrier that is late finds the run at its end already: its events are told all the same. Only what ended before
    # the first words has none.
    if run.state == "in_progress" or run.state == "requires_action" or run.is_writing:
        yield event({**run.document(), **_RUN_BEGUN}, "thread.run.in_progress")
        if run.fate.stays_in == "in_progress":
            yield Hang()
        yield Wait(THINKS_FOR * run.turn_ns / 1e9)
        ends_ns = started_ns + run.turn_ns
        rest_s = (1 - THINKS_FOR) * run.turn_ns / 1e9
        api.due.advance(ends_ns - round(1e9 * rest_s))
        if run.turn.calls:
            yield Wait(rest_s)
            api.due.advance(ends_ns)
            yield from _tool_events(run)
        elif run.state == "in_progress" or run.is_writing:
            api.runs.begin_writing(run)
            yield from _words(run, rest_s)
            if run.state not in ("cancelling", "cancelled"):
                api.due.advance(ends_ns)
    if run.cancelling_ns is not None and run.state in ("cancelling", "cancelled"):
        cancelling = {**run.document(), **_RUN_BEGUN, "status": "cancelling", "expires_at": run.expires_s}
        yield event(cancelling, "thread.run.cancelling")
        if run.state == "cancelling":
            if run.fate.stays_in == "cancelling":
                yield Hang()
            yield Wait(run.cancel_takes_ns / 1e9)
            api.due.advance(run.cancelling_ns + run.cancel_takes_ns)
    if run.is_writing:
        yield from _end_of_words(run)
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


def _words(run: Run, rest_s: float) -> Iterator[Step]:
    """Yield the beginning of an answer and its pieces, as many as the model came to write."""
    message, step = run.answer, run.answer_step
    assert message is not None
    assert step is not None
    begun_step = {**run.step_document(step), **_STEP_BEGUN}
    begun_message = {**message.document(), **_MESSAGE_BEGUN}
    yield event(begun_step, "thread.run.step.created")
    yield event(begun_step, "thread.run.step.in_progress")
    yield event(begun_message, "thread.message.created")
    yield event(begun_message, "thread.message.in_progress")
    pieces = pieces_of(run.turn.text)
    told_characters = 0
    for number, piece in enumerate(pieces, 1):
        # It stops where it was told to, or, for a carrier that is late, where it had come to by then.
        if run.state == "cancelling" or (message.status == "incomplete" and told_characters >= len(message.text)):
            break
        text = {"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}
        yield event(
            {"id": message.id, "object": "thread.message.delta", "delta": {"content": [text]}}, "thread.message.delta"
        )
        told_characters += len(piece)
        run.told_pieces = max(run.told_pieces, number)
        yield Wait(rest_s / len(pieces))


def _end_of_words(run: Run) -> Iterator[Step]:
    message, step = run.answer, run.answer_step
    assert message is not None
    assert step is not None
    yield event(message.document(), f"thread.message.{message.status}")
    yield event(run.step_document(step), f"thread.run.step.{step.status}")
