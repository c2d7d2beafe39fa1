"""The Assistants API against the real client: every answer passes its strict validation."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.contract.assistants_turn import outputs_for, play_with_the_async_client

# The client marks the whole Assistants API as deprecated; it is alive on compatible servers.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": name, "description": name, "parameters": {"type": "object", "properties": properties}},
    }
    for name, properties in (
        ("get_time", {}),
        ("get_weather", {"location": {"type": "string"}}),
        ("get_fortune", {"sign": {"type": "string"}}),
    )
]
THREE_TOOLS = "今何時で、天気はどうで、ついでに運勢も教えて #h12345678"


def test_a_turn_with_three_tools(stand: Any) -> None:
    with stand.openai() as client:
        beta = client.beta
        assistant = beta.assistants.create(model="gpt-4o", instructions="語尾はにゃん。40文字以内。", tools=TOOLS)
        thread = beta.threads.create()
        beta.threads.messages.create(thread.id, role="user", content=THREE_TOOLS)
        run = beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
        assert run.status == "requires_action"
        assert run.required_action is not None
        names = [call.function.name for call in run.required_action.submit_tool_outputs.tool_calls]
        assert names == ["get_time", "get_weather", "get_fortune"]
        run = beta.threads.runs.submit_tool_outputs_and_poll(
            thread_id=thread.id, run_id=run.id, tool_outputs=outputs_for(run)
        )
        assert run.status == "completed"
        assert run.usage is not None
        reply: Any = beta.threads.messages.list(thread.id, limit=1).data[0].content[0]
        assert reply.text.value.endswith("にゃん")
        assert len(list(beta.threads.runs.steps.list(run.id, thread_id=thread.id))) == 2
    generations = [one for one in stand.lines("/ledger?mark=%23h12345678") if one["type"] == "generation"]
    assert [one["state"] for one in generations] == [
        *("queued", "in_progress", "requires_action"),
        *("queued", "in_progress", "completed"),
    ]


async def test_the_same_with_the_async_client(stand: Any) -> None:
    async with stand.async_openai() as client:
        await play_with_the_async_client(client, THREE_TOOLS, TOOLS)


def test_every_other_method(stand: Any) -> None:
    with stand.openai() as client:
        beta = client.beta
        assistant = beta.assistants.create(
            model="gpt-4o", name="n", description="d", metadata={"a": "b"}, temperature=0.5, top_p=0.9, tools=TOOLS
        )
        assert beta.assistants.retrieve(assistant.id).name == "n"
        assert beta.assistants.update(assistant.id, name="m").name == "m"
        assert [one.id for one in beta.assistants.list()] == [assistant.id]
        thread = beta.threads.create(metadata={"user": "x"})
        assert beta.threads.update(thread.id, metadata={"user": "y"}).metadata == {"user": "y"}
        assert beta.threads.retrieve(thread.id).metadata == {"user": "y"}
        message = beta.threads.messages.create(
            thread.id, role="user", content=[{"type": "text", "text": "今何時？"}], metadata={"k": "v"}
        )
        assert beta.threads.messages.retrieve(message.id, thread_id=thread.id).metadata == {"k": "v"}
        assert beta.threads.messages.update(message.id, thread_id=thread.id, metadata={}).metadata == {}
        run = beta.threads.runs.create(
            thread_id=thread.id,
            assistant_id=assistant.id,
            additional_messages=[{"role": "user", "content": "今何時？"}],
            additional_instructions="短く。",
            tool_choice="required",
        )
        assert beta.threads.runs.update(run.id, thread_id=thread.id, metadata={"k": "v"}).metadata == {"k": "v"}
        run = beta.threads.runs.poll(run.id, thread_id=thread.id)
        step = next(iter(beta.threads.runs.steps.list(run.id, thread_id=thread.id)))
        assert beta.threads.runs.steps.retrieve(step.id, thread_id=thread.id, run_id=run.id).type == "tool_calls"
        assert beta.threads.runs.cancel(run.id, thread_id=thread.id).status == "cancelling"
        assert beta.threads.runs.poll(run.id, thread_id=thread.id).status == "cancelled"
        assert [one.id for one in beta.threads.runs.list(thread.id)] == [run.id]
        created = beta.threads.create_and_run_poll(
            assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "やあ"}]}
        )
        assert created.status == "completed"
        assert beta.threads.messages.delete(message.id, thread_id=thread.id).deleted
        assert beta.threads.delete(thread.id).deleted
        assert beta.assistants.delete(assistant.id).deleted
    assert not [call for call in stand.calls() if call.get("unexpected")]


def test_paging_walks_the_whole_list(stand: Any) -> None:
    with stand.openai() as client:
        thread = client.beta.threads.create()
        texts = [str(number) for number in range(7)]
        for text in texts:
            client.beta.threads.messages.create(thread.id, role="user", content=text)
        found: Any = list(client.beta.threads.messages.list(thread.id, limit=3, order="asc"))
        assert [message.content[0].text.value for message in found] == texts


def test_errors_become_the_clients_exceptions(stand: Any) -> None:
    with stand.openai() as client:
        with pytest.raises(openai.NotFoundError) as missing:
            client.beta.threads.retrieve("thread_x")
        assert missing.value.request_id is not None
        with pytest.raises(openai.BadRequestError) as bad:
            client.beta.threads.messages.create(client.beta.threads.create().id, role="user", content="")
        assert bad.value.param == "content"
    with pytest.raises(openai.NotFoundError), stand.openai() as client:
        client.files.list()
    assert [call["route"] for call in stand.calls() if call.get("unexpected")] == ["GET /v1/files"]


def test_only_the_keys_that_are_accepted(stand: Any) -> None:
    stand.begin_epoch("keys", api_keys=["sk-good"])
    with stand.openai(api_key="sk-good") as client:
        client.beta.threads.create()
    with stand.openai(api_key="sk-bad-1234") as client, pytest.raises(openai.AuthenticationError) as caught:
        client.beta.threads.create()
    assert caught.value.code == "invalid_api_key"
