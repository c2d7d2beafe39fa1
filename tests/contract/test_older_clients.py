"""Older major versions of the client, installed beside the current one, against the served stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import openai
print(openai.__version__)
client = openai.OpenAI(
    base_url=sys.argv[1], api_key="sk-x", max_retries=0, timeout=10, _strict_response_validation=True
)
tool = {"name": "get_time", "description": "time", "parameters": {"type": "object", "properties": {}}}
beta = client.beta
assistant = beta.assistants.create(model="gpt-4o", tools=[{"type": "function", "function": tool}])
thread = beta.threads.create(messages=[{"role": "user", "content": "今何時？"}])
run = beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
calls = run.required_action.submit_tool_outputs.tool_calls
run = beta.threads.runs.submit_tool_outputs_and_poll(
    thread_id=thread.id, run_id=run.id, tool_outputs=[{"tool_call_id": calls[0].id, "output": "10:20"}]
)
assert run.status == "completed", run
assert "10時20分" in beta.threads.messages.list(thread.id).data[0].content[0].text.value
with beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
    assert [event.event for event in stream][-1] == "thread.run.requires_action"
conversation = client.conversations.create()
tools = [{"type": "function", "strict": False, **tool}]
asked = client.responses.create(model="gpt-4o", input="今何時？", conversation=conversation.id, tools=tools)
answer = client.responses.create(
    model="gpt-4o",
    conversation=conversation.id,
    input=[{"type": "function_call_output", "call_id": asked.output[0].call_id, "output": "10:20"}],
)
assert "10時20分" in answer.output_text
assert len(client.conversations.items.list(conversation.id).data) == 4
events = list(client.responses.create(model="gpt-4o", input="hello", stream=True))
assert events[-1].type == "response.completed"
messages = [{"role": "user", "content": "hello"}]
chunks = list(client.chat.completions.create(
    model="gpt-4o", messages=messages, stream=True, stream_options={"include_usage": True}
))
assert chunks[-1].usage.total_tokens > 0
assert client.chat.completions.create(model="gpt-4o", messages=messages, store=True).choices[0].message.content
assert client.audio.speech.create(model="tts-1", voice="alloy", input="x", response_format="wav").content[:4] == b"RIFF"
assert client.models.retrieve("gpt-4o").id == "gpt-4o"
assert not client.moderations.create(input="hello").results[0].flagged
client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
try:
    client.responses.retrieve("resp_x")
except openai.NotFoundError as error:
    assert error.request_id
"""


def install(requirement: str, directory: Path) -> None:
    """Install a client into a directory of its own, or skip the test where there is no package index to be reached."""
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    # What else it needs is here already, but for these two.
    done = subprocess.run(
        [*installer, "-q", "--no-deps", "--target", str(directory), requirement, "distro", "tqdm"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (directory / "openai").exists():
        pytest.skip(f"{requirement} cannot be installed here: {done.stderr.strip()[-200:]}")


@pytest.mark.parametrize(("requirement", "major"), [("openai>=1.109,<2", "1."), ("openai>=2,<3", "2.")])
def test_an_older_client(stand: Any, tmp_path: Path, requirement: str, major: str) -> None:
    install(requirement, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, stand.upstreams["openai"]],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(major)
    assert not [call for call in stand.calls() if call.get("unexpected")]
