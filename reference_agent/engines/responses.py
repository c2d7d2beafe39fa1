"""How is a turn played on responses and conversations?

A conversation holds its items upstream. Each response is made in the background there, so that it can be cancelled:
one that is made while the caller holds the line goes on, and costs, when the line is cut. Nothing is created
beforehand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import openai

from reference_agent.clock import Clock, Deadline
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
from reference_agent.engines.sent import Sent
from reference_agent.engines.stream import events_of, next_event
from reference_agent.errors import Gone, OutOfTime, Unavailable
from reference_agent.leftovers import Leftovers
from reference_agent.parts.logging import Logging
from reference_agent.parts.persona import Persona
from reference_agent.parts.polling import Polling
from reference_agent.parts.retries import Retries
from reference_agent.settings import Settings
from reference_agent.toolbox import Toolbox
from reference_agent.trace import TRACE
from reference_agent.wire import settled

T = TypeVar("T")

_RESPONSE = {
    "id": "rehearsal",
    "object": "response",
    "created_at": 0,
    "status": "completed",
    "model": "-",
    "output": [
        {
            "type": "message",
            "id": "-",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "-", "annotations": []}],
        },
        {"type": "function_call", "id": "-", "call_id": "-", "name": "-", "arguments": "{}", "status": "completed"},
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_REHEARSAL = {
    "POST conversations": {"id": "rehearsal", "object": "conversation", "created_at": 0, "metadata": {}},
    "GET items": {"object": "list", "data": [], "first_id": "", "last_id": "", "has_more": False},
    "POST responses": _RESPONSE,
    "GET rehearsal": _RESPONSE,
    "DELETE rehearsal": {},
}
_LEFTOVER = "response"
_NEVER_RUN = "cancelled"
_NO_OUTPUT = re.compile(r"No tool output found for function call (\w+)")
_ACTIVE = frozenset({"queued", "in_progress"})
_END_S = 3.0  # one attempt at leaving a conversation in order
_COUNT_S = 2.0  # for the upstream to count what it was given; the conversation's next turn may be waiting
_COUNTED = ("model", "instructions", "tools")  # what goes into a prompt, of what goes along with every request
_PAGE = 100
_LATEST = 20  # items of a conversation that a turn may have left: a message, calls and their outputs, a reply
_AT_ONCE = 4  # items deleted at once


class ResponsesEngine:
    """A conversation is a conversation; a generation is a chain of responses in it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        openai_client: openai.OpenAI | openai.AsyncOpenAI,
        retries: Retries,
        polling: Polling,
        persona: Persona,
        toolbox: Toolbox,
        logging: Logging,
        leftovers: Leftovers,
    ) -> None:
        self._leftovers = leftovers
        leftovers.handle(_LEFTOVER, self._delete_response)
        self._clock = clock
        self._polling = polling
        self._logging = logging
        # Both clients have the same methods; `settled` takes what either returns.
        self._api: Any = openai_client
        self._call_s = settings.openai_call_s
        self._retries = retries
        self._request = {
            "model": settings.model,
            "instructions": persona.instructions(),
            "tools": [{"type": "function", "strict": False, **tool["function"]} for tool in toolbox.definitions()],
            "background": True,  # which needs it stored: under an id of its own, until the turn has read it
            "store": True,
        }
        self._estimate = Estimate(settings.model, persona.instructions(), json.dumps(self._request["tools"]))

    async def warm_up(self) -> None:
        async def play(api: Any) -> None:
            await settled(api.conversations.create())
            await settled(api.conversations.items.list("rehearsal", limit=_PAGE))
            said: Any = [_message("-"), _output_item("-", "-")]
            await settled(
                api.responses.create(extra_body={**self._request, "conversation": "rehearsal", "input": said})
            )
            await settled(api.responses.retrieve("rehearsal"))
            await settled(api.responses.delete("rehearsal"))

        await rehearse(self._api, play, _REHEARSAL)

    def is_ready(self) -> bool:
        return True

    async def open_conversation(self, deadline: Deadline) -> str:
        async def attempt() -> str:
            return str((await settled(self._api.conversations.create())).id)

        return await self._retries.call("openai", attempt, deadline, repeatable=False)

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        """Delete the items, then the conversation: its deletion alone would leave them.

        Not before what is under way in it has been ended: a response that is made late would keep what was said.
        """
        await self._polling.over_in(conversation)
        items = self._api.conversations.items

        async def there(attempt: Callable[[], Awaitable[T] | T]) -> T | None:
            async def once() -> T | None:
                with contextlib.suppress(openai.NotFoundError):
                    return await settled(attempt())
                return None

            return await self._retries.call("openai", once, deadline, repeatable=True)

        while page := await there(lambda: items.list(conversation, limit=_PAGE)):
            for at in range(0, len(page.data), _AT_ONCE):
                await asyncio.gather(
                    *(
                        there(lambda item=item: items.delete(item.id, conversation_id=conversation))  # type: ignore[misc]
                        for item in page.data[at : at + _AT_ONCE]
                    )
                )
            if not page.has_more:
                break
        await there(lambda: self._api.conversations.delete(conversation))

    async def remember(self, conversation: str, said: str, reply: str, deadline: Deadline) -> None:
        items = [
            {"type": "message", "role": role, "content": text} for role, text in (("user", said), ("assistant", reply))
        ]

        async def attempt() -> None:
            try:
                await settled(self._api.conversations.items.create(conversation, items=items))
            except openai.NotFoundError as missing:
                raise Gone(conversation) from missing

        await self._retries.call("openai", attempt, deadline, repeatable=False)

    async def _delete_response(self, response_id: str) -> bool:
        deadline = Deadline.after(self._clock, _END_S)
        with contextlib.suppress(openai.NotFoundError):
            await self._retries.call(
                "openai", lambda: settled(self._api.responses.delete(response_id)), deadline, repeatable=True
            )
        return True

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> Generation:
        return _Chain(
            conversation,
            deadline,
            spent,
            self._clock,
            self._api,
            self._retries,
            self._polling,
            self._logging,
            self._leftovers,
            self._request,
            Sent(self._call_s, self._polling.leaving, is_carried_through=self._polling.carries_through),
            self._estimate,
            listener,
        )


class _Begun(NamedTuple):
    """A response that is being made."""

    response: Any
    stream: Any = None
    """What it tells further; None: it has to be looked at."""


class _Chain:
    def __init__(
        self,
        conversation: str,
        deadline: Deadline,
        spent: Spent,
        clock: Clock,
        api: Any,
        retries: Retries,
        polling: Polling,
        logging: Logging,
        leftovers: Leftovers,
        request: dict[str, Any],
        sent: Sent[_Begun],
        estimate: Estimate,
        listener: Listener | None,
    ) -> None:
        self._sent = sent
        self._estimate = estimate
        self._listener = listener
        self.conversation = conversation
        self._deadline = deadline
        self._spent = spent
        self._clock = clock
        self._api = api
        self._retries = retries
        self._polling = polling
        self._logging = logging
        self._leftovers = leftovers
        self._request = request
        self._response_id: str | None = None
        self._said: list[dict[str, Any]] = []
        self._unanswered: tuple[ToolCall, ...] = ()
        self._found: Step | None = None

    async def begin(self, text: str) -> None:
        self._said = [_message(text)]

    async def begin_again(self, order: str) -> None:
        self._request = self._request | {"instructions": f"{self._request['instructions']}\n{order}"}

    async def resume(self, generation: str, text: str) -> None:
        if generation:
            try:
                response = await self._call(lambda: settled(self._api.responses.retrieve(generation)), self._deadline)
            except openai.NotFoundError:
                pass  # it was read, and deleted
            else:
                if response.status not in _ACTIVE and response.status != "completed":
                    raise Gone(generation)
                self._response_id = response.id
                return
        self._found = await self._found_in_items(text)

    async def _found_in_items(self, text: str) -> Step:
        """Return what came of what was said, as the conversation has it. What it took is not known there."""
        items = self._api.conversations.items
        try:
            page = await self._call(
                lambda: settled(items.list(self.conversation, order="desc", limit=_LATEST)), self._deadline
            )
        except openai.NotFoundError as missing:
            raise Gone(self.conversation) from missing
        answered: set[str] = set()
        for item in page.data:
            match item.type:
                case "function_call_output":
                    answered.add(item.call_id)
                case "function_call" if item.call_id not in answered:
                    self._unanswered = (ToolCall(item.call_id, item.name, item.arguments), *self._unanswered)
                case "message":
                    break
        latest = next((item for item in page.data if item.type == "message"), None)
        said = next((item for item in page.data if item.type == "message" and item.role == "user"), None)
        if said is None or latest is None or _text_of(said) != text:
            self._unanswered = ()
            raise Gone(self.conversation)
        if self._unanswered:
            return Asks(self._unanswered)
        if latest.role != "assistant":
            raise Gone(self.conversation)
        return Replied(_text_of(latest))

    def disown(self) -> None:
        self._sent.disown()
        self._response_id = None
        self._unanswered = ()

    async def next(self) -> Step:
        if self._found is not None:
            found, self._found = self._found, None
            return found
        if self._response_id is None:
            response = await self._made()
        else:
            response = await self._look()
        if response.status in _ACTIVE:
            response = await self._polling.until(self._look, lambda seen: seen.status not in _ACTIVE, self._deadline)
        await self._over(response, self._deadline)
        if response.status != "completed":
            return Failed(str(response.status), response.error.message if response.error else "")
        if self._unanswered and self._listener is not None:
            await self._listener.asked(tuple(call.name for call in self._unanswered))
        return Asks(self._unanswered) if self._unanswered else Replied(response.output_text)

    async def _made(self) -> Any:
        """Make a response and return it as it is when it was made, or when its stream has ended."""
        make = self._begin if self._listener is None else self._begin_stream
        begun = await self._call(lambda: self._sent.answer(make()), self._deadline, repeatable=False)
        self._response_id = begun.response.id
        await TRACE.get().runs(begun.response.id)
        if self._listener is None:
            return begun.response
        response = await self._hear(begun, self._listener)
        return response if response.status not in _ACTIVE else await self._look()

    async def _begin(self) -> _Begun:
        return _Begun(await self._create())

    async def _begin_stream(self) -> _Begun:
        stream = await self._create(stream=True)
        while event := await next_event(stream):
            if (response := getattr(event, "response", None)) is not None:
                return _Begun(response, stream)
        upstream = "openai"
        raise Unavailable(upstream, "stream without a response", never_arrived=False)

    async def _hear(self, begun: _Begun, listener: Listener) -> Any:
        """Return the response as it was when its stream ended; a stream that breaks off is no harm, as it goes on."""
        response = begun.response
        with contextlib.suppress(Unavailable):
            async for event in events_of(begun.stream, self._deadline):
                if event.type == "response.output_text.delta":
                    await listener.said(event.delta)
                response = getattr(event, "response", None) or response
        return response

    async def _create(self, **more: Any) -> Any:
        try:
            # What is said in `extra_body` the client sends as it is. Its own arguments it holds against each kind of
            # item and of tool that there is, to see what it has to spell: a quarter of a turn's CPU, for nothing.
            said = {"input": self._said} if self._said else {}
            body = {**self._request, "conversation": self.conversation, **said}
            return await settled(self._api.responses.create(extra_body=body, **more))
        except openai.NotFoundError as missing:
            raise Gone(self.conversation) from missing
        except openai.BadRequestError as bad:
            unanswered = _NO_OUTPUT.search(bad.message)
            if unanswered is None:
                raise
            # What an earlier turn never learned: its response asked for a tool after all. Answered now, with what is
            # said next.
            self._said = [_output_item(unanswered[1], _NEVER_RUN), *self._said]
            return await self._create(**more)

    async def _look(self) -> Any:
        return await self._call(lambda: settled(self._api.responses.retrieve(self._response_id)), self._deadline)

    async def _over(self, response: Any, deadline: Deadline) -> None:
        """Book what it took, and delete it: what was said stays in the conversation, from where it can be erased."""
        self._response_id = None
        asked = (item for item in response.output if item.type == "function_call")
        self._unanswered = tuple(ToolCall(item.call_id, item.name, item.arguments) for item in asked)
        if response.usage is not None:
            usage = Usage(response.model, response.usage.input_tokens, response.usage.output_tokens)
            self._estimate.learn(self._texts(), usage)
            await self._spent(usage)
        else:
            await self._over_without_usage(str(response.model), deadline)
        try:
            await self._call(lambda: settled(self._api.responses.delete(response.id)), deadline)
        except (Unavailable, OutOfTime):
            self._logging.warned("response_not_deleted", id=response.id)
            with contextlib.suppress(Unavailable):  # the reply is there: it is not withheld for what the log has now
                await self._leftovers.add(_LEFTOVER, response.id)
        except openai.NotFoundError:
            pass  # what an earlier attempt came to

    async def _over_without_usage(self, model: str, deadline: Deadline) -> None:
        """Book one that was cancelled or has failed: what it was given the upstream can count, nobody what it wrote.

        It counts before the conversation goes on, as its next turn waits for this one's end.
        """
        prompt_tokens = await self._counted(Deadline.after(self._clock, min(_COUNT_S, deadline.remaining_s())))
        if prompt_tokens is None:
            await self._spent(self._estimate.of(self._texts()))
        else:
            await self._spent(Usage(model, prompt_tokens, 0))
            await self._spent(Usage(model, 0, self._estimate.written(self._texts()), is_estimate=True))

    async def _counted(self, deadline: Deadline) -> int | None:
        """Return how many tokens the model was given, as the upstream counts them; None: it does not say."""

        async def attempt() -> int:
            latest = await settled(self._api.conversations.items.list(self.conversation, order="desc", limit=1))
            # What is said gets into the conversation as it is said, or once it has been answered: who knows.
            is_there = not self._said or any(_says(item, self._said[-1]) for item in latest.data)
            request = {name: self._request[name] for name in _COUNTED}
            given = {} if is_there else {"input": self._said}
            body = {**request, "conversation": self.conversation, **given}
            return int((await settled(self._api.responses.input_tokens.count(extra_body=body))).input_tokens)

        try:
            counted: int = await self._call(attempt, deadline)
        except (Unavailable, OutOfTime, openai.APIStatusError):
            return None
        return counted

    async def _book_unheard(self) -> None:
        """Book one whose answer is lost, if it was made: then its conversation has what was said, and what came of it.

        One that had not been made by now may be made all the same: nobody can find that, and nobody is told its id.
        """
        items = self._api.conversations.items
        deadline = Deadline.after(self._clock, _END_S)
        try:
            page = await self._call(
                lambda: settled(items.list(self.conversation, order="desc", limit=_LATEST)), deadline
            )
        except openai.NotFoundError:
            return
        newest_first = list(page.data)
        at = self._latest_given(newest_first)
        if at is None:
            return
        heard = []
        for item in reversed(newest_first[:at]):
            if item.type == "function_call":
                heard.append(item.name + item.arguments)
            elif item.type == "message" and item.role == "assistant":
                heard.append(_text_of(item))
            else:
                break
        prompt_tokens = await self._counted(deadline) if at == 0 else None
        usage = self._estimate.of(self._texts(), heard or None)
        if prompt_tokens is not None:
            usage = replace(usage, prompt_tokens=prompt_tokens)
        await self._spent(usage)

    def _latest_given(self, newest_first: list[Any]) -> int | None:
        """Return where the latest item is that the response was to answer; None: nothing shows that it was made."""
        if self._said:
            return next((at for at, item in enumerate(newest_first) if _says(item, self._said[-1])), None)
        # A reply that was to be made better: that is the first one to what the user said, and shows by what follows.
        said = (at for at, item in enumerate(newest_first) if item.type == "message" and item.role == "user")
        of_turn = newest_first[: next(said, len(newest_first))]
        replies = [at for at, item in enumerate(of_turn) if item.type == "message"]
        return replies[-1] if replies and replies[-1] > 0 else None

    def _texts(self) -> list[str]:
        return [item.get("content", "") + item.get("output", "") for item in self._said]

    async def _call(self, attempt: Callable[[], Awaitable[Any]], deadline: Deadline, *, repeatable: bool = True) -> Any:
        return await self._retries.call("openai", attempt, deadline, repeatable=repeatable)

    async def give(self, outputs: list[ToolOutput]) -> None:
        self._said = [_output_item(output.call_id, output.text) for output in outputs]
        self._unanswered = ()

    def is_open(self) -> bool:
        return self._sent.is_on_its_way() or self._response_id is not None or bool(self._unanswered)

    async def end(self) -> None:
        await self._end(await self._sent.late_answer())

    def is_unheard(self) -> bool:
        return self._sent.is_on_its_way() or self._sent.is_lost()

    async def hear_out(self, *, patiently: bool) -> None:
        await self._end(await self._sent.last_answer(patiently=patiently))
        if self._sent.is_lost():
            await self._book_unheard()
            self._sent.settle()

    async def write_off(self) -> None:
        if self._response_id is not None or self.is_unheard():
            await self._spent(self._estimate.of(self._texts()))

    async def _end(self, late: _Begun | None) -> None:
        """Cancel what runs, and answer what was asked for: a call without an output would spoil the next turn."""
        if late is not None:
            self._response_id = late.response.id
            if late.stream is not None:
                await late.stream.close()
        deadline = Deadline.after(self._clock, _END_S)
        if self._response_id is not None:
            await self._over(await self._cancelled(self._response_id, deadline), deadline)
        if self._unanswered:
            given = [_output_item(call.id, _NEVER_RUN) for call in self._unanswered]
            items = self._api.conversations.items
            with contextlib.suppress(openai.NotFoundError):
                await self._call(
                    lambda: settled(items.create(self.conversation, items=given)), deadline, repeatable=False
                )
            self._unanswered = ()

    async def _cancelled(self, response_id: str, deadline: Deadline) -> Any:
        async def attempt() -> Any:
            try:
                return await settled(self._api.responses.cancel(response_id))
            except openai.BadRequestError:
                # It has ended by itself.
                return await settled(self._api.responses.retrieve(response_id))

        return await self._call(attempt, deadline)


def _says(item: Any, said: dict[str, Any]) -> bool:
    """Return whether an item of a conversation is what was said there."""
    if item.type != said["type"]:
        return False
    if item.type == "function_call_output":
        return bool(item.call_id == said["call_id"])
    return bool(item.role == said["role"] and _text_of(item) == said["content"])


def _text_of(message: Any) -> str:
    return "".join(part.text for part in message.content if part.type in ("input_text", "output_text"))


def _message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def _output_item(call_id: str, text: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": text}
