"""What is a turn with tools of the Assistants API, as the official client plays it against whatever stands in?"""

from __future__ import annotations

import json
from typing import Any

import openai


def outputs_for(run: Any) -> Any:
    """Return an answer for every tool that a run asks for."""
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [{"tool_call_id": call.id, "output": json.dumps({"result": "10:00"})} for call in calls]


async def play_with_the_async_client(client: openai.AsyncOpenAI, said: str, tools: Any) -> None:
    """Play a turn that needs tools, and see that it is answered."""
    beta = client.beta
    assistant = await beta.assistants.create(model="gpt-4o", tools=tools)
    thread = await beta.threads.create(messages=[{"role": "user", "content": said}])
    run = await beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "requires_action"
    run = await beta.threads.runs.submit_tool_outputs_and_poll(
        thread_id=thread.id, run_id=run.id, tool_outputs=outputs_for(run)
    )
    assert run.status == "completed"
    messages = [message async for message in beta.threads.messages.list(thread.id)]
    assert [message.role for message in messages] == ["assistant", "user"]
