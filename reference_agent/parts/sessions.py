"""Which conversation is a user's, and how many conversations are kept alive?"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Engine
from reference_agent.errors import Gone, OutOfTime, Refused, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.parts.rate_limit import Standing
from reference_agent.settings import Settings


class Sessions(Protocol):
    """Remembers whose conversation is whose."""

    def standing(self, user_id: str) -> Standing:
        """Return whether a conversation of this user is alive."""
        ...

    def lease(self, user_id: str, deadline: Deadline) -> AbstractAsyncContextManager[str]:
        """Return the context of one turn in the user's conversation; enters with its id, creates it on first sight.

        Raises:
            Refused: there is no room for another conversation.
        """
        ...

    async def start(self) -> None:
        """Begin to keep house."""
        ...

    async def close(self) -> None:
        """Stop keeping house."""
        ...


THREADS: dict[str, str] = {}
"""User id to thread id, process-wide: grows with every id ever seen, forgotten at every restart."""


class DocumentedSessions:
    """A dict. Two requests of a new user at once both create a thread; nothing is ever deleted."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def standing(self, user_id: str) -> Standing:
        return "returning" if user_id in THREADS else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[str]:
        if user_id not in THREADS:
            THREADS[user_id] = await self._engine.open_conversation(deadline)
        yield THREADS[user_id]

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


class ProposedSessions:
    """An ordered dict with a bound and a life of 24 hours, as it was proposed: three holes and a leak.

    It makes room before it looks whether the user is known, so that somebody known is thrown out for nothing; it never
    notes that somebody came back, so that the oldest friend goes first; it creates twice for two requests at once. What
    it throws out stays alive upstream.
    """

    def __init__(self, settings: Settings, clock: Clock, engine: Engine) -> None:
        self._most = settings.max_conversations
        self._clock = clock
        self._engine = engine
        self._threads: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def standing(self, user_id: str) -> Standing:
        return "returning" if user_id in self._threads else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[str]:
        if len(self._threads) >= self._most:
            self._threads.popitem(last=False)
        conversation, created_at = self._threads.get(user_id, ("", 0.0))
        if not conversation or self._clock.now() - created_at > _PROPOSED_LIFE_S:
            conversation = await self._engine.open_conversation(deadline)
            self._threads[user_id] = (conversation, self._clock.now())
        yield conversation

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


_PROPOSED_LIFE_S = 24 * 3600.0


@dataclass
class _Session:
    user_id: str
    conversation: str
    turns: int
    last_turn_at: float


_PROTECTED_SHARE = 0.9  # of all places; the rest is always open to somebody new
_KEEP_HOUSE_S = 1.0
_DELETE_S = 3.0
_LOST_S = 60.0
_LOST_SHARE = 0.25
"""How long, and for what share of all places at most, a place is kept for a conversation whose creation was not
answered. It may exist upstream, under a name that we were never told; there is no way to ask. Without an end, an outage
would use up all places."""


class HardenedSessions:
    """Never more conversations alive upstream than declared; a flood of new ids only ever displaces itself.

    Two segments, as in a segmented LRU cache: a user seen once is on probation, one who came back is protected. Room
    is made by deleting (upstream too) the oldest one on probation. A place is taken before a conversation is created
    and given back after it is deleted, so that the bound holds at every moment, not on average. One creation per user
    at a time; a creation is finished even when its caller hangs up, so that no conversation is lost sight of.
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, engine: Engine, logging: Logging) -> None:
        self._settings = settings
        self._clock = clock
        self._engine = engine
        self._logging = logging
        self._places_free = settings.max_conversations
        self._protected_most = max(
            1, min(settings.max_conversations - 1, int(settings.max_conversations * _PROTECTED_SHARE))
        )
        self._probation: OrderedDict[str, _Session] = OrderedDict()
        self._protected: OrderedDict[str, _Session] = OrderedDict()
        self._in_use: Counter[str] = Counter()
        self._creating: dict[str, asyncio.Task[None]] = {}
        self._condemned: OrderedDict[str, None] = OrderedDict()
        """Conversations that are to be deleted upstream and could not be yet; they keep their places."""
        self._lost_until: list[float] = []
        self._housekeeping: asyncio.Task[None] | None = None

    def standing(self, user_id: str) -> Standing:
        return "returning" if user_id in self._protected or user_id in self._probation else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[str]:
        self._in_use[user_id] += 1
        try:
            session = await self._session_of(user_id, deadline)
            try:
                yield session.conversation
            except Gone:
                self._forget_gone(session)
                raise
            self._had_a_turn(session)
        finally:
            self._in_use[user_id] -= 1
            if not self._in_use[user_id]:
                del self._in_use[user_id]

    async def start(self) -> None:
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        if self._housekeeping is not None:
            self._housekeeping.cancel()

    # --- one user ---

    async def _session_of(self, user_id: str, deadline: Deadline) -> _Session:
        while True:
            session = self._protected.get(user_id) or self._probation.get(user_id)
            if session is not None:
                return session
            creation = self._creating.get(user_id)
            if creation is None:
                creation = asyncio.create_task(self._create(user_id, deadline))
                self._creating[user_id] = creation
                creation.add_done_callback(lambda task: self._creation_over(user_id, task))
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    await asyncio.shield(creation)
            except TimeoutError:
                what = "a conversation"
                raise OutOfTime(what) from None

    def _creation_over(self, user_id: str, task: asyncio.Task[None]) -> None:
        self._creating.pop(user_id, None)
        if not task.cancelled():
            task.exception()  # looked at, so that one that nobody waits for any more is not complained about

    async def _create(self, user_id: str, deadline: Deadline) -> None:
        await self._take_place(deadline)
        try:
            conversation = await self._engine.open_conversation(deadline)
        except BaseException as failure:
            if isinstance(failure, Unavailable) and not failure.never_arrived:
                self._lose_place()
            else:
                self._places_free += 1
            raise
        self._probation[user_id] = _Session(user_id, conversation, 0, self._clock.now())

    def _had_a_turn(self, session: _Session) -> None:
        session.turns += 1
        session.last_turn_at = self._clock.now()
        if session.user_id in self._protected:
            self._protected.move_to_end(session.user_id)
        elif session.user_id in self._probation and session.turns >= 2:
            del self._probation[session.user_id]
            self._protected[session.user_id] = session
            if len(self._protected) > self._protected_most:
                user_id, demoted = self._protected.popitem(last=False)
                self._probation[user_id] = demoted

    def _forget_gone(self, session: _Session) -> None:
        """The upstream has no such conversation: ours is over, and its place is free."""
        for segment in (self._probation, self._protected):
            if segment.get(session.user_id) is session:
                del segment[session.user_id]
                self._places_free += 1

    # --- room for all ---

    async def _take_place(self, deadline: Deadline) -> None:
        if self._places_free > 0:
            self._places_free -= 1
            return
        victim = next((s for u, s in self._probation.items() if u not in self._in_use), None)
        if victim is None:
            raise Refused(429, "full", "いまは満員にゃん。すこし後で話しかけてにゃん", 1.0)
        # Out of our books first: from here on it cannot be leased, and its place is ours if the deletion succeeds.
        del self._probation[victim.user_id]
        await self._delete(victim.conversation, deadline)

    def _lose_place(self) -> None:
        self._lost_until.append(self._clock.now() + _LOST_S)
        if len(self._lost_until) > max(1, self._settings.max_conversations * _LOST_SHARE):
            self._lost_until.pop(0)
            self._places_free += 1

    async def _delete(self, conversation: str, deadline: Deadline) -> None:
        """Delete upstream; what cannot be deleted now is condemned, and keeps its place until it is."""
        try:
            await self._engine.delete_conversation(conversation, deadline)
        except BaseException:
            self._condemned[conversation] = None
            raise

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(_KEEP_HOUSE_S)
            try:
                await self.keep_house_once()
            except (Unavailable, OutOfTime):
                continue  # the upstream is down; what is condemned waits
            except Exception as bug:
                self._logging.bug("housekeeping", bug)

    async def keep_house_once(self) -> None:
        """Delete what is condemned or has expired, and give back the places of lost creations."""
        now = self._clock.now()
        lost = len(self._lost_until)
        self._lost_until = [until for until in self._lost_until if until > now]
        self._places_free += lost - len(self._lost_until)
        for segment, life_s in (
            (self._probation, self._settings.probation_s),
            (self._protected, self._settings.session_s),
        ):
            for session in list(segment.values()):
                if session.user_id not in self._in_use and now - session.last_turn_at > life_s:
                    del segment[session.user_id]
                    self._condemned[session.conversation] = None
        while self._condemned:
            conversation, _ = self._condemned.popitem(last=False)
            await self._delete(conversation, Deadline.after(self._clock, _DELETE_S))
            self._places_free += 1


VARIANTS = {"documented": DocumentedSessions, "proposed": ProposedSessions, "hardened": HardenedSessions}
