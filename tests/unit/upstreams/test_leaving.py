"""A caller who leaves ends what is made for nobody any more; what goes on by itself goes on."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.json import encode

from harness.faults import parse
from harness.upstreams.epoch import Epoch, EpochSettings
from harness.upstreams.wire import Request

SAID = "tell me something"
CHAT: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": SAID}]}
RESPONSE: dict[str, Any] = {"model": "gpt-4o", "input": SAID}


@pytest.fixture
def epoch() -> Epoch:
    """Upstreams that take as long as real ones: 3 s for a turn."""
    return Epoch(EpochSettings(name="test", seed=1, latency="realistic"))


def states(caller: Any, kind: str) -> list[str]:
    """Return the states of the last generation whose id begins so."""
    generations = [one for one in caller.epoch.ledger.generations if one.id.startswith(kind)]
    return [one.state for one in generations if one.id == generations[-1].id]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("held", [False, True], ids=["slow", "stuck"])
@pytest.mark.parametrize(("path", "body"), [("chat/completions", CHAT), ("responses", RESPONSE)], ids=["chat", "resp"])
def test_what_nobody_waits_for_is_cancelled(
    caller: Any, path: str, body: dict[str, Any], stream: bool, held: bool
) -> None:
    caller.call("openai", "POST", f"/v1/{path}", body)
    whole = caller.epoch.ledger.calls[-1]
    if held:
        caller.epoch.faults.arm(parse({"fault": "stuck"}), 0)
    caller.call("openai", "POST", f"/v1/{path}", body | {"stream": stream}, patience_s=0.2)
    caller.sleep(60)
    assert states(caller, "chatcmpl" if "chat" in path else "resp") == ["in_progress", "cancelled"]
    assert caller.epoch.ledger.summary().open_generations == 0
    left = caller.epoch.ledger.calls[-1]
    assert left.client_gone
    assert (left.fault == "stuck") is held
    assert left.prompt_tokens == whole.prompt_tokens
    assert left.completion_tokens < whole.completion_tokens
    assert 0 < left.cost_usd < whole.cost_usd


def test_what_was_written_before_is_paid_for(caller: Any) -> None:
    caller.call("openai", "POST", "/v1/chat/completions", CHAT)
    whole = caller.epoch.ledger.calls[-1]
    caller.call("openai", "POST", "/v1/chat/completions", CHAT | {"stream": True}, patience_s=1e6)
    streamed = caller.epoch.ledger.calls[-1]
    takes_s = (streamed.end_ns - streamed.begin_ns) / 1e9
    caller.sleep(0.001)
    assert states(caller, "chatcmpl")[-1] == "completed"
    seen = []
    for share in (0.1, 0.7, 0.95):
        caller.call("openai", "POST", "/v1/chat/completions", CHAT | {"stream": True}, patience_s=share * takes_s)
        seen.append(caller.epoch.ledger.calls[-1].completion_tokens)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= whole.completion_tokens


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_conversation_is_free_again(caller: Any, stream: bool) -> None:
    conversation = caller.openai("POST", "/conversations", {})["id"]
    body = RESPONSE | {"conversation": conversation, "stream": stream}
    caller.call("openai", "POST", "/v1/responses", body, patience_s=0.2)
    listed = caller.openai("GET", f"/conversations/{conversation}/items")["data"]
    assert [item["role"] for item in listed] == ["user"]
    assert caller.openai("POST", "/responses", RESPONSE | {"conversation": conversation})["status"] == "completed"


def test_a_cancelled_response_says_so_and_a_completion_was_never_stored(caller: Any) -> None:
    caller.call("openai", "POST", "/v1/responses", RESPONSE, patience_s=0.2)
    cancelled = caller.openai("GET", f"/responses/{caller.epoch.ledger.generations[-1].id}")
    assert (cancelled["status"], cancelled["output"], cancelled["usage"]) == ("cancelled", [], None)
    caller.call("openai", "POST", "/v1/chat/completions", CHAT | {"store": True}, patience_s=0.2)
    assert caller.openai("GET", "/chat/completions")["data"] == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_made_in_the_background_goes_on(caller: Any, stream: bool) -> None:
    body = RESPONSE | {"background": True, "stream": stream}
    caller.call("openai", "POST", "/v1/responses", body, patience_s=0.001)
    assert caller.epoch.ledger.calls[-1].client_gone
    caller.sleep(60)
    assert states(caller, "resp") == ["queued", "in_progress", "completed"]


def test_who_only_looks_on_may_leave(caller: Any) -> None:
    job = caller.openai("POST", "/responses", RESPONSE | {"background": True})
    caller.call("openai", "GET", f"/v1/responses/{job['id']}", query="stream=true", patience_s=0.001)
    caller.sleep(60)
    assert states(caller, "resp") == ["queued", "in_progress", "completed"]


def test_a_run_goes_on_though_nobody_follows_its_stream(caller: Any) -> None:
    assistant = caller.assistant()
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": SAID})
    body = {"assistant_id": assistant, "stream": True}
    caller.call("openai", "POST", f"/v1{thread}/runs", body, patience_s=0.1)
    assert caller.epoch.ledger.calls[-1].client_gone
    caller.sleep(120)
    assert states(caller, "run") == ["queued", "in_progress", "completed"]


def test_who_leaves_after_the_end_changes_nothing(caller: Any) -> None:
    caller.epoch.faults.arm(parse({"fault": "slow", "delay_s": 100}), 0)
    caller.call("openai", "POST", "/v1/chat/completions", CHAT, patience_s=90)
    assert states(caller, "chatcmpl") == ["in_progress", "completed"]


def test_a_call_that_was_recorded_while_it_hung_is_cancelled_all_the_same(caller: Any) -> None:
    from harness.upstreams import wire

    caller.epoch.faults.arm(parse({"fault": "stuck"}), 0)
    body = b'{"model": "gpt-4o", "input": "hi"}'
    request = wire.Request("POST", "/v1/responses", headers={"authorization": "Bearer sk-x"}, body=body)
    exchange = caller.epoch.begin("openai", request, caller.now_ns)
    caller.sleep(5)
    caller.epoch.record_unfinished(caller.now_ns)
    assert len(caller.epoch.ledger.calls) == caller.epoch.ledger.summary().open_generations == 1
    assert caller.epoch.is_under_way(exchange)
    caller.epoch.finish(exchange, caller.now_ns, status=None, response_bytes=0, client_gone=True)
    assert states(caller, "resp") == ["in_progress", "cancelled"]
    assert len(caller.epoch.ledger.calls) == 1
    assert not caller.epoch.is_under_way(exchange)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("path", "body"), [("chat/completions", CHAT), ("responses", RESPONSE)], ids=["chat", "resp"])
def test_what_takes_no_time_is_over_before_its_call_is(path: str, body: dict[str, Any], stream: bool) -> None:
    epoch = Epoch(EpochSettings(name="test", seed=1, latency_scale=0))
    request = Request("POST", f"/v1/{path}", "", {"authorization": "Bearer sk-x"}, encode(body | {"stream": stream}))
    exchange = epoch.begin("openai", request, 1_000)
    assert epoch.ledger.summary().open_generations == 0
    epoch.finish(exchange, 2_000, status=None, response_bytes=0, client_gone=True)
    entries = epoch.ledger.entries()
    assert [getattr(one, "state", "call") for one in entries] == ["in_progress", "completed", "call"]
    assert epoch.ledger.calls[0].completion_tokens > 0, "it was whole when its caller left"
