"""How is a turn played on chat completions, with a history of our own?

The model's upstream remembers nothing; a conversation is a list of messages that is kept here and sent along.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

import openai

from reference_agent.clock import Deadline
from reference_agent.conversation import (
    Asks,
    Failed,
    Generation,
    Listener,
    Replied,
    Spent,
    Step,
    ToolCall,
    ToolOutput,
    Usage,
)
from reference_agent.engines.estimate import Estimate
from reference_agent.engines.rehearsal import rehearse
from reference_agent.engines.stream import events_of
from reference_agent.errors import Gone, Unavailable
from reference_agent.parts.persona import Persona
from reference_agent.parts.retries import Retries
from reference_agent.session_store import SessionStore
from reference_agent.settings import Settings
from reference_agent.toolbox import Toolbox
from reference_agent.wire import settled

Message = dict[str, Any]

_REMEMBERED = 20  # messages of a conversation that are sent along


_CALL = {"id": "-", "type": "function", "function": {"name": "-", "arguments": "{}"}}
_REHEARSAL = {
    "POST completions": {
        "id": "rehearsal",
        "object": "chat.completion",
        "created": 0,
        "model": "-",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": "-", "tool_calls": [_CALL]},
            }
        ],
    }
}


class History(Protocol):
    """What was said in conversations."""

    async def of(self, conversation: str) -> list[Message]:
        """Return the latest messages, oldest first."""
        ...

    async def add(self, conversation: str, messages: list[Message]) -> None:
        """Append messages."""
        ...

    async def delete(self, conversation: str) -> None:
        """Forget a conversation."""
        ...


class ProcessHistory:
    """In this process's memory, for ever."""

    def __init__(self) -> None:
        self._messages: defaultdict[str, list[Message]] = defaultdict(list)

    async def of(self, conversation: str) -> list[Message]:
        return self._messages[conversation][-_REMEMBERED:]

    async def add(self, conversation: str, messages: list[Message]) -> None:
        self._messages[conversation] += messages

    async def delete(self, conversation: str) -> None:
        self._messages.pop(conversation, None)


class StoredHistory:
    """Where the sessions are."""

    def __init__(self, session_store: SessionStore) -> None:
        self._store = session_store

    async def of(self, conversation: str) -> list[Message]:
        said = await self._store.messages(conversation, _REMEMBERED)
        return [{"role": role, "content": text} for role, text in said]

    async def add(self, conversation: str, messages: list[Message]) -> None:
        await self._store.add_messages(conversation, [(message["role"], message["content"]) for message in messages])

    async def delete(self, conversation: str) -> None:
        await self._store.delete_messages(conversation)


class ChatEngine:
    """A conversation is a history; a generation is a chain of completions."""

    def __init__(
        self,
        settings: Settings,
        openai_client: openai.OpenAI | openai.AsyncOpenAI,
        history: History,
        retries: Retries,
        persona: Persona,
        toolbox: Toolbox,
    ) -> None:
        # Both clients have the same methods; `settled` takes what either returns.
        self._api: Any = openai_client
        self._history = history
        self._retries = retries
        self._instructions = persona.instructions()
        # What is said in `extra_body` the client sends as it is, and does not look through for what it could spell.
        self._request = {"model": settings.model, "extra_body": {"tools": toolbox.definitions()}}
        self._estimate = Estimate(settings.model, json.dumps(toolbox.definitions()))

    async def warm_up(self) -> None:
        async def play(api: Any) -> None:
            said: Any = [{"role": "user", "content": "-"}]
            await settled(api.chat.completions.create(messages=said, **self._request))

        await rehearse(self._api, play, _REHEARSAL)

    def is_ready(self) -> bool:
        return True

    async def open_conversation(self, deadline: Deadline) -> str:
        return f"chat_{uuid.uuid4().hex}"

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        await self._history.delete(conversation)

    async def remember(self, conversation: str, said: str, reply: str, deadline: Deadline) -> None:
        await self._history.add(conversation, _exchange(said, reply))

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> Generation:
        return _Completions(
            conversation,
            deadline,
            spent,
            self._api,
            self._history,
            self._retries,
            self._instructions,
            self._request,
            self._estimate,
            listener,
        )


@dataclass(frozen=True)
class _Completion:
    """What the model came to, heard whole or piece by piece."""

    text: str
    calls: tuple[ToolCall, ...]
    finish_reason: str | None
    usage: Usage | None


class _Completions:
    def __init__(
        self,
        conversation: str,
        deadline: Deadline,
        spent: Spent,
        api: Any,
        history: History,
        retries: Retries,
        instructions: str,
        request: dict[str, Any],
        estimate: Estimate,
        listener: Listener | None,
    ) -> None:
        self._estimate = estimate
        self._listener = listener
        self.conversation = conversation
        self._deadline = deadline
        self._spent = spent
        self._api = api
        self._history = history
        self._retries = retries
        self._request = request
        self._messages: list[Message] = [{"role": "system", "content": instructions}]
        self._text = ""
        self._asked_at = 0.0

    async def begin(self, text: str) -> None:
        self._text = text
        self._messages += [*await self._history.of(self.conversation), {"role": "user", "content": text}]

    async def begin_again(self, order: str) -> None:
        self._messages += [*await self._history.of(self.conversation), {"role": "system", "content": order}]

    async def resume(self, generation: str, text: str) -> None:
        raise Gone(self.conversation)  # it ended with the connection of whoever began it

    def disown(self) -> None:
        pass

    async def next(self) -> Step:
        completion = await (self._heard(self._listener) if self._listener else self._whole())
        if completion.usage is not None:
            self._estimate.learn(self._said(), completion.usage, self._for_s(), latest=self._latest())
            await self._spent(completion.usage)
        if completion.calls:
            called = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in completion.calls
            ]
            content = {"content": completion.text} if completion.text else {}
            self._messages.append({"role": "assistant", **content, "tool_calls": called})
            return Asks(completion.calls)
        if completion.finish_reason not in ("stop", "length"):
            return Failed(str(completion.finish_reason), "")
        # Only what was said and answered: a turn that came to nothing leaves no trace, and no call without its output.
        await self._history.add(self.conversation, _exchange(self._text, completion.text))
        return Replied(completion.text)

    async def _whole(self) -> _Completion:
        completion = await self._create()
        choice = completion.choices[0]
        usage = completion.usage
        return _Completion(
            choice.message.content or "",
            tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in choice.message.tool_calls or ()),
            choice.finish_reason,
            usage and Usage(completion.model, usage.prompt_tokens, usage.completion_tokens),
        )

    async def _heard(self, listener: Listener) -> _Completion:
        """A caller who leaves closes the stream, and with it ends the completion upstream."""
        text = ""
        calls: dict[int, list[str]] = {}
        finish_reason = usage = None
        stream = await self._create(stream=True, stream_options={"include_usage": True})
        try:
            async for chunk in events_of(stream, self._deadline):
                if chunk.usage is not None:
                    usage = Usage(chunk.model, chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                for choice in chunk.choices:
                    finish_reason = choice.finish_reason or finish_reason
                    for part in choice.delta.tool_calls or ():
                        call = calls.setdefault(part.index, ["", "", ""])
                        function = part.function
                        said = (part.id, function and function.name, function and function.arguments)
                        calls[part.index] = [known + (more or "") for known, more in zip(call, said, strict=True)]
                    if choice.delta.content:
                        text += choice.delta.content
                        await listener.said(choice.delta.content)
            if finish_reason is None:
                upstream = "openai"
                raise Unavailable(upstream, "stream cut", never_arrived=False)
        except BaseException:
            heard = [text, *("".join(call[1:]) for call in calls.values())]
            await self._spent(usage or self._estimate.of(self._said(), heard, latest=self._latest()))
            raise
        asked = tuple(ToolCall(*calls[index]) for index in sorted(calls))
        if asked:
            await listener.asked(tuple(call.name for call in asked))
        return _Completion(text, asked, finish_reason, usage)

    async def _create(self, **more: Any) -> Any:
        async def attempt() -> Any:
            self._asked_at = self._deadline.clock.now()
            try:
                return await settled(
                    self._api.chat.completions.create(messages=self._messages, **self._request, **more)
                )
            except asyncio.CancelledError:
                # Its caller has left, or it took too long: it was being made, as far as anybody knows.
                await self._spent(self._estimate.of(self._said(), after_s=self._for_s(), latest=self._latest()))
                raise

        # Nothing is kept upstream: a completion that is made twice costs twice, and does no other harm.
        return await self._retries.call(
            "openai", attempt, self._deadline, repeatable=False, attempt_s=self._deadline.remaining_s()
        )

    def _for_s(self) -> float:
        return self._deadline.clock.now() - self._asked_at

    def _said(self) -> list[str]:
        return [
            (message.get("content") or "")
            + "".join(
                call["function"]["name"] + call["function"]["arguments"] for call in message.get("tool_calls", ())
            )
            for message in self._messages
        ]

    def _latest(self) -> list[str]:
        """Return what the model has not answered yet."""
        unanswered = itertools.takewhile(lambda message: message["role"] != "assistant", reversed(self._messages))
        return [message.get("content") or "" for message in unanswered if message["role"] != "system"]

    async def give(self, outputs: list[ToolOutput]) -> None:
        self._messages += ({"role": "tool", "tool_call_id": o.call_id, "content": o.text} for o in outputs)

    def is_open(self) -> bool:
        return False  # it ends with its connection

    async def end(self) -> None:
        pass

    def is_unheard(self) -> bool:
        return False

    async def hear_out(self, *, patiently: bool) -> None:
        pass

    async def write_off(self) -> None:
        pass


def _exchange(said: str, reply: str) -> list[Message]:
    """Return what is kept of a turn; nothing was said where a reply was only to be made better."""
    asked = [{"role": "user", "content": said}] if said else []
    return [*asked, {"role": "assistant", "content": reply}]
