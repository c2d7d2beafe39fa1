"""Which conversation is a user's, and how many conversations are kept alive?"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Engine, Lease
from reference_agent.conversations import Conversations
from reference_agent.errors import AgentError, Gone, OutOfTime, Refused, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.parts.rate_limit import Standing
from reference_agent.session_store import (
    BeingCreated,
    Bounds,
    Claim,
    Full,
    Known,
    MustCreate,
    MustDelete,
    SessionStore,
)
from reference_agent.settings import Settings


class Sessions(Protocol):
    """Remembers whose conversation is whose."""

    async def standing(self, user_id: str) -> Standing:
        """Return whether a conversation of this user is alive."""
        ...

    def lease(self, user_id: str, deadline: Deadline) -> AbstractAsyncContextManager[Lease]:
        """Return the context of one turn in the user's conversation; creates it on first sight.

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

    async def standing(self, user_id: str) -> Standing:
        return "returning" if user_id in THREADS else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[Lease]:
        if user_id not in THREADS:
            THREADS[user_id] = await self._engine.open_conversation(deadline)
        yield Lease(THREADS[user_id])

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

    async def standing(self, user_id: str) -> Standing:
        return "returning" if user_id in self._threads else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[Lease]:
        if len(self._threads) >= self._most:
            self._threads.popitem(last=False)
        conversation, created_at = self._threads.get(user_id, ("", 0.0))
        if not conversation or self._clock.now() - created_at > _PROPOSED_LIFE_S:
            conversation = await self._engine.open_conversation(deadline)
            self._threads[user_id] = (conversation, self._clock.now())
        yield Lease(conversation)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


_PROPOSED_LIFE_S = 24 * 3600.0


_PROTECTED_SHARE = 0.9  # of all places; the rest is always open to somebody new
_LOST_SHARE = 0.25
_LOST_S = 60.0
"""For what share of all places at most, and how long, a place is kept for a conversation whose creation was not
answered. It may exist upstream, under a name that we were never told; there is no way to ask. Without an end, an outage
would use up all places."""
_KEEP_HOUSE_S = 1.0
_DELETE_S = 3.0
_LEASE_S = 5.0  # beyond the turn's deadline: what a process that has died leaves behind is free again then
_LOOK_AGAIN_S = 0.05


def bounds(settings: Settings) -> Bounds:
    """Return how many conversations are kept, and how long, under these settings."""
    places = settings.max_conversations
    return Bounds(
        places=places,
        protected=max(1, min(places - 1, int(places * _PROTECTED_SHARE))),
        lost=max(1, int(places * _LOST_SHARE)),
        lost_s=_LOST_S,
        probation_s=settings.probation_s,
        session_s=settings.session_s,
    )


class HardenedSessions:
    """Never more conversations alive upstream than declared; a flood of new ids only ever displaces itself.

    Two segments, as in a segmented LRU cache: a user seen once is on probation, one who came back is protected. Room
    is made by deleting (upstream too) the oldest one on probation. All of it is written down in a store, so that a
    restart forgets nobody and any replica continues any conversation. One creation per user at a time; a creation is
    finished even when its caller hangs up, so that no conversation is lost sight of. What another engine has left (the
    agent was started with that one before) is not gone on with: it is deleted there, and its user begins anew.
    """

    needs_loop = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        conversations: Conversations,
        session_store: SessionStore,
        logging: Logging,
    ) -> None:
        self._turn_s = settings.turn_s
        self._clock = clock
        self._conversations = conversations
        self._store = session_store
        self._logging = logging
        self._in_use: Counter[str] = Counter()
        self._creating: dict[str, asyncio.Task[None]] = {}
        self._givings_back: set[asyncio.Task[None]] = set()
        self._housekeeping: asyncio.Task[None] | None = None

    async def standing(self, user_id: str) -> Standing:
        return "returning" if await self._store.knows(user_id) else "newcomer"

    @asynccontextmanager
    async def lease(self, user_id: str, deadline: Deadline) -> AsyncIterator[Lease]:
        self._in_use[user_id] += 1
        had_a_turn = False
        said = None
        try:
            address, lease = await self._conversation_of(user_id, deadline)
            try:
                yield lease
                had_a_turn = True
                said = lease.said
            except Gone:
                await self._store.forget(address)
                raise
        finally:
            self._in_use[user_id] -= 1
            last = not self._in_use[user_id]
            if last:
                del self._in_use[user_id]
            if last or had_a_turn:
                try:
                    await self._store.ended(user_id, self._clock.wall(), had_a_turn=had_a_turn, said=said)
                except Unavailable as failure:
                    # The answer is there; that the lease runs out by itself is no reason to keep it from the user.
                    self._logging.noted("session_not_written", reason=failure.reason)

    async def start(self) -> None:
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def close(self) -> None:
        if self._housekeeping is not None:
            self._housekeeping.cancel()
            await asyncio.wait({self._housekeeping})

    # --- one user ---

    async def _conversation_of(self, user_id: str, deadline: Deadline) -> tuple[str, Lease]:
        """Return the address of the user's conversation, and its lease."""
        while deadline.remaining_s() > 0:
            now = self._clock.wall()
            match await self._claimed(user_id, now):
                case Known(address, said):
                    conversation = self._conversations.continued(address)
                    if conversation is not None:
                        return address, Lease(conversation, said)
                    # Where it cannot be deleted now, housekeeping goes on: who is here to talk is not kept from it.
                    await self._store.condemn(user_id, now)
                    await self._delete_if_possible(address, deadline)
                case Full():
                    raise Refused(429, "full", 1.0)
                case MustDelete(address):
                    await self._delete(address, deadline)
                case MustCreate():
                    await self._until_created(self._begin_creation(user_id, deadline), deadline)
                case BeingCreated():
                    await self._until_created(self._creating.get(user_id), deadline)
        what = "a conversation"
        raise OutOfTime(what)

    async def _claimed(self, user_id: str, now: float) -> Claim:
        claiming = asyncio.ensure_future(self._store.claim(user_id, now, now + self._turn_s + _LEASE_S))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            # Who has left has the place all the same, and nobody would create anything for it until its time is over.
            self._givings_back.add(giving_back := asyncio.create_task(self._give_back(user_id, claiming)))
            giving_back.add_done_callback(self._givings_back.discard)
            raise

    async def _give_back(self, user_id: str, claiming: asyncio.Future[Claim]) -> None:
        with contextlib.suppress(Unavailable):  # the place becomes free by itself, when its time is over
            if isinstance(await claiming, MustCreate):
                await self._store.not_created(user_id, None)

    def _begin_creation(self, user_id: str, deadline: Deadline) -> asyncio.Task[None]:
        creation = asyncio.create_task(self._create(user_id, deadline))
        self._creating[user_id] = creation
        creation.add_done_callback(lambda task: self._creation_over(user_id, task))
        return creation

    def _creation_over(self, user_id: str, task: asyncio.Task[None]) -> None:
        self._creating.pop(user_id, None)
        if not task.cancelled():
            task.exception()  # looked at, so that one that nobody waits for any more is not complained about

    async def _until_created(self, creation: asyncio.Task[None] | None, deadline: Deadline) -> None:
        if creation is None:  # another replica's
            await self._clock.sleep(_LOOK_AGAIN_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s()):
                await asyncio.shield(creation)

    async def _create(self, user_id: str, deadline: Deadline) -> None:
        try:
            address = await self._conversations.open(deadline)
        except BaseException as failure:
            lost = isinstance(failure, Unavailable) and not failure.never_arrived
            await self._store.not_created(user_id, self._clock.wall() if lost else None)
            raise
        try:
            await self._store.created(user_id, address)
        except Unavailable:
            # Not written down anywhere: nobody would ever find it again.
            with contextlib.suppress(AgentError):
                await self._conversations.delete(address, Deadline.after(self._clock, _DELETE_S))
            raise

    # --- room for all ---

    async def _delete(self, address: str, deadline: Deadline) -> None:
        """Delete upstream what is condemned; it keeps its place until that has succeeded."""
        await self._conversations.delete(address, deadline)
        await self._store.forget(address)

    async def _keep_house(self) -> None:
        while True:
            await self._clock.sleep(_KEEP_HOUSE_S)
            try:
                await self.keep_house_once()
            except Unavailable:
                continue  # the store is down; what is condemned waits
            except Exception as bug:
                self._logging.bug("housekeeping", bug)

    async def keep_house_once(self) -> None:
        """Delete what is condemned or has expired, and give back the places of lost creations."""
        while some := await self._store.expire(self._clock.wall()):
            await asyncio.gather(*map(self._delete_if_possible, some))

    async def _delete_if_possible(self, address: str, deadline: Deadline | None = None) -> None:
        within_s = _DELETE_S if deadline is None else min(_DELETE_S, deadline.remaining_s())
        try:
            await self._delete(address, Deadline.after(self._clock, within_s))
        except (Unavailable, OutOfTime):
            pass  # the upstream or the store is down; it waits
        except Exception as bug:  # it rests, longer each time, and none of the others has to wait for it
            self._logging.bug("housekeeping", bug)


VARIANTS = {"documented": DocumentedSessions, "proposed": ProposedSessions, "hardened": HardenedSessions}
