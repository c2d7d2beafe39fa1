"""Every method of the client's resources that this product stands in for, sync and async, plain, raw and streamed.

The methods are found by introspection: one that nobody calls here fails the test.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import openai
import pydantic
import pytest
from openai._resource import AsyncAPIResource, SyncAPIResource

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

RESOURCES = (
    "responses",
    "conversations",
    "chat.completions",
    "audio.speech",
    "models",
    "moderations",
    "embeddings",
    "beta.assistants",
    "beta.threads",
)
NOT_STOOD_IN_FOR = {
    "realtime": "speech both ways over a socket or WebRTC, which agents of text in and speech out have no use for",
    "live": "the same",
    "beta.realtime": "the same",
    "audio.transcriptions": "hearing: callers of the agents under test write",
    "audio.translations": "the same",
    "audio.voices": "making voices: agents speak with those that are there",
    "audio.voice_consents": "the same",
    "completions": "the API before chat; no chat agent of today speaks it",
    **dict.fromkeys(
        ("batches", "evals", "fine_tuning", "vector_stores", "containers", "files", "uploads", "skills", "decisions"),
        "jobs and stores that are filled before a conversation, not in one",
    ),
    **dict.fromkeys(("images", "videos"), "pictures: the agents under test speak"),
    **dict.fromkeys(
        ("admin", "safety", "webhooks", "content_provenance_checks"), "what an account is run with, not an agent"
    ),
    **dict.fromkeys(
        ("beta.agents", "beta.chat", "beta.chatkit", "beta.responses"), "agents and chats that run at OpenAI"
    ),
}
"""Resources of the client, and why no stand-in speaks for them."""
ASSISTANTS_TOOL: Any = {
    "type": "function",
    "function": {"name": "get_time", "description": "time", "parameters": {"type": "object", "properties": {}}},
}
RESPONSES_TOOL: Any = {"type": "function", **ASSISTANTS_TOOL["function"], "strict": False}
TIME = "今何時？"


def methods_of(resource: Any, path: str) -> set[str]:
    """Return the public methods of a resource and of those below it, by their paths."""
    found: set[str] = set()
    for name, thing in inspect.getmembers(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        if inspect.isfunction(thing):
            found.add(f"{path}.{name}")
        elif isinstance(getattr(resource, name), SyncAPIResource | AsyncAPIResource):
            found |= methods_of(getattr(resource, name), f"{path}.{name}")
    return found


def resolve(client: Any, path: str) -> Any:
    for name in path.split("."):
        client = getattr(client, name)
    return client


class Walk:
    """Calls methods by their paths, in one of the ways in which the client offers them, and remembers which."""

    def __init__(self, client: Any, how: Literal["plain", "raw", "streaming"]) -> None:
        self.client = client
        self.how = how
        self.called: set[str] = set()

    async def __call__(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self.called.add(path)
        parent, name = path.rsplit(".", 1)
        resource = resolve(self.client, parent)
        if self.how == "raw" and hasattr(resource.with_raw_response, name):
            raw = getattr(resource.with_raw_response, name)(*args, **kwargs)
            raw = await raw if inspect.isawaitable(raw) else raw
            assert raw.headers["x-request-id"].startswith("req_")
            return raw.parse()
        if self.how == "streaming" and hasattr(resource.with_streaming_response, name):
            manager = getattr(resource.with_streaming_response, name)(*args, **kwargs)
            if hasattr(manager, "__aenter__"):
                async with manager as response:
                    return await (response.read() if path == "audio.speech.create" else response.parse())
            with manager as response:
                return response.read() if path == "audio.speech.create" else response.parse()
        result = getattr(resource, name)(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def events(self, path: str, **kwargs: Any) -> list[Any]:
        """Call a method that is a context manager around a stream; returns its events."""
        self.called.add(path)
        manager = resolve(self.client, path)(**kwargs)
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                return [event async for event in stream]
        with manager as stream:
            return list(stream)

    @asynccontextmanager
    async def connected(self, path: str) -> AsyncIterator[Any]:
        """Call a method that is a context manager around a WebSocket."""
        self.called.add(path)
        manager = resolve(self.client, path)()
        if hasattr(manager, "__aenter__"):
            async with manager as connection:
                yield connection
        else:
            with manager as connection:
                yield connection

    async def streamed(self, path: str, *args: Any, **kwargs: Any) -> list[Any]:
        """Call a method with stream=True; returns its events."""
        stream = resolve(self.client, path)(*args, stream=True, **kwargs)
        if inspect.isawaitable(stream):
            return [event async for event in await stream]
        return list(stream)


async def settled(outcome: Any) -> Any:
    """Return what a method comes to, be it of the sync or the async client."""
    return await outcome if inspect.isawaitable(outcome) else outcome


class Detail(pydantic.BaseModel):
    text: str
    share: float | None


class Answer(pydantic.BaseModel):
    name: str
    count: int
    details: list[Detail]


_TOOL = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}, "strict": False}


async def walk_responses(call: Walk) -> None:
    first = await call("responses.create", model="gpt-4o", input="my colour is blue")
    assert first.output_text
    assert first.usage.total_tokens == first.usage.input_tokens + first.usage.output_tokens
    follow_up = "What did I just tell you?"
    second = await call("responses.create", model="gpt-4o", input=follow_up, previous_response_id=first.id)
    assert "my colour is blue" in second.output_text
    assert (await call("responses.retrieve", first.id)).output_text == first.output_text
    items = await call("responses.input_items.list", second.id)
    assert [item.type for item in items.data] == ["message", "message", "message"]
    given: Any = {"model": "gpt-4o", "input": "hello", "instructions": "Be a cat.", "tools": [_TOOL]}
    counted = await call("responses.input_tokens.count", **given)
    assert counted.input_tokens == (await call("responses.create", **given)).usage.input_tokens, "what it is charged"
    packed = await call("responses.compact", model="gpt-4o", input="remember the bird")
    assert packed.object == "response.compaction"
    parsed = await call("responses.parse", model="gpt-4o", input="hi", text_format=Answer)
    assert isinstance(parsed.output_parsed, Answer)
    job = await call("responses.create", model="gpt-4o", input="hi", background=True)
    assert job.status == "queued"
    # On a slow machine it may be over before it is cancelled.
    assert (await call("responses.cancel", job.id)).status in ("cancelled", "completed")
    await call("responses.delete", first.id)
    events = await call.events("responses.stream", model="gpt-4o", input="hello")
    assert events[-1].type == "response.completed"
    plain = await call.streamed("responses.create", model="gpt-4o", input="hello")
    assert [event.sequence_number for event in plain] == list(range(len(plain)))
    text = "".join(event.delta for event in plain if event.type == "response.output_text.delta")
    assert text == plain[-1].response.output_text


async def walk_web_socket(call: Walk) -> None:
    async with call.connected("responses.connect") as connection:

        async def answer(**asked: Any) -> Any:
            await settled(connection.response.create(model="gpt-4o", **asked))
            events = [await settled(connection.recv())]
            while events[-1].type != "response.completed":
                events.append(await settled(connection.recv()))
            assert [event.sequence_number for event in events] == list(range(len(events)))
            return events[-1].response

        first = await answer(input="my colour is blue")
        second = await answer(input="What did I just tell you?", previous_response_id=first.id)
        assert "my colour is blue" in second.output_text
        await settled(connection.response.create(model="gpt-4o", previous_response_id="resp_x", input="hi"))
        assert (await settled(connection.recv())).error.code == "previous_response_not_found"


async def walk_conversations(call: Walk) -> None:
    conversation = await call("conversations.create", metadata={"a": "b"})
    assert (await call("conversations.update", conversation.id, metadata={"c": "d"})).metadata == {"c": "d"}
    assert (await call("conversations.retrieve", conversation.id)).metadata == {"c": "d"}
    asked = await call(
        "responses.create", model="gpt-4o", input=TIME, conversation=conversation.id, tools=[RESPONSES_TOOL]
    )
    (wanted,) = asked.output
    assert wanted.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": wanted.call_id, "output": "10:20"}
    answer = await call("responses.create", model="gpt-4o", input=[output], conversation=conversation.id)
    assert "10時20分" in answer.output_text
    note: Any = {"type": "message", "role": "user", "content": "ありがとう"}
    added = await call("conversations.items.create", conversation.id, items=[note])
    item = added.data[0]
    assert (await call("conversations.items.retrieve", item.id, conversation_id=conversation.id)).id == item.id
    listed = await call("conversations.items.list", conversation.id)
    assert [one.type for one in listed.data] == [
        *("message", "message", "function_call_output", "function_call", "message")
    ]
    await call("conversations.items.delete", item.id, conversation_id=conversation.id)
    assert (await call("conversations.delete", conversation.id)).deleted


async def walk_chat(call: Walk) -> None:
    messages: list[Any] = [{"role": "system", "content": "語尾はにゃん。"}, {"role": "user", "content": TIME}]
    asked = await call("chat.completions.create", model="gpt-4o", messages=messages, tools=[ASSISTANTS_TOOL])
    assert asked.choices[0].finish_reason == "tool_calls"
    wanted = asked.choices[0].message.tool_calls[0]
    messages += [
        asked.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": wanted.id, "content": "10:20"},
    ]
    done = await call("chat.completions.create", model="gpt-4o", messages=messages, store=True, metadata={"a": "b"})
    assert done.choices[0].message.content == "今は10時20分にゃん"
    assert (await call("chat.completions.retrieve", done.id)).id == done.id
    assert (await call("chat.completions.update", done.id, metadata={"c": "d"})).metadata == {"c": "d"}
    assert done.id in [one.id for one in (await call("chat.completions.list")).data]
    stored = await call("chat.completions.messages.list", done.id)
    assert [one.content for one in stored.data][1] == TIME
    assert (await call("chat.completions.delete", done.id)).deleted
    hello: list[Any] = [{"role": "user", "content": "hello"}]
    parsed = await call("chat.completions.parse", model="gpt-4o", messages=hello, response_format=Answer)
    assert isinstance(parsed.choices[0].message.parsed, Answer)
    events = await call.events("chat.completions.stream", model="gpt-4o", messages=hello)
    assert events[-1].type == "content.done"
    plain = await call("chat.completions.create", model="gpt-4o", messages=hello)
    chunks = await call.streamed(
        "chat.completions.create", model="gpt-4o", messages=hello, stream_options={"include_usage": True}
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
        plain.choices[0].message.content
    )
    assert chunks[-1].usage == plain.usage


async def walk_the_rest(call: Walk) -> None:
    audio = await call("audio.speech.create", model="tts-1", voice="alloy", input="にゃん", response_format="wav")
    content = audio if isinstance(audio, bytes) else audio.content
    assert content[:4] == b"RIFF"
    assert "gpt-4o" in [model.id for model in (await call("models.list")).data]
    assert (await call("models.retrieve", "gpt-4o")).id == "gpt-4o"
    assert (await call("models.delete", "tts-1-hd")).deleted
    assert (await call("moderations.create", input="I will kill you")).results[0].flagged
    vectors = await call("embeddings.create", model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    assert len(vectors.data) == 2


async def walk_assistants(call: Walk) -> None:
    assistant = await call("beta.assistants.create", model="gpt-4o", tools=[ASSISTANTS_TOOL])
    assert (await call("beta.assistants.update", assistant.id, name="cat")).name == "cat"
    assert (await call("beta.assistants.retrieve", assistant.id)).name == "cat"
    assert (await call("beta.assistants.list")).data[0].id == assistant.id
    thread = await call("beta.threads.create")
    await call("beta.threads.retrieve", thread.id)
    await call("beta.threads.update", thread.id, metadata={"a": "b"})
    message = await call("beta.threads.messages.create", thread.id, role="user", content=TIME)
    await call("beta.threads.messages.retrieve", message.id, thread_id=thread.id)
    await call("beta.threads.messages.update", message.id, thread_id=thread.id, metadata={})
    run = await call("beta.threads.runs.create", thread.id, assistant_id=assistant.id)
    run = await call("beta.threads.runs.poll", run.id, thread_id=thread.id)
    assert run.status == "requires_action"
    await call("beta.threads.runs.retrieve", run.id, thread_id=thread.id)
    await call("beta.threads.runs.update", run.id, thread_id=thread.id, metadata={})
    (step,) = (await call("beta.threads.runs.steps.list", run.id, thread_id=thread.id)).data
    await call("beta.threads.runs.steps.retrieve", step.id, thread_id=thread.id, run_id=run.id)
    await call("beta.threads.runs.submit_tool_outputs", run.id, thread_id=thread.id, tool_outputs=outputs_of(run))
    assert (await call("beta.threads.runs.poll", run.id, thread_id=thread.id)).status == "completed"
    listed = await call("beta.threads.messages.list", thread.id)
    assert [one.role for one in listed.data] == ["assistant", "user"]
    run = await call("beta.threads.runs.create_and_poll", thread_id=thread.id, assistant_id=assistant.id)
    run = await call(
        "beta.threads.runs.submit_tool_outputs_and_poll",
        run_id=run.id,
        thread_id=thread.id,
        tool_outputs=outputs_of(run),
    )
    assert run.status == "completed"
    for stream in ("stream", "create_and_stream"):
        events = await call.events(f"beta.threads.runs.{stream}", thread_id=thread.id, assistant_id=assistant.id)
        run = events[-1].data
        events = await call.events(
            "beta.threads.runs.submit_tool_outputs_stream",
            thread_id=thread.id,
            run_id=run.id,
            tool_outputs=outputs_of(run),
        )
        assert events[-1].event == "thread.run.completed"
    for event in await call.streamed("beta.threads.runs.create", thread.id, assistant_id=assistant.id):
        run = event.data
    await call("beta.threads.runs.cancel", run.id, thread_id=thread.id)
    assert len((await call("beta.threads.runs.list", thread.id)).data) == 5
    new: Any = {"messages": [{"role": "user", "content": "やあ"}]}
    await call("beta.threads.create_and_run", assistant_id=assistant.id, thread=new)
    done = await call("beta.threads.create_and_run_poll", assistant_id=assistant.id, thread=new)
    assert done.status == "completed"
    events = await call.events("beta.threads.create_and_run_stream", assistant_id=assistant.id, thread=new)
    assert events[0].event == "thread.created"
    assert events[-1].event == "thread.run.completed"
    await call("beta.threads.messages.delete", message.id, thread_id=thread.id)
    await call("beta.threads.delete", thread.id)
    await call("beta.assistants.delete", assistant.id)


def outputs_of(run: Any) -> list[Any]:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": "10:20"} for call in calls]


@pytest.mark.parametrize("how", ["plain", "raw", "streaming"])
@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_every_method(stand: Any, colour: str, how: Any) -> None:
    client = stand.openai() if colour == "sync" else stand.async_openai()
    call = Walk(client, how)
    for part in (walk_responses, walk_web_socket, walk_conversations, walk_chat, walk_the_rest, walk_assistants):
        await part(call)
    closed = client.close()
    if inspect.isawaitable(closed):
        await closed
    offered: set[str] = set().union(*(methods_of(resolve(client, path), path) for path in RESOURCES))
    assert len(offered) > 50
    assert offered - call.called == set()
    assert not [one for one in stand.calls() if one.get("unexpected")]


def test_every_resource_is_stood_in_for_or_has_its_reason() -> None:
    client = openai.OpenAI(api_key="sk-x")
    # One level below these two, things differ.
    parents = {"": client, "beta.": client.beta, "audio.": client.audio}
    offered = {
        f"{prefix}{name}"
        for prefix, parent in parents.items()
        for name in dir(type(parent))
        if not name.startswith(("_", "with_")) and isinstance(getattr(parent, name), SyncAPIResource)
    } - {"beta", "audio"}
    stood_in_for = {path.removesuffix(".completions") for path in RESOURCES}
    assert offered == stood_in_for | set(NOT_STOOD_IN_FOR)
    assert not stood_in_for & set(NOT_STOOD_IN_FOR)
