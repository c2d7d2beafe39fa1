"""Responses, conversations and chat completions: chains, locks, tools, refusals, what the ledger sees."""

from __future__ import annotations

import base64
import io
import json
import sys
import wave
from typing import Any

import pytest
import soundfile

from harness.faults import parse
from harness.target.audio import read_audio
from harness.upstreams import wire
from harness.upstreams.sound import seconds_to_speak, wav

TOOLS = [{"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}]
CHAT_TOOLS = [{"type": "function", "function": {"name": "get_time", "parameters": {}}}]


def respond(caller: Any, text: Any, **fields: Any) -> Any:
    return caller.openai("POST", "/responses", {"model": "gpt-4o", "input": text, **fields})


def begin(caller: Any, text: Any, **fields: Any) -> Any:
    """Ask for a response and do not wait for it."""
    body = json.dumps({"model": "gpt-4o", "input": text, **fields}).encode()
    headers = {"authorization": "Bearer sk-test"}
    return caller.epoch.begin(
        "openai", wire.Request("POST", "/v1/responses", headers=headers, body=body), caller.now_ns
    )


def refused(caller: Any, **body: Any) -> tuple[int | None, str]:
    found: tuple[int | None, str] = caller.refused("POST", "/responses", body)
    return found


def test_a_chain_remembers_and_is_one_conversation_to_the_ledger(caller: Any) -> None:
    first = respond(caller, "合言葉は青い鳥 #haaaaaaaa")
    second = respond(caller, "さっき何て言った？ #hbbbbbbbb", previous_response_id=first["id"])
    assert "青い鳥" in second["output"][0]["content"][0]["text"]
    assert {one.conversation for one in caller.epoch.ledger.generations} == {first["id"]}
    assert [one.mark for one in caller.epoch.ledger.calls] == ["#haaaaaaaa", "#hbbbbbbbb"]


def test_tools_in_a_conversation(caller: Any) -> None:
    conversation = caller.openai("POST", "/conversations")["id"]
    asked = respond(caller, "今何時？ #haaaaaaaa", conversation=conversation, tools=TOOLS)
    wanted = asked["output"][0]
    assert (wanted["type"], wanted["name"]) == ("function_call", "get_time")
    output = {"type": "function_call_output", "call_id": wanted["call_id"], "output": "10:20"}
    answer = respond(caller, [output], conversation={"id": conversation}, tools=TOOLS)
    assert "10時20分" in answer["output"][0]["content"][0]["text"]
    caller.sleep(1)
    generations = caller.epoch.ledger.generations
    assert [one.state for one in generations] == ["in_progress", "completed"] * 2
    assert [call.name for call in generations[1].tool_calls] == ["get_time"]
    assert {one.mark for one in generations} == {"#haaaaaaaa"}
    assert {one.conversation for one in generations} == {conversation}
    assert caller.epoch.ledger.summary().open_generations == 0


def test_calls_and_outputs_belong_together(caller: Any) -> None:
    asked = respond(caller, "今何時？", tools=TOOLS)
    call_id = asked["output"][0]["call_id"]
    assert refused(caller, model="m", input="x", previous_response_id=asked["id"]) == (
        400,
        f"No tool output found for function call {call_id}.",
    )
    output = {"type": "function_call_output", "call_id": "call_x", "output": "1"}
    assert refused(caller, model="m", input=[output]) == (
        400,
        "No tool call found for function call output with call_id call_x.",
    )


def test_a_conversation_is_locked_while_a_response_is_made(caller: Any) -> None:
    conversation = caller.openai("POST", "/conversations")["id"]
    begin(caller, "x", conversation=conversation)
    answer = caller.call("openai", "POST", "/v1/responses", {"model": "m", "input": "y", "conversation": conversation})
    assert answer.status == 400
    assert answer.json["error"] == {
        "message": "Another process is currently operating on this conversation. Please retry in a few seconds.",
        "type": "invalid_request_error",
        "param": "conversation",
        "code": "conversation_locked",
    }
    caller.sleep(1)
    respond(caller, "y", conversation=conversation)


def test_what_is_said_in_items_is_noted(caller: Any) -> None:
    note = {"type": "message", "role": "user", "content": "やあ #haaaaaaaa"}
    conversation = caller.openai("POST", "/conversations", {"items": [note]})["id"]
    caller.openai("POST", f"/conversations/{conversation}/items", {"items": [note | {"content": "またね #hbbbbbbbb"}]})
    caller.openai("GET", f"/conversations/{conversation}/items")
    calls = caller.epoch.ledger.calls
    assert [call.mark for call in calls] == ["#haaaaaaaa", "#hbbbbbbbb", "#hbbbbbbbb"]
    assert calls[1].text == "またね #hbbbbbbbb"
    assert {call.conversation for call in calls} == {conversation}


def test_deleting_a_conversation_keeps_its_responses(caller: Any) -> None:
    conversation = caller.openai("POST", "/conversations")["id"]
    response = respond(caller, "x", conversation=conversation)
    assert caller.epoch.ledger.summary().live_conversations == 1
    assert caller.openai("DELETE", f"/conversations/{conversation}")["deleted"]
    assert caller.epoch.ledger.summary().live_conversations == 0
    assert caller.openai("GET", f"/responses/{response['id']}")["id"] == response["id"]
    assert refused(caller, model="m", input="x", conversation=conversation)[0] == 404


def test_in_the_background(caller: Any) -> None:
    job = respond(caller, "x", background=True)
    assert (job["status"], job["output"], job["usage"]) == ("queued", [], None)
    caller.sleep(1)
    done = caller.openai("GET", f"/responses/{job['id']}")
    assert done["status"] == "completed"
    assert [one.state for one in caller.epoch.ledger.generations] == ["queued", "in_progress", "completed"]
    assert caller.openai("POST", f"/responses/{job['id']}/cancel")["status"] == "completed"


def test_only_what_is_made_in_the_background_can_be_cancelled(caller: Any) -> None:
    response = respond(caller, "x")
    assert caller.refused("POST", f"/responses/{response['id']}/cancel") == (
        400,
        "Cannot cancel a synchronous response.",
    )


def test_what_is_not_stored_is_not_found(caller: Any) -> None:
    response = respond(caller, "x", store=False)
    assert caller.refused("GET", f"/responses/{response['id']}")[0] == 404
    assert refused(caller, model="m", input="x", previous_response_id=response["id"])[0] == 400


def test_too_few_tokens_leave_it_incomplete(caller: Any) -> None:
    response = respond(caller, "tell me a story", max_output_tokens=2)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"input": "x"}, "Missing required parameter: 'model'."),
        ({"model": "m"}, 'One of "input" or "previous_response_id"'),
        ({"model": "m", "input": 1}, "Invalid type for 'input': expected one of a string or array of input items"),
        ({"model": "m", "input": [{"role": "cat", "content": "x"}]}, "Invalid value: 'cat'."),
        ({"model": "m", "input": "x", "temperature": 3}, "Invalid 'temperature': decimal above maximum value."),
        ({"model": "m", "input": "x", "tools": [{}]}, "Missing required parameter: 'tools[0].type'."),
        ({"model": "m", "input": "x", "conversation": "conv_x", "previous_response_id": "r"}, "Mutually exclusive"),
        ({"model": "m", "input": "x", "background": True, "store": False}, "Background mode requires store"),
        (
            {"model": "m", "input": "x", "previous_response_id": "resp_x"},
            "Previous response with id 'resp_x' not found.",
        ),
    ],
)
def test_malformed_requests_are_named(caller: Any, body: dict[str, Any], said: str) -> None:
    status, message = refused(caller, **body)
    assert status == 400
    assert message.startswith(said)


def test_a_stuck_response_never_answers(caller: Any) -> None:
    caller.epoch.faults.arm(parse({"fault": "stuck"}), 0)
    answer = caller.call("openai", "POST", "/v1/responses", {"model": "m", "input": "x"})
    assert answer.steps == [wire.Hang()]
    assert caller.epoch.ledger.summary().open_generations == 1


def test_model_faults_reach_every_api(caller: Any) -> None:
    caller.epoch.faults.arm(parse({"fault": "say", "reply": "にゃ", "repeat": 3}), 0)
    assert respond(caller, "x")["output"][0]["content"][0]["text"] == "にゃにゃにゃ"
    chat = caller.openai("POST", "/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}]})
    assert chat["choices"][0]["message"]["content"] == "にゃにゃにゃ"


# --- chat completions ------------------------------------------------------------------------------------------------


def complete(caller: Any, *messages: Any, **fields: Any) -> Any:
    return caller.openai("POST", "/chat/completions", {"model": "gpt-4o", "messages": messages, **fields})


def test_a_chat_with_a_tool(caller: Any) -> None:
    user = {"role": "user", "content": "今何時？ #haaaaaaaa"}
    asked = complete(caller, user, tools=CHAT_TOOLS)
    message = asked["choices"][0]["message"]
    assert asked["choices"][0]["finish_reason"] == "tool_calls"
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "10:20"}
    answer = complete(caller, user, message, result, tools=CHAT_TOOLS)
    assert answer["choices"][0]["message"]["content"] == "今は10時20分"
    assert {call.mark for call in caller.epoch.ledger.calls} == {"#haaaaaaaa"}
    assert caller.epoch.ledger.calls[-1].text == "10:20"
    status, said = caller.refused("POST", "/chat/completions", {"model": "m", "messages": [user, message, user]})
    assert status == 400
    assert said.startswith("An assistant message with 'tool_calls' must be followed by tool messages")
    status, said = caller.refused("POST", "/chat/completions", {"model": "m", "messages": [user, result]})
    assert status == 400
    assert said.startswith("Invalid parameter: messages with role 'tool'")


def test_several_choices_and_the_end_of_the_tokens(caller: Any) -> None:
    done = complete(caller, {"role": "user", "content": "hello"}, n=3, max_completion_tokens=2)
    assert [choice["finish_reason"] for choice in done["choices"]] == ["length"] * 3
    assert done["usage"]["completion_tokens"] == 6


def test_a_stream_counts_like_a_body(caller: Any) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    whole = caller.openai("POST", "/chat/completions", body)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream = caller.call("openai", "POST", "/v1/chat/completions", body | options)
    events = [line.removeprefix("data: ") for line in stream.body.decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    chunks = [json.loads(one) for one in events[:-1]]
    assert chunks[-1]["usage"] == whole["usage"]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]


def test_an_answer_ends_before_what_is_to_stop_it(caller: Any) -> None:
    said = {"role": "user", "content": "hello there"}
    whole = complete(caller, said)["choices"][0]["message"]["content"]
    choice = complete(caller, said, stop=["never said", "there"])["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (whole.partition("there")[0], "stop")
    assert 0 < len(choice["message"]["content"]) < len(whole)


def test_a_function_that_is_not_offered_cannot_be_chosen(caller: Any) -> None:
    chosen = {"type": "function", "name": "nope"}
    nested = {"type": "function", "function": {"name": "nope"}}
    said = [{"role": "user", "content": "x"}]
    for path, body in (
        ("/responses", {"input": "x", "tools": TOOLS, "tool_choice": chosen}),
        ("/chat/completions", {"messages": said, "tools": CHAT_TOOLS, "tool_choice": nested}),
        ("/threads/runs", {"assistant_id": caller.assistant(), "tool_choice": nested}),
    ):
        status, message = caller.refused("POST", path, {"model": "gpt-4o", **body})
        assert (status, message.partition(":")[0]) == (400, "Invalid value for 'tool_choice'")
    assert caller.epoch.ledger.generations == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"stream": "yes"},
        {"store": 1},
        {"stop": ["a"] * 5},
        {"stop": 1},
        {"max_tokens": 0},
        {"max_completion_tokens": -1},
    ],
)
def test_a_completion_that_is_refused_costs_nothing(caller: Any, wrong: dict[str, Any]) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}], **wrong}
    answer = caller.call("openai", "POST", "/v1/chat/completions", body)
    assert (answer.status, answer.json["error"]["param"]) == (400, next(iter(wrong)))
    assert caller.epoch.ledger.generations == []
    assert caller.epoch.ledger.summary().cost_usd == 0


@pytest.mark.parametrize("wrong", [{"max_output_tokens": 0}, {"max_tool_calls": -1}, {"parallel_tool_calls": 1}])
def test_a_response_that_is_refused_costs_nothing(caller: Any, wrong: dict[str, Any]) -> None:
    answer = caller.call("openai", "POST", "/v1/responses", {"model": "gpt-4o", "input": "x", **wrong})
    assert (answer.status, answer.json["error"]["param"]) == (400, next(iter(wrong)))
    assert caller.epoch.ledger.generations == []
    assert caller.epoch.ledger.summary().cost_usd == 0


def test_the_caller_is_known_by_the_user_field(caller: Any) -> None:
    complete(caller, {"role": "user", "content": "x"}, user="tanaka")
    respond(caller, "x", safety_identifier="suzuki")
    assert [call.caller for call in caller.epoch.ledger.calls] == ["tanaka", "suzuki"]


# --- speech ----------------------------------------------------------------------------------------------------------


def speech(caller: Any, **body: Any) -> Any:
    given = {"model": "tts-1", "voice": "alloy", "input": "こんにちは", "response_format": "wav"}
    return caller.call("openai", "POST", "/v1/audio/speech", given | body)


def test_speech_is_real_and_costs(caller: Any) -> None:
    with wave.open(io.BytesIO(speech(caller).body)) as audio:
        assert audio.getnframes() / audio.getframerate() == pytest.approx(0.917, abs=0.01)
    assert caller.epoch.ledger.calls[-1].cost_usd == pytest.approx(5 * 0.015 / 1000)
    assert len(speech(caller, response_format="pcm", speed=2.0).body) == pytest.approx(22_000, abs=10)
    events = speech(caller, stream_format="sse").body.decode()
    assert "speech.audio.delta" in events
    assert "speech.audio.done" in events


FORMATS = {  # as asked for: content type, container and codec as libsndfile names them
    None: ("audio/mpeg", "MP3", "MPEG_LAYER_III"),
    "mp3": ("audio/mpeg", "MP3", "MPEG_LAYER_III"),
    "opus": ("audio/opus", "OGG", "OPUS"),
    "flac": ("audio/flac", "FLAC", "PCM_16"),
    "wav": ("audio/wav", "WAV", "PCM_16"),
}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("stream", ["audio", "sse"])
def test_each_format_is_decoded_to_the_same_hum(caller: Any, wanted: str | None, stream: str) -> None:
    content_type, container, codec = FORMATS[wanted]
    text = "こんにちは。今日はいい天気ですね。"
    answer = speech(caller, input=text, response_format=wanted, stream_format=stream)
    audio = answer.body
    if stream == "sse":
        events = events_of(answer)
        assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
        audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    else:
        assert answer.headers["content-type"] == content_type
    info = soundfile.info(io.BytesIO(audio))
    assert (info.format, info.subtype, info.samplerate, info.channels) == (container, codec, 24_000, 1)
    heard, _ = soundfile.read(io.BytesIO(audio))
    hum, _ = soundfile.read(io.BytesIO(wav(seconds_to_speak(text), rate_hz=24_000)))
    assert len(heard) == pytest.approx(len(hum), abs=480)  # an Opus frame of 20 ms
    # Loud where the hum is loud, to within what a lossy encoder leaves of each piece of 50 ms.
    for begin in range(0, len(hum) - 1200, 1200):
        loudness = [float((samples[begin : begin + 1200] ** 2).mean()) ** 0.5 for samples in (heard, hum)]
        assert loudness[0] == pytest.approx(loudness[1], abs=0.04), begin / 24_000
    assert read_audio(audio).length_s == pytest.approx(seconds_to_speak(text), abs=0.07)


def test_speech_is_encoded_once_for_each_length(monkeypatch: pytest.MonkeyPatch, caller: Any) -> None:
    first = speech(caller, input="四文字だ", response_format="mp3").body
    monkeypatch.setitem(sys.modules, "soundfile", None)  # whoever imports it now fails
    assert speech(caller, input="別な話題", response_format="mp3").body == first


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x" * 4097}, "input"),
        ({"input": ""}, "input"),
        ({"speed": 5}, "speed"),
        ({"voice": None}, "voice"),
        *(({"response_format": name}, "response_format") for name in ("aac", "midi")),
        ({"stream_format": "smoke"}, "stream_format"),
    ],
)
def test_speech_refuses_as_the_api_does(caller: Any, body: dict[str, Any], param: str) -> None:
    answer = speech(caller, **body)
    assert answer.status == 400
    assert answer.json["error"]["param"] == param


# --- streams ---------------------------------------------------------------------------------------------------------


def events_of(answer: Any) -> list[dict[str, Any]]:
    blocks = [block for block in answer.body.decode().split("\n\n") if block]
    return [json.loads(block.split("data: ", 1)[1]) for block in blocks if "[DONE]" not in block]


def test_a_stream_can_be_taken_up_again_where_it_broke_off(caller: Any) -> None:
    body = {"model": "m", "input": "hello", "background": True, "stream": True}
    whole = events_of(caller.call("openai", "POST", "/v1/responses", body))
    assert [event["sequence_number"] for event in whole] == list(range(len(whole)))
    id_ = whole[0]["response"]["id"]
    caller.sleep(1e-6)  # each of the stream's waits was rounded to nanoseconds: together they may be a few short
    rest = caller.call("openai", "GET", f"/v1/responses/{id_}", query="stream=true&starting_after=3")
    assert [event["sequence_number"] for event in events_of(rest)] == list(range(4, len(whole)))
    assert rest.waited_s == 0
    assert events_of(rest)[-1]["response"]["output"] == whole[-1]["response"]["output"]
    assert caller.refused("GET", f"/responses/{id_}", query="stream=true&starting_after=x")[0] == 400


def test_a_stream_takes_as_long_as_the_whole_answer(caller: Any) -> None:
    body = {"model": "m", "input": "hello #haaaaaaaa"}
    caller.call("openai", "POST", "/v1/responses", body | {"stream": True})
    caller.call("openai", "POST", "/v1/responses", body)
    caller.sleep(1)
    first, second = (
        [one.at_ns for one in caller.epoch.ledger.generations if one.id == id_]
        for id_ in dict.fromkeys(one.id for one in caller.epoch.ledger.generations)
    )
    streamed, whole = caller.epoch.ledger.calls
    assert streamed.end_ns - streamed.begin_ns == pytest.approx(first[-1] - first[0], abs=1e6)
    assert whole.end_ns - whole.begin_ns == pytest.approx(second[-1] - second[0], abs=1e6)


def test_a_run_that_is_cancelled_while_it_streams_says_so(caller: Any) -> None:
    assistant = caller.assistant()
    thread = caller.openai("POST", "/threads", {"messages": [{"role": "user", "content": "hello"}]})["id"]
    body = json.dumps({"assistant_id": assistant, "stream": True}).encode()
    headers = {"authorization": "Bearer sk-test", "openai-beta": "assistants=v2"}
    exchange = caller.epoch.begin(
        "openai", wire.Request("POST", f"/v1/threads/{thread}/runs", headers=headers, body=body), caller.now_ns
    )
    assert exchange.reply is not None
    run = exchange.generation
    names = []
    for step in exchange.reply.steps():
        if isinstance(step, wire.Wait):
            caller.sleep(step.seconds)
        elif isinstance(step, wire.Data):
            names.append(step.body.split(b"\n")[0].decode().removeprefix("event: "))
            if names[-1] == "thread.message.created":
                caller.openai("POST", f"/threads/{thread}/runs/{run}/cancel")
    assert names[-1] == "done"
    assert names[-2] in ("thread.run.cancelling", "thread.run.cancelled")
    assert "thread.message.completed" not in names


def test_a_carrier_that_is_late_still_tells_what_the_run_said(caller: Any) -> None:
    assistant = caller.assistant()
    thread = caller.openai("POST", "/threads", {"messages": [{"role": "user", "content": "hello"}]})["id"]
    body = json.dumps({"assistant_id": assistant, "stream": True}).encode()
    headers = {"authorization": "Bearer sk-test", "openai-beta": "assistants=v2"}
    exchange = caller.epoch.begin(
        "openai", wire.Request("POST", f"/v1/threads/{thread}/runs", headers=headers, body=body), caller.now_ns
    )
    assert exchange.reply is not None
    events = []
    for step in exchange.reply.steps():
        if isinstance(step, wire.Wait):
            caller.sleep(step.seconds + 60)
        elif isinstance(step, wire.Data):
            name, data = step.body.decode().split("\n")[:2]
            events.append((name.removeprefix("event: "), data.removeprefix("data: ")))
    names = [name for name, _ in events]
    assert "thread.message.delta" in names
    assert names.index("thread.run.in_progress") < names.index("thread.message.completed")
    assert names[-2:] == ["thread.run.completed", "done"]
    begun = json.loads(next(data for name, data in events if name == "thread.run.in_progress"))
    assert begun["status"] == "in_progress"
