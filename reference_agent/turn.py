"""What happens between what a user says and what they hear? The way of one turn through all parts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from reference_agent.caller import CALLER, Caller, Hints
from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Engine, Generation, Listener, Outcome
from reference_agent.errors import Gone, OutOfTime
from reference_agent.parts.audio import Audio, Speech
from reference_agent.parts.cache import Cache, Question
from reference_agent.parts.cost import Cost
from reference_agent.parts.emotion import Emotion
from reference_agent.parts.input_guard import InputGuard
from reference_agent.parts.locale import Locale
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.parts.persona import Persona
from reference_agent.parts.polling import Polling
from reference_agent.parts.rate_limit import RateLimit
from reference_agent.parts.sessions import Sessions
from reference_agent.parts.speech_text import SpeechText
from reference_agent.parts.tool_loop import ToolLoop
from reference_agent.parts.turn_order import TurnOrder
from reference_agent.reading import Reader, Reading
from reference_agent.settings import Settings
from reference_agent.trace import TRACE, Left

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What the user gets: a reply, and the reply spoken."""

    reply: str
    speech: Speech | None
    """None: the speech server is down, and the reply has to do."""


_NO_HINTS = Hints()
_ANOTHER_REPLY = "another reply"


class Turn:
    """The turn. It never asks which variant of a part it has."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        logging: Logging,
        metrics: Metrics,
        input_guard: InputGuard,
        rate_limit: RateLimit,
        locale: Locale,
        persona: Persona,
        turn_order: TurnOrder,
        sessions: Sessions,
        engine: Engine,
        polling: Polling,
        tool_loop: ToolLoop,
        speech_text: SpeechText,
        emotion: Emotion,
        audio: Audio,
        cost: Cost,
        cache: Cache,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._logging = logging
        self._metrics = metrics
        self._input_guard = input_guard
        self._rate_limit = rate_limit
        self._locale = locale
        self._persona = persona
        self._turn_order = turn_order
        self._sessions = sessions
        self._engine = engine
        self._polling = polling
        self._tool_loop = tool_loop
        self._speech_text = speech_text
        self._emotion = emotion
        self._audio = audio
        self._cost = cost
        self._cache = cache

    async def answer(self, user_id: object, message: object, hints: Hints = _NO_HINTS) -> Answer:
        """Return the answer to one message of one user.

        Args:
            user_id: who says it; what is no text is for the input guard to refuse.
            message: what is said.
            hints: what else the request says of its caller.

        Raises:
            AgentError: it cannot be answered; see `errors.py`.
        """
        deadline = Deadline.after(self._clock, self._settings.turn_s)

        async def speak(user: str, text: str, caller: Caller) -> Answer:
            outcome = await self._outcome(user, text, caller, deadline.earlier_by(self._settings.speech_reserve_s))
            self._logging.said(user, outcome.reply)
            self._metrics.played(user, (output.name for output in outcome.outputs))
            pieces = self._speech_text.pieces(outcome.reply, caller.language)
            mood = self._emotion.vector(_analysis(outcome))
            speech = await self._audio.speak(pieces, mood, caller.language, deadline)
            if speech is not None:
                try:
                    await self._cost.spoke(user, sum(map(len, pieces)))
                except BaseException:
                    await speech.aclose()  # nobody will listen: a caller who has left, above all
                    raise
            return Answer(outcome.reply, speech)

        return await self._admitted(user_id, message, hints, speak)

    async def write(self, user_id: object, message: object, hints: Hints, reader: Reader) -> str:
        """Show somebody the answer while it is being made, and return it as it was shown in the end; nothing is spoken.

        Args and raises as `answer`.
        """
        deadline = Deadline.after(self._clock, self._settings.turn_s)

        async def show(user: str, text: str, caller: Caller) -> str:
            reading = Reading(reader, self._persona, caller)
            outcome = await self._outcome(user, text, caller, deadline, reading)
            self._logging.said(user, outcome.reply)
            self._metrics.played(user, (output.name for output in outcome.outputs))
            await reading.is_over(outcome.reply)
            return outcome.reply

        return await self._admitted(user_id, message, hints, show)

    async def _admitted(
        self, user_id: object, message: object, hints: Hints, play: Callable[[str, str, Caller], Awaitable[T]]
    ) -> T:
        """Play a turn for somebody who is let in. No context: a generator for one would be 2 us of a refusal."""
        if hints.by_unknown_proxy:
            # Whoever wonders why all are refused together finds it here: AGENT_TRUSTED_PROXIES is to be set.
            self._metrics.noticed("proxy_not_trusted")
        with self._metrics.turn():
            user, text = self._input_guard.check(user_id, message)
            standing = await self._sessions.standing(user)
            async with self._rate_limit.admit(user, standing, hints.address):
                self._logging.heard(user, text)
                await self._cost.allow(user)
                caller = self._locale.caller(text, hints, user)
                CALLER.set(caller)
                self._metrics.heard(text, caller)
                return await play(user, text, caller)

    async def give_up(self, user_id: str, text: str, left: Left) -> None:
        """End upstream what an attempt has left running and nobody will go on with; what it took is booked."""
        generation = self._engine.generation(
            left.conversation,
            Deadline.after(self._clock, self._settings.openai_call_s),
            functools.partial(self._cost.thought, user_id),
        )
        async with self._polling.watching(generation):
            with contextlib.suppress(Gone):
                await generation.resume(left.generation, text)

    async def _outcome(
        self, user: str, text: str, caller: Caller, deadline: Deadline, listener: Listener | None = None
    ) -> Outcome:
        trace = TRACE.get()
        if reply := trace.known_reply():
            return Outcome(reply)
        outcome = await self._think(user, text, caller, deadline, listener)
        await trace.replied(outcome.reply)
        return outcome

    async def _think(
        self, user: str, text: str, caller: Caller, deadline: Deadline, listener: Listener | None
    ) -> Outcome:
        async with self._turn_order.turn_of(user, deadline):
            try:
                return await self._think_in_conversation(user, text, caller, deadline, listener)
            except Gone:
                # Deleted upstream behind our back, before anything was said in it: once more, in a new one.
                return await self._think_in_conversation(user, text, caller, deadline, listener)

    async def _think_in_conversation(
        self, user: str, text: str, caller: Caller, deadline: Deadline, listener: Listener | None
    ) -> Outcome:
        async with self._sessions.lease(user, deadline) as lease:
            conversation = lease.conversation

            async def generate() -> Outcome:
                begin = self._clock.now()
                outcome = await self._generate(user, conversation, text, deadline, listener)
                took_s = self._clock.now() - begin
                if not outcome.reply.strip():
                    outcome.repeatable = False

                async def again(order: str) -> str:
                    outcome.repeatable = False
                    # A reply that would come too late, or that nobody wants to pay for, is better not asked for.
                    if deadline.remaining_s() < took_s:
                        raise OutOfTime(_ANOTHER_REPLY)
                    await self._cost.allow(user)
                    return (await self._generate(user, conversation, text, deadline, order=order)).reply

                outcome.reply = await self._persona.in_character(outcome.reply, caller, again)
                return outcome

            async def remember(reply: str) -> None:
                await self._engine.remember(conversation, text, reply, deadline)

            if TRACE.get().goes_on_in(conversation):
                # The question is under way upstream already, whatever anybody has found out meanwhile.
                lease.said = None
                return await generate()
            return await self._cache.reply(Question(user, text, caller, deadline), lease, generate, remember)

    async def _generate(
        self,
        user: str,
        conversation: str,
        text: str,
        deadline: Deadline,
        listener: Listener | None = None,
        order: str = "",
    ) -> Outcome:
        spent = functools.partial(self._cost.thought, user)
        generation = self._engine.generation(conversation, deadline, spent, listener)
        async with self._polling.watching(generation):
            try:
                await self._begin(generation, text, order)
                return await self._tool_loop.run(generation, deadline)
            except asyncio.CancelledError:
                if not TRACE.get().is_ours:
                    generation.disown()
                raise

    async def _begin(self, generation: Generation, text: str, order: str) -> None:
        trace = TRACE.get()
        left = trace.take_left(generation.conversation)
        if left is not None:
            try:
                await generation.resume(left.generation, text)
            except Gone:
                pass  # nothing came of it: what was said is said again
            else:
                return
        await trace.speaks(generation.conversation)
        await (generation.begin_again(order) if order else generation.begin(text))


def _analysis(outcome: Outcome) -> str | None:
    """Return the last emotion analysis of the turn: it colours the speech."""
    return next((output.text for output in reversed(outcome.outputs) if output.name == "analyze_emotion"), None)
