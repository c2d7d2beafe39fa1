"""What was spent is one truth: the usage in bodies, the ledger and the keys agree, however a generation ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.faults import parse
from harness.upstreams.epoch import Epoch, EpochSettings
from tests.unit.upstreams.conftest import FUNCTIONS, Caller

PLAIN, TOOL = "tell me something", "今何時？"
FLAT = [{"type": "function", **function["function"]} for function in FUNCTIONS]
ENDINGS = {
    "completed": (),
    "cancelled": (),
    "cancelled late": (),
    "hung up": (),
    "failed": ({"fault": "generation_fails"},),
    "expired": ({"fault": "generation_expires"},),
    "incomplete": ({"fault": "generation_incomplete"},),
    "stuck, then cancelled": ({"fault": "stuck"},),
    "stuck, then hung up": ({"fault": "stuck"},),
    "queued for ever": ({"fault": "stuck", "state": "queued"},),
}
Usage = tuple[int, int]


@pytest.fixture
def epoch() -> Epoch:
    """Upstreams that take as long as real ones: 3 s for a turn."""
    return Epoch(EpochSettings(name="test", seed=1, latency="realistic"))


def usage_of(document: Any) -> Usage | None:
    usage = document["usage"]
    if usage is None:
        return None
    return usage.get("prompt_tokens", usage.get("input_tokens")), usage.get(
        "completion_tokens", usage.get("output_tokens")
    )


def patience_for(ending: str) -> float:
    return 0.7 if "hung up" in ending else 1e6


def run(caller: Caller, text: str, ending: str, stream: bool) -> Usage | None:
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": text})
    body = {"assistant_id": caller.assistant("Be a cat."), "stream": stream}
    patience_s = 1.0 if "stuck" in ending or ending == "queued for ever" else patience_for(ending)
    caller.call("openai", "POST", f"/v1{thread}/runs", body, patience_s=0.1 if "cancelled" in ending else patience_s)
    path = f"{thread}/runs/{caller.epoch.ledger.generations[-1].id}"
    caller.sleep({"cancelled": 0.0, "cancelled late": 1.5}.get(ending, 100.0))
    document = caller.openai("GET", path)
    while document["status"] == "requires_action" and "cancelled" not in ending:
        calls = document["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = [{"tool_call_id": call["id"], "output": "12:34"} for call in calls]
        caller.openai("POST", f"{path}/submit_tool_outputs", {"tool_outputs": outputs})
        caller.sleep(100)
        document = caller.openai("GET", path)
    if document["usage"] is None:
        assert usage_of(document) is None
        caller.openai("POST", f"{path}/cancel")
        caller.sleep(100)
        document = caller.openai("GET", path)
    steps = caller.openai("GET", f"{path}/steps")["data"]
    if document["status"] == "completed":
        told = [usage_of(step) for step in steps]
        assert (sum(one[0] for one in told if one), sum(one[1] for one in told if one)) == usage_of(document)
    return usage_of(document)


def response(caller: Caller, text: str, ending: str, stream: bool, *, background: bool = False) -> Usage | None:
    body = {"model": "gpt-4o", "input": text, "instructions": "Be a cat.", "tools": FLAT}
    fields = {"stream": stream, "background": background}
    leaves = "cancelled" in ending or "stuck" in ending or ending == "queued for ever"
    patience_s = {"cancelled late": 1.5}.get(ending, 0.2) if leaves else patience_for(ending)
    caller.call("openai", "POST", "/v1/responses", body | fields, patience_s=patience_s)
    path = f"/responses/{caller.epoch.ledger.generations[-1].id}"
    if background and leaves:
        caller.openai("POST", f"{path}/cancel")
    caller.sleep(100)
    return usage_of(caller.openai("GET", path))


def background_response(caller: Caller, text: str, ending: str, stream: bool) -> Usage | None:
    return response(caller, text, ending, stream, background=True)


def chat(caller: Caller, text: str, ending: str, stream: bool) -> Usage | None:
    messages = [{"role": "system", "content": "Be a cat."}, {"role": "user", "content": text}]
    body: dict[str, Any] = {"model": "gpt-4o", "messages": messages, "tools": FUNCTIONS, "n": 2, "stream": stream}
    options = {"stream_options": {"include_usage": True}} if stream else {}
    leaves = "cancelled" in ending or "stuck" in ending or ending == "queued for ever"
    patience_s = {"cancelled late": 1.5}.get(ending, 0.2) if leaves else patience_for(ending)
    answer = caller.call("openai", "POST", "/v1/chat/completions", body | options, patience_s=patience_s)
    caller.sleep(100)
    if caller.epoch.ledger.calls[-1].client_gone or answer.status != 200:
        return None
    if not stream:
        return usage_of(answer.json)
    chunks = [json.loads(line[6:]) for line in answer.body.split(b"\n\n") if line.startswith(b"data: {")]
    return usage_of(chunks[-1])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("text", [PLAIN, TOOL], ids=["plain", "tool"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("make", [run, response, background_response, chat])
def test_bodies_ledger_and_keys_agree(caller: Caller, make: Any, ending: str, text: str, stream: bool) -> None:
    for fault in ENDINGS[ending]:
        caller.epoch.faults.arm(parse(fault), 0)
    told = make(caller, text, ending, stream)
    ledger, key = caller.epoch.ledger, caller.epoch.upstreams["openai"].limits.keys["sk-test"]  # type: ignore[attr-defined]
    charged = sum(call.prompt_tokens for call in ledger.calls), sum(call.completion_tokens for call in ledger.calls)
    usd = sum(call.cost_usd for call in ledger.calls)
    if told is not None:
        assert told == charged
    assert usd == pytest.approx(sum(charged) * 0.03 / 1000)
    assert (key.used_tokens, key.cost_usd) == (sum(charged), pytest.approx(usd))
    assert sum(ledger.spend()["by_model"].values()) == pytest.approx(usd)
    assert ledger.summary().cost_usd == pytest.approx(usd)
    assert ledger.summary().open_generations == 0
    assert (usd == 0) is (ending in ("failed", "expired"))
    assert (told is not None) or make is not run, "of a run that is over, the usage is always told"


def test_one_prompt_is_as_many_tokens_on_every_engine(caller: Caller) -> None:
    told = {make(caller, PLAIN, "completed", False) for make in (run, response, background_response)}
    told |= {(one[0], one[1] // 2) for one in [chat(caller, PLAIN, "completed", False)] if one}
    assert len({one[0] for one in told if one}) == 1


def test_who_leaves_what_was_recorded_as_it_stood_changes_nothing_any_more(caller: Caller) -> None:
    from harness.upstreams import wire

    body = json.dumps({"model": "gpt-4o", "input": PLAIN}).encode()
    request = wire.Request("POST", "/v1/responses", headers={"authorization": "Bearer sk-test"}, body=body)
    exchange = caller.epoch.begin("openai", request, caller.now_ns)
    caller.epoch.record_unfinished(caller.now_ns)
    caller.epoch.finish(exchange, caller.now_ns + 1, status=None, response_bytes=0, client_gone=True)
    key = caller.epoch.upstreams["openai"].limits.keys["sk-test"]  # type: ignore[attr-defined]
    (call,) = caller.epoch.ledger.calls
    assert key.used_tokens == call.prompt_tokens + call.completion_tokens > 0


def test_a_token_that_is_given_back_may_be_used_again() -> None:
    caller = Caller(Epoch(EpochSettings(seed=1, latency="realistic", tokens_per_minute=1000)))
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": PLAIN}]}
    caller.call("openai", "POST", "/v1/chat/completions", body, patience_s=0.001)
    key = caller.epoch.upstreams["openai"].limits.keys["sk-test"]  # type: ignore[attr-defined]
    (left,) = caller.epoch.ledger.calls
    assert (left.completion_tokens, key.tokens.level) == (0, pytest.approx(1000 - left.prompt_tokens, abs=0.1))


# --- the form of an answer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["run", "assistant"])
def test_a_run_answers_in_the_form_that_is_asked_for(caller: Caller, of: str) -> None:
    schema = {
        "type": "object",
        "properties": {"reply": {"type": "string"}, "mood": {"enum": ["happy", "sad"]}},
        "required": ["reply", "mood"],
    }
    for wanted, names in (
        ({"type": "json_object"}, {"answer"}),
        ({"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}, {"reply", "mood"}),
    ):
        form = {"response_format": wanted}
        assistant = caller.openai("POST", "/assistants", {"model": "gpt-4o", **(form if of == "assistant" else {})})
        thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
        caller.openai("POST", f"{thread}/messages", {"role": "user", "content": PLAIN})
        body = {"assistant_id": assistant["id"], **(form if of == "run" else {})}
        caller.openai("POST", f"{thread}/runs", body)
        caller.sleep(100)
        assert set(json.loads(caller.reply(thread))) == names


def test_a_form_that_is_none_is_refused_and_leaves_nothing_behind(caller: Caller) -> None:
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    wrong = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "cat"}}}
    body = {"assistant_id": caller.assistant(), "response_format": wrong}
    said = [{"role": "user", "content": PLAIN}]
    assert caller.refused("POST", f"{thread}/runs", {**body, "additional_messages": said})[0] == 400
    assert caller.openai("GET", f"{thread}/messages")["data"] == []
