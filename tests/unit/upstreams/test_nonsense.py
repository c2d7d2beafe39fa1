"""Whatever is sent, an upstream answers: a success or a refusal in its own words, never a crash."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.upstreams.epoch import Epoch, EpochSettings
from tests.unit.upstreams.conftest import FUNCTIONS, Caller

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
BODIES: list[tuple[str, str, Any]] = [
    ("openai", "/v1/assistants", {"model": "m", "tools": FUNCTIONS[:2], "metadata": {"a": "b"}, "temperature": 1}),
    ("openai", "/v1/threads", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}),
    ("openai", "/v1/threads/{t}/messages", {"role": "user", "content": "今何時？", "attachments": []}),
    (
        "openai",
        "/v1/threads/{t}/runs",
        {
            "assistant_id": "{a}",
            "tools": FUNCTIONS[:1],
            "tool_choice": {"type": "function", "function": {"name": "get_time"}},
            "additional_messages": [{"role": "user", "content": "天気は？"}],
            "max_completion_tokens": 9,
            "truncation_strategy": {"type": "auto"},
        },
    ),
    ("openai", "/v1/threads/runs", {"assistant_id": "{a}", "thread": {"messages": [{"role": "user", "content": "x"}]}}),
    (
        "openai",
        "/v1/threads/{t}/runs/{r}/submit_tool_outputs",
        {"tool_outputs": [{"tool_call_id": "c", "output": "x"}]},
    ),
    (
        "openai",
        "/v1/chat/completions",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "40文字"},
                {"role": "user", "content": "今何時？"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "10:20"},
            ],
            "tools": FUNCTIONS,
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"properties": {"a": {"type": "x"}}}}},
            "stream_options": {"include_usage": True},
        },
    ),
    (
        "openai",
        "/v1/responses",
        {
            "model": "m",
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "天気と2+2を計算して"}]},
                {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "x"},
            ],
            "tools": [{"type": "function", **FUNCTIONS[1]["function"]}],
            "text": {"format": {"type": "json_schema", "schema": {"properties": {"a": {"enum": [1]}}}}},
            "metadata": {},
        },
    ),
    ("openai", "/v1/conversations", {"items": [{"type": "message", "role": "user", "content": "x"}]}),
    ("openai", "/v1/audio/speech", {"model": "m", "input": "x", "voice": "a", "response_format": "pcm", "speed": 1}),
    ("openai", "/v1/embeddings", {"model": "m", "input": ["a", [1, 2]], "dimensions": 3}),
    ("openai", "/v1/moderations", {"input": [{"type": "text", "text": "x"}]}),
    ("tts", "/speak", {"text": "x", "emotions": [0.0] * 8, "speaking_rate": 15}),
    ("emotion", "/analyze", {"text": "悲しい"}),
    ("voicevox", "/synthesis", {"kana": "x", "speedScale": 1, "outputSamplingRate": 24000, "prePhonemeLength": 0.1}),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x", "user", "🔥"]),
    lambda below: (
        st.lists(below, max_size=2) | st.dictionaries(st.sampled_from(["type", "id", "text"]), below, max_size=2)
    ),
    max_leaves=4,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of everything in a document."""
    found = [path]
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, below in items:
        found += places(below, (*path, key))
    return found


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    holder = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_body_breaks_an_upstream(data: st.DataObject) -> None:
    caller = Caller(Epoch(EpochSettings(latency_scale=0.0)))
    assistant = caller.assistant()
    thread, run = caller.begin_run("今何時？", assistant=assistant)
    caller.sleep(1)
    upstream, path, body = data.draw(st.sampled_from(BODIES))
    path = path.replace("/v1/threads/{t}", f"/v1{thread}").replace("{r}", run.rsplit("/", 1)[1])
    body = json.loads(json.dumps(body).replace("{a}", assistant))
    if path.endswith(("/messages", "/runs")):
        caller.openai("POST", f"{run}/cancel")
        caller.sleep(1)
    where = data.draw(st.sampled_from(places(body)))
    body = replaced(body, where, data.draw(VALUES))
    if isinstance(body, dict) and data.draw(st.booleans()):
        body["stream"] = True
    answer = caller.call(upstream, "POST", path, body, query="speaker=3")
    caller.sleep(1)
    assert answer.status in (200, 400, 404, 422)
    if answer.status != 200:
        assert answer.json


@pytest.mark.parametrize("body", [b'{"model": "\xff"}', b"[" * 100_000, b'{"a":' * 100_000], ids=["latin", "[", "{"])
@pytest.mark.parametrize(("upstream", "path"), sorted({(upstream, path) for upstream, path, _ in BODIES}))
def test_a_body_that_nobody_can_read_is_refused(caller: Caller, upstream: str, path: str, body: bytes) -> None:
    thread, run = caller.begin_run("今何時？")
    caller.sleep(1)
    path = path.replace("/threads/{t}", thread).replace("{r}", run.rsplit("/", 1)[1])
    if path.endswith(("/messages", "/runs")):
        caller.openai("POST", f"{run}/cancel")
        caller.sleep(1)
    assert caller.call(upstream, "POST", path, body, query="speaker=3").status in (
        (400,) if upstream == "openai" else (400, 422)
    )


@pytest.mark.parametrize("conversation", [5, True, 0.5, [1], ["x"]])
def test_a_conversation_that_is_none_is_refused(caller: Caller, conversation: Any) -> None:
    body = {"model": "gpt-4o", "input": "hi", "conversation": conversation}
    status, message = caller.refused("POST", "/responses", body)
    assert status == 400
    assert message.startswith("Invalid type for 'conversation'")


@pytest.mark.parametrize("packed", ["", "!", "/w==", "WzFd", "W3sidHlwZSI6NX1d"])
def test_a_history_that_was_packed_elsewhere_stands_for_nothing(caller: Caller, packed: str) -> None:
    items = [{"type": "compaction", "encrypted_content": packed}, {"role": "user", "content": "hi"}]
    assert caller.openai("POST", "/responses", {"model": "m", "input": items})["status"] == "completed"
