"""How is a turn played on threads and runs (Assistants v2)?

Shut down at OpenAI on 2026-08-26, alive on compatible servers; what the documented agent speaks.
"""

from __future__ import annotations

import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeVar

import openai

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Asks, Failed, Generation, Listener, Replied, Spent, Step, ToolOutput
from reference_agent.engines.assistants_api import ACTIVE, AssistantsApi, RunSeen, heard
from reference_agent.engines.estimate import BookedOnce, Estimate
from reference_agent.engines.sent import Sent
from reference_agent.engines.stream import events_of, next_event
from reference_agent.errors import Gone, OutOfTime, Unavailable
from reference_agent.parts.assistant import Assistant
from reference_agent.parts.polling import Polling
from reference_agent.parts.retries import Retries
from reference_agent.settings import Settings
from reference_agent.trace import TRACE

T = TypeVar("T")

_ACTIVE_RUN = re.compile(r"while a run (run_\w+) is active")
_END_S = 3.0  # one attempt at ending a run
_FIGURES_S = 2.0  # for what the upstream is asked for the sake of a figure; the conversation's next turn may be waiting
_GIVEN = 100  # messages that a page has at most; more of them are hardly given to the model
_EMPTY = 1000  # threads that are known to be empty, at most
_LOOK_S = 0.1  # between looks at a run that is being cancelled


class AssistantsEngine:
    """A conversation is a thread; a generation is a run."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        assistants_api: AssistantsApi,
        assistant: Assistant,
        retries: Retries,
        polling: Polling,
    ) -> None:
        self._call_s = settings.openai_call_s
        self._estimate = Estimate(settings.model)
        self._booked = BookedOnce()
        self._empty: OrderedDict[str, None] = OrderedDict()
        """Threads of ours in which nothing has been said yet, oldest first."""
        self._clock = clock
        self._api = assistants_api
        self._api.load()
        self._assistant = assistant
        self._retries = retries
        self._polling = polling

    async def warm_up(self) -> None:
        await self._assistant.warm_up()

    async def open_conversation(self, deadline: Deadline) -> str:
        thread = await self._retries.call("openai", self._api.create_thread, deadline, repeatable=False)
        self._empty[thread] = None
        if len(self._empty) > _EMPTY:
            self._empty.popitem(last=False)
        return thread

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        await self._polling.over_in(conversation)  # without its thread, a run that goes on cannot be ended

        async def attempt() -> None:
            with contextlib.suppress(Gone):  # what an earlier attempt came to, perhaps
                await self._api.delete_thread(conversation)

        await self._retries.call("openai", attempt, deadline, repeatable=True)

    async def remember(self, conversation: str, said: str, reply: str, deadline: Deadline) -> None:
        self._empty.pop(conversation, None)
        await self._retries.call(
            "openai", lambda: self._api.add_message(conversation, said), deadline, repeatable=False
        )
        await self._retries.call(
            "openai", lambda: self._api.add_message(conversation, reply, "assistant"), deadline, repeatable=False
        )

    def is_ready(self) -> bool:
        return self._assistant.is_ready()

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> Generation:
        run = _Run(
            conversation,
            deadline,
            spent,
            self._clock,
            self._api,
            self._assistant,
            self._retries,
            self._polling,
            Sent(self._call_s, self._polling.leaving, is_carried_through=self._polling.carries_through),
            self._estimate,
            self._booked,
            conversation in self._empty,
            listener,
        )
        self._empty.pop(conversation, None)
        return run


class _Begun(NamedTuple):
    """A run that has been started."""

    run: RunSeen
    stream: Any = None
    """What it tells further; None: it has to be looked at."""


class _Run:
    def __init__(
        self,
        conversation: str,
        deadline: Deadline,
        spent: Spent,
        clock: Clock,
        api: AssistantsApi,
        assistant: Assistant,
        retries: Retries,
        polling: Polling,
        sent: Sent[_Begun],
        estimate: Estimate,
        booked: BookedOnce,
        is_first: bool,
        listener: Listener | None,
    ) -> None:
        self._sent = sent
        self._estimate = estimate
        self._booked = booked
        self._is_first = is_first
        self._said = ""
        self._order = ""
        self._outputs: list[str] = []
        self._latest: list[str] = []
        self._given: list[str] = []
        """What was said and what tools said, once for each answer that was to be made of it."""
        self._answers = 0
        """How many the model has been asked for."""
        self._listener = listener
        self._stream: Any = None
        self.conversation = conversation
        self._deadline = deadline
        self._spent = spent
        self._clock = clock
        self._api = api
        self._assistant = assistant
        self._retries = retries
        self._polling = polling
        self._run_id: str | None = None
        self._may_be_open = False

    async def begin(self, text: str) -> None:
        self._said = text
        self._latest = [text]
        self._is_asked()
        assistant_id = await self._assistant.id(self._deadline)
        # A message that arrives twice would be answered twice as one; a run that is started twice costs twice.
        try:
            await self._call(lambda: self._api.add_message(self.conversation, text), repeatable=False)
        except openai.BadRequestError as bad:
            await self._end_orphan(bad)
            await self._call(lambda: self._api.add_message(self.conversation, text), repeatable=False)
        await self._start_anew(assistant_id)

    async def begin_again(self, order: str) -> None:
        self._order = order
        self._is_asked()
        await self._start_anew(await self._assistant.id(self._deadline))

    async def _start_anew(self, assistant_id: str) -> None:
        try:
            await self._start(assistant_id)
        except Gone:
            # The thread has just taken a message, or given one: it is the assistant that is gone.
            self._assistant.is_gone(assistant_id)
            await self._start(await self._assistant.id(self._deadline))

    async def _end_orphan(self, refusal: openai.BadRequestError) -> None:
        """End the run for which a message was refused: a user's turns take turns, so that whoever began it has died."""
        orphan = _ACTIVE_RUN.search(refusal.message)
        if orphan is None or not self._polling.ends_orphans:
            raise refusal
        await self._over(await self._cancel(orphan[1], self._deadline))

    async def _start(self, assistant_id: str) -> None:
        self._may_be_open = True
        start = self._begin if self._listener is None else self._begin_stream
        try:
            begun = await self._call(lambda: self._sent.answer(start(assistant_id)), repeatable=False)
        except (Gone, openai.APIStatusError):
            self._may_be_open = False
            raise
        except Unavailable as failure:
            self._may_be_open = not failure.never_arrived
            raise
        self._run_id, self._stream = begun.run.id, begun.stream
        await TRACE.get().runs(begun.run.id)

    async def _begin(self, assistant_id: str) -> _Begun:
        return _Begun(await self._api.create_run(self.conversation, assistant_id, self._order))

    async def _begin_stream(self, assistant_id: str) -> _Begun:
        stream = await self._api.stream_run(self.conversation, assistant_id)
        while event := await next_event(stream):
            if isinstance(run := heard(event), RunSeen):
                return _Begun(run, stream)
        upstream = "openai"
        raise Unavailable(upstream, "stream without a run", never_arrived=False)

    async def resume(self, generation: str, text: str) -> None:
        if not generation:
            found = await self._run_of(text)
            if found is None:
                return
            generation = found
        run = await self._call(lambda: self._api.look_at_run(self.conversation, generation), repeatable=True)
        if run.status not in ACTIVE and run.status != "completed":
            raise Gone(generation)
        self._run_id = run.id
        self._may_be_open = True

    async def _run_of(self, text: str) -> str | None:
        """Return the run that works, or has worked, on what was said; None: there was none, and now there is one."""
        # A user's turns take turns: a run that is active was begun for this one.
        for run in await self._call(lambda: self._api.active_runs(self.conversation), repeatable=True):
            return run.id
        reply, said = "", ""
        for message in await self._call(lambda: self._api.latest_messages(self.conversation), repeatable=True):
            if message.role == "user":
                said = message.text
                break
            reply = message.run_id or reply
        if said != text:
            raise Gone(self.conversation)
        if not reply:
            await self._start(await self._assistant.id(self._deadline))
        return reply or None

    def disown(self) -> None:
        self._sent.disown()
        self._may_be_open = False

    async def next(self) -> Step:
        run = await self._hear(self._listener) if self._listener is not None and self._stream is not None else None
        if run is None:
            run = await self._polling.until(self._look, _wants_something, self._deadline)
        if run.status == "requires_action":
            if self._listener is not None:
                await self._listener.asked(tuple(call.name for call in run.calls))
            return Asks(run.calls)
        await self._over(run)
        if run.usage is not None and run.status == "completed" and self._answers:
            said = [self._said, *self._outputs]
            self._estimate.learn(self._given, run.usage, latest=said, answers=self._answers, is_all=self._is_first)
        if run.status != "completed":
            return Failed(run.status, run.error)
        return Replied(await self._call(lambda: self._api.reply(self.conversation, run.id), repeatable=True))

    async def _hear(self, listener: Listener) -> RunSeen | None:
        """Return the run as it was when its stream ended; None: it broke off, and the run goes on."""
        stream, self._stream = self._stream, None
        run = None
        try:
            async for event in events_of(stream, self._deadline):
                told = heard(event)
                if isinstance(told, RunSeen):
                    run = told
                elif told:
                    await listener.said(told)
        except Unavailable:
            return None
        return run if run is not None and _wants_something(run) else None

    async def give(self, outputs: list[ToolOutput]) -> None:
        run_id = self._id()
        self._latest = [output.text for output in outputs]
        self._outputs += self._latest
        self._is_asked()
        if self._listener is None:
            await self._call(lambda: self._api.submit_outputs(self.conversation, run_id, outputs), repeatable=False)
        else:
            stream_outputs = self._api.stream_outputs
            self._stream = await self._call(
                lambda: stream_outputs(self.conversation, run_id, outputs), repeatable=False
            )

    def _is_asked(self) -> None:
        self._answers += 1
        self._given += [self._said, *self._outputs]

    def is_open(self) -> bool:
        return self._may_be_open

    def is_unheard(self) -> bool:
        return self._sent.is_on_its_way()

    async def hear_out(self, *, patiently: bool) -> None:
        late = await self._sent.last_answer(patiently=patiently)
        # Without an answer there is nothing to go by: its thread was looked into, and is another turn's by now. Should
        # there be a run after all, that turn is refused because of it, and ends it.
        if late is not None or self._may_be_open:
            self._may_be_open = True
            await self._end(late)

    async def write_off(self) -> None:
        if (self._may_be_open or self.is_unheard()) and (self._run_id is None or self._booked.is_first(self._run_id)):
            await self._spent(self._estimate.of([self._said, *self._outputs], latest=self._latest))

    async def end(self) -> None:
        await self._end(await self._sent.late_answer())

    async def _end(self, late: _Begun | None) -> None:
        if late is not None:
            self._run_id, self._stream = late.run.id, late.stream
        deadline = Deadline.after(self._clock, _END_S)
        if self._stream is not None:
            await self._stream.close()
            self._stream = None
        if self._run_id is not None:
            runs = [self._run_id]
        else:
            # The answer to its creation is lost: whether there is a run, only its thread knows.
            found = await self._retries.call(
                "openai", lambda: self._api.active_runs(self.conversation), deadline, repeatable=True
            )
            runs = [run.id for run in found]
            if not runs and (ended := await self._ended_run(deadline)):
                runs = [ended]
        for run_id in runs:
            await self._over(await self._cancel(run_id, deadline))
        self._may_be_open = False

    async def _cancel(self, run_id: str, deadline: Deadline) -> RunSeen:
        async def attempt() -> RunSeen:
            try:
                return await self._api.cancel_run(self.conversation, run_id)
            except openai.BadRequestError:
                # "Cannot cancel run with status ...": it has ended by itself, or is being cancelled already.
                return await self._api.look_at_run(self.conversation, run_id)

        run = await self._retries.call("openai", attempt, deadline, repeatable=True)
        while run.status in ACTIVE:
            # Until it has ended, its thread takes no message.
            await self._clock.sleep(min(_LOOK_S, deadline.remaining_s()))
            run = await self._retries.call(
                "openai", lambda: self._api.look_at_run(self.conversation, run_id), deadline, repeatable=True
            )
        return run

    async def _ended_run(self, deadline: Deadline) -> str | None:
        """Return the run that has answered what was said, where nobody was told of it."""
        reply = ""
        for message in await self._retries.call(
            "openai", lambda: self._api.latest_messages(self.conversation), deadline, repeatable=True
        ):
            if message.role == "user":
                return reply or None if message.text == self._said else None
            reply = message.run_id or reply
        return None

    async def _over(self, run: RunSeen) -> None:
        self._may_be_open = False
        if not self._booked.is_first(run.id):
            return
        if run.usage is not None and run.usage.prompt_tokens:
            await self._spent(run.usage)
        elif run.status == "cancelled":
            # A run tells what it took, also of the answer that it was at; this one has nothing to tell.
            said = [*await self._said_in_thread(), *self._outputs]
            await self._spent(self._estimate.of(said, latest=self._latest))

    async def _said_in_thread(self) -> list[str]:
        """Return what the model was given of the conversation, or what of that is known."""
        deadline = Deadline.after(self._clock, _FIGURES_S)
        try:
            messages = await self._retries.call(
                "openai", lambda: self._api.latest_messages(self.conversation, _GIVEN), deadline, repeatable=True
            )
        except (Unavailable, OutOfTime, Gone, openai.APIStatusError):
            return [self._said]
        return [message.text for message in messages]

    async def _look(self) -> RunSeen:
        run_id = self._id()
        return await self._call(lambda: self._api.look_at_run(self.conversation, run_id), repeatable=True)

    async def _call(self, attempt: Callable[[], Awaitable[T]], *, repeatable: bool) -> T:
        return await self._retries.call("openai", attempt, self._deadline, repeatable=repeatable)

    def _id(self) -> str:
        assert self._run_id is not None
        return self._run_id


def _wants_something(run: RunSeen) -> bool:
    return run.status == "requires_action" or run.status not in ACTIVE
