"""What does the agent need of the Assistants API? The calls themselves, over the official client.

The Assistants API is deprecated and the client says so at every call. That is known here, and nowhere else: the
warning is silenced for this API, and for nothing else.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import openai

from reference_agent.conversation import ToolCall, ToolOutput, Usage
from reference_agent.errors import Gone
from reference_agent.wire import settled

ACTIVE = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
_PAGES = 20  # of assistants looked through for ours


@dataclass(frozen=True)
class StoredAssistant:
    """An assistant at the upstream."""

    id: str
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunSeen:
    """A run, as it was when it was looked at."""

    id: str
    status: str
    calls: tuple[ToolCall, ...] = ()
    error: str = ""
    usage: Usage | None = None


@dataclass(frozen=True)
class MessageSeen:
    """A message of a thread."""

    role: str
    text: str
    run_id: str
    """Of the run that wrote it; empty: none did."""


class AssistantsApi:
    """Assistants, threads, messages and runs; with the synchronous client or the asynchronous one.

    Raises, beside what the client raises: Gone, when what is asked about is not there (404).
    """

    def __init__(self, client: openai.OpenAI | openai.AsyncOpenAI) -> None:
        # Both clients have the same methods; `settled` takes what either returns.
        self._client: Any = client
        _silence_deprecation()

    @property
    def _beta(self) -> Any:
        # Not looked up before it is used: the client then imports its types, which takes a second of CPU.
        return self._client.beta

    def load(self) -> None:
        """Import now what the first call would have to wait for."""
        _ = self._beta

    async def find_assistant(self, name: str) -> StoredAssistant | None:
        """Return the oldest assistant of that name; None: there is none."""
        after: dict[str, str] = {}
        for _ in range(_PAGES):
            page = await settled(self._beta.assistants.list(order="asc", limit=100, **after))
            for assistant in page.data:
                if assistant.name == name:
                    return StoredAssistant(assistant.id, dict(assistant.metadata or {}))
            if not page.data or not page.has_more:
                return None
            after = {"after": page.data[-1].id}
        return None

    async def create_assistant(self, **configuration: Any) -> StoredAssistant:
        """Create an assistant."""
        assistant = await settled(self._beta.assistants.create(**configuration))
        return StoredAssistant(assistant.id, dict(assistant.metadata or {}))

    async def update_assistant(self, assistant_id: str, **configuration: Any) -> StoredAssistant:
        """Change an assistant."""
        assistant = await settled(self._beta.assistants.update(assistant_id, **configuration))
        return StoredAssistant(assistant.id, dict(assistant.metadata or {}))

    async def create_thread(self) -> str:
        """Create a thread and return its id."""
        thread = await settled(self._beta.threads.create())
        return str(thread.id)

    async def delete_thread(self, thread_id: str) -> None:
        """Delete a thread."""
        await _there(self._beta.threads.delete, thread_id)

    async def add_message(self, thread_id: str, text: str, role: str = "user") -> None:
        """Add what the user said, or what was answered (`assistant`)."""
        await _there(self._beta.threads.messages.create, thread_id, role=role, content=text)

    async def create_run(self, thread_id: str, assistant_id: str, order: str = "") -> RunSeen:
        """Start a run, with an order that holds for it alone."""
        more = {"additional_instructions": order} if order else {}
        return _seen(await _there(self._beta.threads.runs.create, thread_id, assistant_id=assistant_id, **more))

    async def stream_run(self, thread_id: str, assistant_id: str) -> Any:
        """Start a run and return the stream of its events."""
        return await _there(self._beta.threads.runs.create, thread_id, assistant_id=assistant_id, stream=True)

    async def look_at_run(self, thread_id: str, run_id: str) -> RunSeen:
        """Return a run as it is now."""
        return _seen(await _there(self._beta.threads.runs.retrieve, run_id, thread_id=thread_id))

    async def active_runs(self, thread_id: str) -> list[RunSeen]:
        """Return the runs of a thread that have not ended."""
        page = await _there(self._beta.threads.runs.list, thread_id, order="desc", limit=5)
        return [_seen(run) for run in page.data if run.status in ACTIVE]

    async def submit_outputs(self, thread_id: str, run_id: str, outputs: list[ToolOutput]) -> RunSeen:
        """Hand over what the tools said."""
        return _seen(await self._submit(thread_id, run_id, outputs))

    async def stream_outputs(self, thread_id: str, run_id: str, outputs: list[ToolOutput]) -> Any:
        """Hand over what the tools said and return the stream of the events that follow."""
        return await self._submit(thread_id, run_id, outputs, stream=True)

    async def _submit(self, thread_id: str, run_id: str, outputs: list[ToolOutput], **more: Any) -> Any:
        given = [{"tool_call_id": output.call_id, "output": output.text} for output in outputs]
        submit = self._beta.threads.runs.submit_tool_outputs
        return await _there(submit, run_id, thread_id=thread_id, tool_outputs=given, **more)

    async def cancel_run(self, thread_id: str, run_id: str) -> RunSeen:
        """Cancel a run."""
        return _seen(await _there(self._beta.threads.runs.cancel, run_id, thread_id=thread_id))

    async def reply(self, thread_id: str, run_id: str) -> str:
        """Return the last text that a run wrote into its thread; empty: none."""
        page = await _there(self._beta.threads.messages.list, thread_id, order="desc", limit=1, run_id=run_id)
        for message in page.data:
            return _text_of(message)
        return ""

    async def latest_messages(self, thread_id: str, at_most: int = 5) -> list[MessageSeen]:
        """Return the latest messages of a thread, newest first; `at_most` is 1 to 100."""
        page = await _there(self._beta.threads.messages.list, thread_id, order="desc", limit=at_most)
        return [MessageSeen(message.role, _text_of(message), message.run_id or "") for message in page.data]


def _text_of(message: Any) -> str:
    return "".join(block.text.value for block in message.content if block.type == "text")


def heard(event: Any) -> RunSeen | str:
    """Return what an event of a stream tells: a run as it is now, a piece of the reply, or nothing (an empty text)."""
    if event.event == "thread.message.delta":
        return "".join(b.text.value or "" for b in event.data.delta.content or () if b.type == "text" and b.text)
    return _seen(event.data) if getattr(event.data, "object", "") == "thread.run" else ""


def _silence_deprecation() -> None:
    warnings.filterwarnings("ignore", r"The Assistants API is deprecated", DeprecationWarning)
    # Its calls for assistants say no more than "deprecated": those are known by who makes them.
    warnings.filterwarnings("ignore", r"deprecated$", DeprecationWarning, r"reference_agent\.engines\.assistants_api$")


async def _there(method: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        return await settled(method(*args, **kwargs))
    except openai.NotFoundError as missing:
        raise Gone(str(missing)) from missing


def _seen(run: Any) -> RunSeen:
    calls: tuple[ToolCall, ...] = ()
    if run.status == "requires_action" and run.required_action is not None:
        asked = run.required_action.submit_tool_outputs.tool_calls
        calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in asked)
    usage = run.usage and Usage(run.model, run.usage.prompt_tokens, run.usage.completion_tokens)
    return RunSeen(run.id, run.status, calls, run.last_error.message if run.last_error else "", usage)
