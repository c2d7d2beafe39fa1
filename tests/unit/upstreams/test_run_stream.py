"""A run that streams and breaks off: what was told of is there afterwards, and is said to have ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.faults import parse
from harness.upstreams import wire
from harness.upstreams.epoch import Epoch, EpochSettings
from tests.unit.upstreams.conftest import Caller

SAID = "tell me something"
BEGUN = ["thread.run.step.created", "thread.run.step.in_progress", "thread.message.created"]


@pytest.fixture
def epoch() -> Epoch:
    """Upstreams that take as long as real ones: 3 s for a turn."""
    return Epoch(EpochSettings(name="test", seed=1, latency="realistic"))


def events_in(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        if lines and lines["event"] != "done":
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def begin(caller: Caller, text: str = SAID) -> tuple[str, dict[str, Any]]:
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": text})
    return thread, {"assistant_id": caller.assistant(), "stream": True}


def streamed(caller: Caller, text: str = SAID) -> tuple[str, list[tuple[str, Any]]]:
    thread, body = begin(caller, text)
    return thread, events_in(caller.call("openai", "POST", f"/v1{thread}/runs", body).body)


def streamed_while(
    caller: Caller, when: str, do: Callable[[str, str], None], number: int = 1
) -> tuple[str, list[tuple[str, Any]]]:
    """Stream a run, and do something (path of the thread, of the run) when the nth event of that name comes."""
    thread, body = begin(caller)
    headers = {"authorization": "Bearer sk-test", "openai-beta": "assistants=v2"}
    request = wire.Request("POST", f"/v1{thread}/runs", headers=headers, body=json.dumps(body).encode())
    exchange = caller.epoch.begin("openai", request, caller.now_ns)
    assert exchange.reply is not None
    sent, seen = b"", 0
    for step in exchange.reply.steps():
        if isinstance(step, wire.Wait):
            caller.sleep(step.seconds)
        elif isinstance(step, wire.Data):
            sent += step.body
            seen += f"event: {when}\n".encode() in step.body
            if seen == number and f"event: {when}\n".encode() in step.body:
                do(thread, f"{thread}/runs/{exchange.generation}")
    caller.epoch.finish(exchange, caller.now_ns, status=200, response_bytes=len(sent), client_gone=False)
    return thread, events_in(sent)


def streamed_until_cancelled(caller: Caller, when: str, number: int = 1) -> tuple[str, list[tuple[str, Any]]]:
    def cancel(thread: str, run: str) -> None:
        caller.openai("POST", f"{run}/cancel")

    return streamed_while(caller, when, cancel, number)


def told(events: list[tuple[str, Any]]) -> str:
    deltas = [data for name, data in events if name == "thread.message.delta"]
    return "".join(part["text"]["value"] for data in deltas for part in data["delta"]["content"])


def is_there(caller: Caller, thread: str, events: list[tuple[str, Any]]) -> tuple[Any, Any]:
    """Return the step and the message that were told of last, as they can be asked for."""
    last = dict(events)
    run = f"{thread}/runs/{next(data for name, data in events if name == 'thread.run.created')['id']}"
    step = caller.openai("GET", f"{run}/steps/{last['thread.run.step.created']['id']}")
    message = caller.openai("GET", f"{thread}/messages/{last['thread.message.created']['id']}")
    assert step in caller.openai("GET", f"{run}/steps")["data"]
    assert message in caller.openai("GET", f"{thread}/messages")["data"]
    return step, message


@pytest.mark.parametrize(
    ("fault", "ends", "error"),
    [
        ({"fault": "generation_fails"}, "failed", "server_error"),
        ({"fault": "generation_fails", "code": "rate_limit_exceeded"}, "failed", "rate_limit_exceeded"),
        ({"fault": "generation_fails", "code": "invalid_prompt"}, "failed", "server_error"),
        ({"fault": "generation_expires"}, "expired", None),
    ],
)
def test_what_breaks_off_says_so_of_its_message_and_its_step(
    caller: Caller, fault: dict[str, str], ends: str, error: str | None
) -> None:
    whole = told(streamed(caller)[1])
    caller.epoch.faults.arm(parse(fault), 0)
    thread, events = streamed(caller)
    names = [name for name, _ in events]
    assert names[3:6] == BEGUN
    assert names[-3:] == ["thread.message.incomplete", f"thread.run.step.{ends}", f"thread.run.{ends}"]
    assert 0 < len(told(events)) < len(whole)
    (_, incomplete), (_, ended), (_, run) = events[-3:]
    step, message = is_there(caller, thread, events)
    assert (step, message) == (ended, incomplete)
    assert message["content"][0]["text"]["value"] == told(events)
    assert message["incomplete_details"] == {"reason": f"run_{ends}"}
    assert (message["completed_at"], message["incomplete_at"]) == (None, step[f"{ends}_at"])
    assert (step["last_error"] or {}).get("code") == error
    assert (run["last_error"] or {}).get("code") == fault.get("code", error)
    assert (step["status"], step["completed_at"], step["usage"]) == (ends, None, None)


def test_without_a_stream_the_same_is_there(caller: Caller) -> None:
    caller.epoch.faults.arm(parse({"fault": "generation_fails"}), 0)
    thread, run = caller.begin_run(SAID)
    caller.sleep(100)
    (step,) = caller.openai("GET", f"{run}/steps")["data"]
    assert (step["status"], step["failed_at"]) == ("failed", caller.openai("GET", run)["failed_at"])
    message = caller.openai("GET", f"{thread}/messages")["data"][0]
    assert message["id"] == step["step_details"]["message_creation"]["message_id"]
    assert (message["status"], message["role"]) == ("incomplete", "assistant")


def test_a_carrier_that_is_late_tells_the_same(caller: Caller) -> None:
    caller.epoch.faults.arm(parse({"fault": "generation_fails"}), 0)
    thread, body = begin(caller)
    headers = {"authorization": "Bearer sk-test", "openai-beta": "assistants=v2"}
    request = wire.Request("POST", f"/v1{thread}/runs", headers=headers, body=json.dumps(body).encode())
    exchange = caller.epoch.begin("openai", request, caller.now_ns)
    caller.sleep(100)
    assert exchange.reply is not None
    sent = b"".join(step.body for step in exchange.reply.steps() if isinstance(step, wire.Data))
    events = events_in(sent)
    assert [name for name, _ in events][-3:-1] == ["thread.message.incomplete", "thread.run.step.failed"]
    _, message = is_there(caller, thread, events)
    assert message["content"][0]["text"]["value"] == told(events)


def test_cancelled_in_the_middle_of_its_words(caller: Caller) -> None:
    thread, events = streamed_until_cancelled(caller, "thread.message.delta", 2)
    names = [name for name, _ in events]
    assert names[-4:] == [
        "thread.run.cancelling",
        "thread.message.incomplete",
        "thread.run.step.cancelled",
        "thread.run.cancelled",
    ]
    assert names.count("thread.message.delta") == 2
    step, message = is_there(caller, thread, events)
    assert (step["status"], message["status"]) == ("cancelled", "incomplete")
    assert message["content"][0]["text"]["value"] == told(events)
    assert message["incomplete_details"] == {"reason": "run_cancelled"}


@pytest.mark.parametrize("when", ["thread.run.queued", "thread.run.in_progress"])
def test_cancelled_before_the_first_word_there_is_no_message(caller: Caller, when: str) -> None:
    thread, events = streamed_until_cancelled(caller, when)
    names = [name for name, _ in events]
    assert names[-2:] == ["thread.run.cancelling", "thread.run.cancelled"]
    assert not any("message" in name or "step" in name for name in names)
    assert [one["role"] for one in caller.openai("GET", f"{thread}/messages")["data"]] == ["user"]


def test_too_few_tokens_leave_a_message_incomplete_and_its_step_completed(caller: Caller) -> None:
    caller.epoch.faults.arm(parse({"fault": "generation_incomplete"}), 0)
    thread, events = streamed(caller)
    assert [name for name, _ in events][-3:] == [
        "thread.message.incomplete",
        "thread.run.step.completed",
        "thread.run.incomplete",
    ]
    step, message = is_there(caller, thread, events)
    assert (step["status"], message["status"]) == ("completed", "incomplete")
    assert message["incomplete_details"] == {"reason": "max_tokens"}


def test_tools_that_nobody_answers_expire_with_their_step(caller: Caller) -> None:
    thread, events = streamed(caller, "今何時？")
    caller.sleep(700)
    run = next(data for name, data in events if name == "thread.run.created")
    (step,) = caller.openai("GET", f"{thread}/runs/{run['id']}/steps")["data"]
    assert (step["type"], step["status"]) == ("tool_calls", "expired")


def test_while_a_message_is_being_written_it_is_there(caller: Caller) -> None:
    seen: list[Any] = []

    def look(thread: str, run: str) -> None:
        seen.extend(caller.openai("GET", f"{thread}/messages", query="limit=1")["data"])
        seen.extend(caller.openai("GET", f"{run}/steps")["data"])

    thread, events = streamed_while(caller, "thread.message.delta", look)
    message, step = seen
    assert (message["status"], message["content"], message["completed_at"]) == ("in_progress", [], None)
    assert (step["status"], step["completed_at"], step["usage"]) == ("in_progress", None, None)
    step, message = is_there(caller, thread, events)
    assert (step["status"], message["status"]) == ("completed", "completed")
    assert message["content"][0]["text"]["value"] == told(events)
    assert message["completed_at"] == step["completed_at"] >= message["created_at"] == step["created_at"]
