"""The run state machine, driven by a clock that jumps."""

from __future__ import annotations

from typing import Any

import pytest


def states(caller: Any) -> list[str]:
    return [one.state for one in caller.epoch.ledger.generations]


def test_plain_talk_completes(caller: Any) -> None:
    thread, run = caller.begin_run("こんにちは")
    assert caller.settled(run)["status"] == "completed"
    assert states(caller) == ["queued", "in_progress", "completed"]
    assert caller.reply(thread)


def test_a_fast_run_takes_some_ten_milliseconds(caller: Any) -> None:
    _, run = caller.begin_run("こんにちは")
    caller.settled(run)
    first, _, last = caller.epoch.ledger.generations
    assert 0.02 < (last.at_ns - first.at_ns) / 1e9 < 0.06


def test_tools_are_asked_for_and_their_outputs_used(caller: Any) -> None:
    thread, run = caller.begin_run("今何時で、天気はどうで、ついでに運勢も教えて #h12345678")
    waiting = caller.settled(run)
    calls = waiting["required_action"]["submit_tool_outputs"]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["get_time", "get_weather", "get_fortune"]
    outputs = [{"tool_call_id": call["id"], "output": "12:34"} for call in calls]
    assert caller.openai("POST", f"{run}/submit_tool_outputs", {"tool_outputs": outputs})["status"] == "queued"
    done = caller.settled(run)
    assert done["status"] == "completed"
    assert done["usage"]["total_tokens"] == done["usage"]["prompt_tokens"] + done["usage"]["completion_tokens"]
    assert "12時34分" in caller.reply(thread)
    assert states(caller) == ["queued", "in_progress", "requires_action", "queued", "in_progress", "completed"]
    steps = caller.openai("GET", f"{run}/steps")["data"]
    assert [step["type"] for step in steps] == ["message_creation", "tool_calls"]
    assert steps[1]["step_details"]["tool_calls"][0]["function"]["output"] == "12:34"


def test_a_thread_has_one_active_run(caller: Any) -> None:
    thread, run = caller.begin_run("こんにちは")
    thread_id, run_id = thread.rsplit("/", 1)[1], run.rsplit("/", 1)[1]
    assert caller.refused("POST", f"{thread}/messages", {"role": "user", "content": "x"}) == (
        400,
        f"Can't add messages to {thread_id} while a run {run_id} is active.",
    )
    assert caller.refused("POST", f"{thread}/runs", {"assistant_id": caller.assistant()}) == (
        400,
        f"Thread {thread_id} already has an active run {run_id}.",
    )
    caller.settled(run)
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": "x"})


def test_cancelling_ends_in_cancelled_and_frees_the_thread(caller: Any) -> None:
    thread, run = caller.begin_run("今何時？")
    caller.settled(run)
    assert caller.openai("POST", f"{run}/cancel")["status"] == "cancelling"
    assert caller.settled(run)["status"] == "cancelled"
    assert caller.refused("POST", f"{run}/cancel") == (400, "Cannot cancel run with status 'cancelled'.")
    assert caller.openai("GET", f"{run}/steps")["data"][0]["status"] == "cancelled"
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": "x"})


def test_a_run_that_waits_for_outputs_expires_after_ten_minutes(caller: Any) -> None:
    _, run = caller.begin_run("今何時？")
    caller.settled(run)
    caller.sleep(590)
    assert caller.openai("GET", run)["status"] == "requires_action"
    caller.sleep(11)
    assert caller.openai("GET", run)["status"] == "expired"
    assert caller.refused("POST", f"{run}/submit_tool_outputs", {"tool_outputs": []}) == (
        400,
        'Runs in status "expired" do not accept tool outputs.',
    )


def test_all_outputs_are_wanted_at_once(caller: Any) -> None:
    _, run = caller.begin_run("今何時で、天気は？")
    calls = caller.settled(run)["required_action"]["submit_tool_outputs"]["tool_calls"]
    outputs = [{"tool_call_id": calls[0]["id"], "output": "x"}]
    status, message = caller.refused("POST", f"{run}/submit_tool_outputs", {"tool_outputs": outputs})
    assert status == 400
    assert "Expected tool outputs for call_ids" in message


def test_what_is_not_there_is_not_found(caller: Any) -> None:
    thread, _ = caller.begin_run("hi")
    assert caller.refused("GET", "/threads/thread_x") == (404, "No thread found with id 'thread_x'.")
    assert caller.refused("GET", f"{thread}/runs/run_x") == (404, "No run found with id 'run_x'.")
    assert caller.refused("GET", f"{thread}/messages/msg_x") == (404, "No message found with id 'msg_x'.")
    assert caller.refused("GET", "/assistants/asst_x") == (404, "No assistant found with id 'asst_x'.")
    assert not any(call.unexpected for call in caller.epoch.ledger.calls)


def test_an_unknown_route_is_refused_and_recorded_as_unexpected(caller: Any) -> None:
    assert caller.refused("POST", "/fine_tuning/jobs") == (404, "Invalid URL (POST /v1/fine_tuning/jobs)")
    last = caller.epoch.ledger.calls[-1]
    assert last.unexpected
    assert last.route == "POST /v1/fine_tuning/jobs"
    assert caller.epoch.ledger.summary().unexpected == 1


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 401, "You didn't provide an API key"),
        ({"authorization": "Bearer "}, 401, "You didn't provide an API key"),
        ({"authorization": "Bearer sk-x"}, 400, "You must provide the 'OpenAI-Beta' header"),
    ],
)
def test_keys_and_the_beta_header_are_wanted(caller: Any, headers: dict[str, str], status: int, said: str) -> None:
    answer = caller.call("openai", "POST", "/v1/threads", headers=headers)
    assert answer.status == status
    assert answer.json["error"]["message"].startswith(said)
    assert answer.headers["x-request-id"].startswith("req_")


def test_lists_come_in_pages(caller: Any) -> None:
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    ids = [
        caller.openai("POST", f"{thread}/messages", {"role": "user", "content": str(number)})["id"]
        for number in range(5)
    ]
    newest = caller.openai("GET", f"{thread}/messages", query="limit=2")
    assert [one["id"] for one in newest["data"]] == [ids[4], ids[3]]
    assert newest["has_more"]
    assert (newest["first_id"], newest["last_id"]) == (ids[4], ids[3])
    rest = caller.openai("GET", f"{thread}/messages", query=f"after={ids[3]}")
    assert [one["id"] for one in rest["data"]] == [ids[2], ids[1], ids[0]]
    assert not rest["has_more"]
    oldest = caller.openai("GET", f"{thread}/messages", query=f"order=asc&before={ids[2]}")
    assert [one["id"] for one in oldest["data"]] == ids[:2]
    for limit in ("0", "101", "--5", "%C2%B2", "x"):
        assert caller.refused("GET", f"{thread}/messages", query=f"limit={limit}")[0] == 400
    assert caller.refused("GET", f"{thread}/messages", query="order=up")[0] == 400


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/assistants", {}, "Missing required parameter: 'model'."),
        ("/assistants", b"{", "We could not parse the JSON body"),
        ("/assistants", [1], "Invalid type for 'body'"),
        ("/threads", {"messages": [{"role": "cat", "content": "x"}]}, "Invalid value: 'cat'."),
        ("/threads", {"messages": [{"role": "user"}]}, "Missing required parameter: 'content'."),
        ("/threads", {"metadata": {"a": 1}}, "Invalid type for 'metadata.a'"),
        ("/threads/runs", {}, "Missing required parameter: 'assistant_id'."),
    ],
)
def test_malformed_bodies_are_named(caller: Any, path: str, body: Any, said: str) -> None:
    status, message = caller.refused("POST", path, body)
    assert status == 400
    assert message.startswith(said)


def test_a_method_that_an_address_does_not_have(caller: Any) -> None:
    status, message = caller.refused("PUT", "/chat/completions")
    assert status == 405
    assert message.startswith("Not allowed to PUT on /v1/chat/completions. (HINT:")
    assert caller.epoch.ledger.calls[-1].unexpected


@pytest.mark.parametrize(
    "wrong", [{"temperature": 5}, {"stream": "yes"}, {"max_completion_tokens": 0}, {"metadata": {"a": 1}}]
)
def test_a_run_that_is_refused_leaves_nothing_behind(caller: Any, wrong: dict[str, Any]) -> None:
    thread = f"/threads/{caller.openai('POST', '/threads')['id']}"
    said = [{"role": "user", "content": "hi"}]
    body = {"assistant_id": caller.assistant(), **wrong}
    assert caller.refused("POST", f"{thread}/runs", {**body, "additional_messages": said})[0] == 400
    assert caller.refused("POST", "/threads/runs", {**body, "thread": {"messages": said}})[0] == 400
    assert caller.openai("GET", f"{thread}/messages")["data"] == []
    assert caller.openai("GET", f"{thread}/runs")["data"] == []
    summary = caller.epoch.ledger.summary()
    assert (summary.live_conversations, summary.open_generations, summary.cost_usd) == (1, 0, 0)


def test_an_assistant_whose_change_is_refused_stays_as_it_was(caller: Any) -> None:
    assistant = f"/assistants/{caller.assistant('Be kind.')}"
    assert caller.refused("POST", assistant, {"instructions": "Be rude.", "temperature": 5})[0] == 400
    assert caller.openai("GET", assistant)["instructions"] == "Be kind."
    assert caller.openai("POST", assistant, {"instructions": "Be brief."})["instructions"] == "Be brief."
    assert caller.openai("GET", assistant)["instructions"] == "Be brief."


def test_a_deleted_thread_is_no_longer_live_but_its_run_goes_on(caller: Any) -> None:
    thread, run = caller.begin_run("今何時？")
    caller.settled(run)
    assert caller.epoch.ledger.summary().live_conversations == 1
    assert caller.openai("DELETE", thread)["deleted"]
    summary = caller.epoch.ledger.summary()
    assert (summary.live_conversations, summary.open_generations) == (0, 1)


def test_create_and_run(caller: Any) -> None:
    run = caller.openai(
        "POST",
        "/threads/runs",
        {"assistant_id": caller.assistant(), "thread": {"messages": [{"role": "user", "content": "hi #habcdefgh"}]}},
    )
    assert caller.settled(f"/threads/{run['thread_id']}/runs/{run['id']}")["status"] == "completed"
    assert {one.mark for one in caller.epoch.ledger.generations} == {"#habcdefgh"}


def test_every_call_of_a_turn_carries_its_mark_and_conversation(caller: Any) -> None:
    _, run = caller.begin_run("今何時？ #h12345678")
    caller.settled(run)
    thread_calls = [call for call in caller.epoch.ledger.calls if call.conversation]
    assert {call.mark for call in thread_calls[1:]} == {"#h12345678"}
    assert len({call.conversation for call in thread_calls}) == 1
    assert caller.epoch.ledger.entries(mark="#h12345678")
    asked = next(one for one in caller.epoch.ledger.generations if one.state == "requires_action")
    assert [call.name for call in asked.tool_calls] == ["get_time"]


def test_tokens_cost_the_documented_price(caller: Any) -> None:
    caller.begin_run("こんにちは")
    started = caller.epoch.ledger.calls[-1]
    assert started.route == "POST /v1/threads/{thread_id}/runs"
    assert started.prompt_tokens > 0
    assert started.cost_usd == pytest.approx((started.prompt_tokens + started.completion_tokens) * 0.03 / 1000)


def test_max_completion_tokens_leaves_a_run_incomplete(caller: Any) -> None:
    thread = f"/threads/{caller.openai('POST', '/threads', {'messages': [{'role': 'user', 'content': 'hi'}]})['id']}"
    body = {"assistant_id": caller.assistant(), "max_completion_tokens": 2}
    run = caller.openai("POST", f"{thread}/runs", body)
    assert run["incomplete_details"] is None
    done = caller.settled(f"{thread}/runs/{run['id']}")
    assert done["status"] == "incomplete"
    assert done["incomplete_details"] == {"reason": "max_completion_tokens"}
    assert done["usage"]["completion_tokens"] == 2


def test_the_same_seed_and_mark_take_the_same_time_in_any_order() -> None:
    from harness.upstreams.epoch import Epoch, EpochSettings
    from tests.unit.upstreams.conftest import Caller

    def durations(texts: list[str]) -> dict[str | None, int]:
        caller = Caller(Epoch(EpochSettings(seed=7)))
        for text in texts:
            caller.settled(caller.begin_run(text)[1])
        begun = {one.mark: one.at_ns for one in caller.epoch.ledger.generations if one.state == "queued"}
        ended = {one.mark: one.at_ns for one in caller.epoch.ledger.generations if one.state == "completed"}
        return {mark: ended[mark] - begun[mark] for mark in begun}

    texts = ["one #haaaaaaaa", "two #hbbbbbbbb", "three #hcccccccc"]
    assert durations(texts) == durations(texts[::-1])


def test_an_output_of_null_is_refused_and_the_run_waits_on(caller: Any) -> None:
    _, run = caller.begin_run("今何時？")
    (call,) = caller.settled(run)["required_action"]["submit_tool_outputs"]["tool_calls"]
    body = {"tool_outputs": [{"tool_call_id": call["id"], "output": None}]}
    status, message = caller.refused("POST", f"{run}/submit_tool_outputs", body)
    assert (status, message.endswith("expected a string, but got null instead.")) == (400, True)
    assert caller.settled(run)["status"] == "requires_action"
