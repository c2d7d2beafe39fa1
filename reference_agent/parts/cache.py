"""Must a question be worked out again that has been answered before?"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import zoneinfo
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any, Protocol

from reference_agent.cache_levels import Kept, Level, Levels
from reference_agent.caller import CALLER, Caller
from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Lease, Outcome
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.parts.persona import Persona
from reference_agent.redaction import redacted_text
from reference_agent.settings import Settings


@dataclass(frozen=True)
class Question:
    """What is to be answered, and to whom."""

    user: str
    text: str
    caller: Caller
    deadline: Deadline


class Cache(Protocol):
    """Stands before the model, and before each tool."""

    async def reply(
        self,
        question: Question,
        lease: Lease,
        generate: Callable[[], Awaitable[Outcome]],
        remember: Callable[[str], Awaitable[None]],
    ) -> Outcome:
        """Return the answer to a question.

        Args:
            question: what is asked.
            lease: the conversation in which it is asked; what has been said in it is brought up to date.
            generate: asks the model.
            remember: adds the question and this reply to the conversation, without asking the model.
        """
        ...

    async def tool(
        self,
        name: str,
        arguments: dict[str, Any],
        keeps_s: float,
        deadline: Deadline,
        run: Callable[[], Awaitable[str]],
    ) -> str:
        """Return what a tool says.

        Args:
            name: of the tool.
            arguments: it is asked with.
            keeps_s: seconds for which it would say the same again; 0: not at all.
            deadline: of the call.
            run: runs the tool.
        """
        ...

    async def erase(self, user_id: str) -> list[str]:
        """Forget what was worked out for a user; return what is left of it."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class DocumentedCache:
    """None: every question costs again."""

    async def reply(
        self,
        question: Question,
        lease: Lease,
        generate: Callable[[], Awaitable[Outcome]],
        remember: Callable[[str], Awaitable[None]],
    ) -> Outcome:
        lease.said = None
        return await generate()

    async def tool(
        self,
        name: str,
        arguments: dict[str, Any],
        keeps_s: float,
        deadline: Deadline,
        run: Callable[[], Awaitable[str]],
    ) -> str:
        return await run()

    async def erase(self, user_id: str) -> list[str]:
        return []

    async def close(self) -> None:
        pass


class ProposedCache(DocumentedCache):
    """User and hash of the message, for everything: memory five minutes, then Redis an hour, then the database.

    The time of day comes from the cache, and so does an answer that was right before the user said something else.
    The conversation never learns what was answered from here, and an erased user's answers stay. That the levels
    below have nothing is kept in memory as well, so that for five minutes what another replica has worked out is not
    found. Memory only ever grows, and questions that come together are all worked out.
    """

    needs_loop = True

    def __init__(self, clock: Clock, cache_levels: list[Level], logging: Logging) -> None:
        self._clock = clock
        self._memory: dict[str, tuple[str | None, float]] = {}
        self._below = Levels(cache_levels[1:], clock, _noting(logging))

    async def reply(
        self,
        question: Question,
        lease: Lease,
        generate: Callable[[], Awaitable[Outcome]],
        remember: Callable[[str], Awaitable[None]],
    ) -> Outcome:
        lease.said = None
        key = f"{question.user}:{hashlib.md5(question.text.encode(), usedforsecurity=False).hexdigest()}"
        known = await self._known(key)
        if known is not None:
            return Outcome(known)
        outcome = await generate()
        self._memory[key] = (outcome.reply, self._clock.wall() + _PROPOSED_MEMORY_S)
        await self._below.put(key, Kept(outcome.reply, _FOR_GOOD))
        return outcome

    async def _known(self, key: str) -> str | None:
        if key in self._memory:
            text, until = self._memory[key]
            if until > self._clock.wall():
                return text
        kept, _ = await self._below.get(key)
        text = kept.text if kept else None
        self._memory[key] = (text, self._clock.wall() + _PROPOSED_MEMORY_S)
        return text

    async def close(self) -> None:
        await self._below.close()


_PROPOSED_MEMORY_S = 300.0
_FOR_GOOD = 1e12  # seconds since 1970


_TOOL_TEXTS = 2000  # what tools have said of late, remembered to tell what a reply was made of; 300 bytes each
_NOT_KEPT = 2000  # questions whose answers turned out not to be keepable; 100 bytes each
_NOT_KEPT_S = 300.0
_PATIENCE = 0.5
"""For this share of the time left somebody who asks the same is waited for; then it is worked out all the same."""
_ABOUT_ONESELF = re.compile(
    r"\b(?:"
    r"i|me|my|mine|myself|we|our|ours"
    r"|ich|mich|mir|meine?[mnrs]?|wir|uns|unsere?[mnrs]?"
    r"|je|moi|mon|ma|mes|mien(?:ne)?s?|nous|notre|nos|[jm](?=['’])"
    # Spanish leaves the pronoun out: verbs tell.
    r"|yo|mi|mis|mí|mí[oa]s?|conmigo|nosotr[oa]s|nuestr[oa]s?"
    r"|soy|estoy|somos|estamos|tengo|tenemos|vivo|vivimos|voy|he|hago|quiero|puedo|trabajo|llamo|siento|nací"
    r")\b"
    r"|私|わたし|僕|ぼく|俺|自分|うち(?:の|は)"
    r"|나(?:는|의|를|한테)|내(?:가)?\s|제(?:가)?\s|저(?:는|의|를)",
    re.I,
)
"""Words in which people speak of themselves, in every language that is spoken. Some mean something else as well, as
`mes` and `he` do: then an answer is worked out that need not have been."""


class HardenedCache:
    """Says again only what the model would be asked again in the very same words, and tools what is still true.

    *Replies.* What the model says depends on all that was said before. A reply is therefore only taken from the cache
    where nothing has been said in the conversation yet, or nothing but this very question; for the same model,
    persona and language; not where a tool was used whose answer is another one by now (the time, above all: each
    tool says how long it holds), not where something was said in the model's place, and not where people speak of
    themselves. The conversation is told what was answered, so that it can be talked about.

    *Tools.* The weather of a city is the same for everybody, whatever they talked about before: for a few minutes it is
    not asked for again, within the caller's day: what is told of today is over at midnight.

    Questions that come together are worked out once, and by everybody themselves when it turns out that they cannot
    share. That is so in each process: a question that comes to N replicas in the same moment is worked out N times at
    most. To have it worked out once, every question that is not known would have to take a lease in the session store
    and give it back, two writes, to spare N - 1 answers in the rare moment in which they come together.

    Memory, then Redis, then a database, each bounded in time and size; one that is down has nothing.
    """

    needs_loop = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        cache_levels: list[Level],
        persona: Persona,
        logging: Logging,
        metrics: Metrics,
    ) -> None:
        self._clock = clock
        self._levels = Levels(cache_levels, clock, _noting(logging))
        self._logging = logging
        self._metrics = metrics
        self._about_us = (settings.model, persona.instructions())
        self._database_s = settings.cache_database_s
        self._flights: dict[str, asyncio.Future[None]] = {}
        self._not_kept: OrderedDict[str, float] = OrderedDict()
        self._tool_texts: OrderedDict[str, float] = OrderedDict()

    async def reply(
        self,
        question: Question,
        lease: Lease,
        generate: Callable[[], Awaitable[Outcome]],
        remember: Callable[[str], Awaitable[None]],
    ) -> Outcome:
        said, lease.said = lease.said, None
        key = _key("reply", *self._about_us, question.caller.language, question.text)
        if said not in ("", key) or _is_personal(question.text):
            return await generate()
        async with self._looking(key, question.deadline) as (kept, level):
            self._metrics.looked_up("reply", level)
            if kept is None:
                outcome = await generate()
                until = self._keeps_until(outcome)
                if until > self._clock.wall():
                    await self._levels.put(key, Kept(outcome.reply, until, _pseudonym(question.user)))
                    lease.said = key
                else:
                    self._will_not_keep(key)
                return outcome
        lease.said = said
        if said == "":
            lease.said = await self._remembered(remember, kept.text, key)
        return Outcome(kept.text)

    async def tool(
        self,
        name: str,
        arguments: dict[str, Any],
        keeps_s: float,
        deadline: Deadline,
        run: Callable[[], Awaitable[str]],
    ) -> str:
        if keeps_s <= 0:
            return await run()
        caller = CALLER.get()
        now = datetime.fromtimestamp(self._clock.wall(), zoneinfo.ZoneInfo(caller.time_zone))
        key = _key("tool", name, json.dumps(arguments, sort_keys=True), caller.language, now.date().isoformat())
        async with self._looking(key, deadline) as (kept, level):
            self._metrics.looked_up("tool", level)
            if kept is None:
                until = min(self._clock.wall() + keeps_s, _midnight_after(now))
                kept = Kept(await run(), until)
                await self._levels.put(key, kept)
        _note_down(self._tool_texts, _key(name, kept.text), kept.until, _TOOL_TEXTS)
        return kept.text

    async def erase(self, user_id: str) -> list[str]:
        return [] if await self._levels.forget(_pseudonym(user_id)) else ["cache"]

    async def close(self) -> None:
        await self._levels.close()

    @asynccontextmanager
    async def _looking(self, key: str, deadline: Deadline) -> AsyncIterator[tuple[Kept | None, str]]:
        """Look a key up, and when it is not there, be the only one to work it out, as long as the context lasts."""
        give_up_at = self._clock.now() + deadline.remaining_s() * _PATIENCE
        while (flight := self._flights.get(key)) and not self._is_not_kept(key) and self._clock.now() < give_up_at:
            await asyncio.wait({flight}, timeout=give_up_at - self._clock.now())
        ours = None
        if key not in self._flights and not self._is_not_kept(key):
            ours = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            yield await self._levels.get(key)
        finally:
            if ours is not None:
                del self._flights[key]
                ours.set_result(None)

    async def _remembered(self, remember: Callable[[str], Awaitable[None]], reply: str, key: str) -> str | None:
        """Tell the conversation what was answered; return what has been said in it then."""
        try:
            await remember(reply)
        except (Unavailable, OutOfTime) as failure:
            # An answer that will have been forgotten is better than none while the model's upstream is down.
            self._logging.warned("answer_not_remembered", reason=type(failure).__name__)
            return "" if getattr(failure, "never_arrived", False) else None
        return key

    def _keeps_until(self, outcome: Outcome) -> float:
        """Return until when a reply may be said again; a moment that has passed: not at all."""
        if not outcome.repeatable:
            return 0.0
        until = self._clock.wall() + self._database_s
        for output in outcome.outputs:
            # What was said in a failed tool's place is not among what tools have said.
            until = min(until, self._tool_texts.get(_key(output.name, output.text), 0.0))
        return until

    def _will_not_keep(self, key: str) -> None:
        _note_down(self._not_kept, key, self._clock.now() + _NOT_KEPT_S, _NOT_KEPT)

    def _is_not_kept(self, key: str) -> bool:
        return self._not_kept.get(key, 0.0) > self._clock.now()


def _midnight_after(moment: datetime) -> float:
    return datetime.combine(moment.date() + timedelta(days=1), time.min, moment.tzinfo).timestamp()


def _is_personal(text: str) -> bool:
    return _ABOUT_ONESELF.search(text) is not None or redacted_text(text) != text


def _note_down(notes: OrderedDict[str, float], key: str, until: float, most: int) -> None:
    notes[key] = until
    notes.move_to_end(key)
    if len(notes) > most:
        notes.popitem(last=False)


def _key(*of: str) -> str:
    return hashlib.sha256("\0".join(of).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _pseudonym(user_id: str) -> str:
    return _key("user", user_id)


def _noting(logging: Logging) -> Callable[[str, Exception], None]:
    return lambda level, failure: logging.warned("cache_level_down", level=level, reason=type(failure).__name__)


VARIANTS = {"documented": DocumentedCache, "proposed": ProposedCache, "hardened": HardenedCache}
