"""Which turn of a user does a call belong to? What counts per turn, counts what one message set off."""

from __future__ import annotations

from typing import Any

import pytest

from harness.faults import parse
from tests.unit.upstreams.conftest import FUNCTIONS

SAID = "今何時？"
CHAT = {"model": "gpt-4o", "tools": FUNCTIONS}
FLAT = [{"type": "function", **function["function"]} for function in FUNCTIONS]


def add(caller: Any, thread: str, text: str) -> None:
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": text})


def run(caller: Any, thread: str, assistant: str) -> str:
    """Let one run come to its end, tools and all; returns its path."""
    path = f"{thread}/runs/{caller.openai('POST', f'{thread}/runs', {'assistant_id': assistant})['id']}"
    settled = caller.settled(path)
    while settled["status"] == "requires_action":
        calls = settled["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = [{"tool_call_id": call["id"], "output": "12:34"} for call in calls]
        caller.openai("POST", f"{path}/submit_tool_outputs", {"tool_outputs": outputs})
        settled = caller.settled(path)
    return path


def new_thread(caller: Any) -> str:
    return f"/threads/{caller.openai('POST', '/threads')['id']}"


def chat_round(caller: Any, messages: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    """Ask once, and return the messages with what the model asked for and what it came to."""
    message = caller.openai("POST", "/chat/completions", {**CHAT, "messages": messages, **fields})["choices"][0]
    caller.sleep(1)
    calls = message["message"]["tool_calls"]
    outputs = [{"role": "tool", "tool_call_id": call["id"], "content": "12:34"} for call in calls]
    return [*messages, {"role": "assistant", "tool_calls": calls}, *outputs]


def respond(caller: Any, given: Any, **fields: Any) -> Any:
    answer = caller.openai("POST", "/responses", {"model": "gpt-4o", "tools": FLAT, "input": given, **fields})
    caller.sleep(1)
    return answer


def outputs_for(response: Any) -> list[dict[str, Any]]:
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    return [{"type": "function_call_output", "call_id": call["call_id"], "output": "12:34"} for call in calls]


def counted(caller: Any) -> list[int]:
    return list(caller.epoch.ledger.tool_calls_by_turn().values())


# --- retries ------------------------------------------------------------------------------------------


def test_two_turns_in_the_same_words_are_no_retries(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    for _ in range(2):
        add(caller, thread, "やあ")
        run(caller, thread, assistant)
    assert caller.epoch.ledger.retries(conversation=thread.split("/")[2]) == []
    assert caller.epoch.ledger.retries() == []


def test_what_is_tried_again_within_a_turn_is_a_retry(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    caller.epoch.faults.arm(parse({"fault": "answer_lost", "upstream": "openai", "times": 2}), 0)
    lost = f"/v1{thread}"
    caller.call("openai", "POST", f"{lost}/messages", {"role": "user", "content": "やあ"}, patience_s=1)
    add_again = {"role": "user", "content": "やあ"}
    caller.call("openai", "POST", f"{lost}/messages", add_again, patience_s=1)
    add(caller, thread, "やあ")
    run(caller, thread, assistant)
    run(caller, thread, assistant)
    retried = caller.epoch.ledger.retries(conversation=thread.split("/")[2])
    assert {(one.route, len(one.seqs)) for one in retried} == {
        ("POST /v1/threads/{thread_id}/messages", 3),
        ("POST /v1/threads/{thread_id}/runs", 2),
    }
    assert {one.turn for one in retried} == {f"{thread.split('/')[2]}/1"}


def test_what_failed_and_is_said_again_is_a_retry_and_something_else_is_not(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    caller.epoch.faults.arm(parse({"fault": "generation_fails", "times": 2}), 0)
    for text in ("やあ", "やあ", "おはよう"):
        add(caller, thread, text)
        run(caller, thread, assistant)
    retried = caller.epoch.ledger.retries(conversation=thread.split("/")[2])
    assert [len(one.seqs) for one in retried] == [2, 2]


def test_a_message_that_is_refused_while_a_run_is_active_is_of_the_turn_that_it_would_begin(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    add(caller, thread, "やあ")
    begun = caller.openai("POST", f"{thread}/runs", {"assistant_id": assistant})
    for _ in range(2):
        assert caller.refused("POST", f"{thread}/messages", {"role": "user", "content": "ねえ"})[0] == 400
    caller.settled(f"{thread}/runs/{begun['id']}")
    add(caller, thread, "ねえ")
    (retried,) = caller.epoch.ledger.retries(conversation=thread.split("/")[2])
    assert (len(retried.seqs), retried.turn) == (3, f"{thread.split('/')[2]}/2")


def test_a_conversation_and_a_chain_in_the_same_words_are_no_retries(caller: Any) -> None:
    conversation = caller.openai("POST", "/conversations")["id"]
    for _ in range(2):
        respond(caller, "やあ", conversation=conversation)
    assert caller.epoch.ledger.retries(conversation=conversation) == []
    first = respond(caller, "やあ")
    second = respond(caller, "ねえ", previous_response_id=first["id"])
    respond(caller, "ねえ", previous_response_id=first["id"])
    respond(caller, "ねえ", previous_response_id=second["id"])
    (retried,) = caller.epoch.ledger.retries(conversation=first["id"])
    assert (len(retried.seqs), retried.turn) == (2, f"{first['id']}/2")


# --- tools of a turn ------------------------------------------------------------------------------------------


def test_each_turn_of_a_thread_counts_for_itself(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    for _ in range(2):
        add(caller, thread, SAID)
        run(caller, thread, assistant)
    name = thread.split("/")[2]
    assert caller.epoch.ledger.tool_calls_by_turn() == {f"{name}/1": 1, f"{name}/2": 1}


def test_a_mark_names_its_own_turn_only(caller: Any) -> None:
    thread, assistant = new_thread(caller), caller.assistant()
    for text in (f"{SAID} #haaaaaaaa", SAID, f"{SAID} #hbbbbbbbb"):
        add(caller, thread, text)
        run(caller, thread, assistant)
    name = thread.split("/")[2]
    assert caller.epoch.ledger.tool_calls_by_turn() == {"#haaaaaaaa": 1, f"{name}/2": 1, "#hbbbbbbbb": 1}
    assert {call.turn for call in caller.epoch.ledger.calls if call.route.endswith("/runs")} == {
        "#haaaaaaaa",
        f"{name}/2",
        "#hbbbbbbbb",
    }


@pytest.mark.parametrize("clock", [False, True], ids=["same instructions", "instructions that tell the time"])
@pytest.mark.parametrize("earlier", [False, True], ids=["first turn", "second turn"])
def test_a_loop_in_a_chat_is_one_turn(caller: Any, earlier: bool, clock: bool) -> None:
    caller.epoch.faults.arm(parse({"fault": "loop"}), 0)
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    messages = [*(messages if earlier else []), {"role": "user", "content": SAID}]
    for number in range(3):
        told = [{"role": "system", "content": f"It is 12:0{number}."}] if clock else []
        messages = chat_round(caller, [*told, *messages])[len(told) :]
    assert counted(caller) == [3]
    (turn,) = {one.turn for one in caller.epoch.ledger.generations}
    assert [call.turn for call in caller.epoch.ledger.calls] == [None, turn, turn]


def test_chats_of_others_in_the_same_words_and_later_turns_are_turns_of_their_own(caller: Any) -> None:
    caller.epoch.faults.arm(parse({"fault": "loop"}), 0)
    said: list[dict[str, Any]] = [{"role": "user", "content": SAID}]
    told = [chat_round(caller, said) for _ in range(2)]
    for messages in told:
        chat_round(caller, messages)
    assert counted(caller) == [2, 2]
    chat_round(caller, [*told[0], {"role": "assistant", "content": "12時です"}, *said])
    assert counted(caller) == [2, 2, 1]


def test_a_chat_that_is_asked_for_again_is_a_retry_though_nothing_names_its_turn(caller: Any) -> None:
    for _ in range(2):
        chat_round(caller, [{"role": "user", "content": SAID}])
    (retried,) = caller.epoch.ledger.retries()
    assert (retried.turn, len(retried.seqs)) == (None, 2)


@pytest.mark.parametrize("kept", ["history", "chain", "conversation"])
def test_a_loop_of_responses_is_one_turn(caller: Any, kept: str) -> None:
    caller.epoch.faults.arm(parse({"fault": "loop"}), 0)
    for turn in (1, 2):
        given: Any = [{"role": "user", "content": f"{SAID} {turn}"}]
        after: dict[str, Any] = {"store": False} if kept == "history" else {}
        if kept == "conversation" and turn == 1:
            conversation = caller.openai("POST", "/conversations")["id"]
        for _ in range(3):
            if kept == "conversation":
                after = {"conversation": conversation}
            answer = respond(caller, given, **after)
            if kept == "history":
                given = [*given, *answer["output"], *outputs_for(answer)]
            else:
                given = outputs_for(answer)
                after = {"previous_response_id": answer["id"]} if kept == "chain" else after
        if kept == "conversation":
            caller.openai("POST", f"/conversations/{conversation}/items", {"items": given})
    assert counted(caller) == [3, 3]


def test_speech_of_a_marked_turn_belongs_to_it(caller: Any) -> None:
    caller.call("tts", "POST", "/speak", {"text": "x #haaaaaaaa"})
    assert [call.turn for call in caller.epoch.ledger.calls] == ["#haaaaaaaa"]


# --- asking for a mark ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["m17", "#m17", "#h123", "hABCDEFGH", ""])
def test_what_looks_like_no_mark_is_refused_with_its_form(caller: Any, mark: str) -> None:
    for ask in (caller.epoch.ledger.lines, caller.epoch.ledger.retries):
        with pytest.raises(ValueError, match=r"expected #h and 8 to 12 digits or lower-case letters"):
            ask(mark=mark)
