"""Can a user have everything about them deleted, here and upstream?"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from typing import Protocol

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from reference_agent.api_page import ERASED, WHOSE
from reference_agent.clock import Clock, Deadline
from reference_agent.conversations import Conversations
from reference_agent.leftovers import Leftovers
from reference_agent.parts.cache import Cache
from reference_agent.parts.failures import Failures, answered
from reference_agent.parts.input_guard import InputGuard
from reference_agent.parts.jobs import Jobs
from reference_agent.parts.logging import Logging
from reference_agent.parts.rate_limit import RateLimit
from reference_agent.parts.turn_order import TurnOrder
from reference_agent.said import hints_in
from reference_agent.session_store import DAY_S, Condemned, SessionStore
from reference_agent.settings import Settings


class Erasure(Protocol):
    """Deletes users."""

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...


class DocumentedErasure:
    """No way to do it: conversations stay upstream for ever."""

    def install(self, app: FastAPI) -> None:
        pass


_LOOK_AGAIN_S = 0.1
_SHARE_OF_JOBS = 0.5
"""Of the time of an erasure: where their Redis hangs, the rest is deleted all the same."""
_SHARE_OF_DELETION = 0.25
"""Of the time of an erasure: what of it is kept free for deleting upstream, however long a creation takes."""


class HardenedErasure:
    """`DELETE /users/{id}`: session, conversation (and what hangs on it), jobs, cache and cost detail; as often as one
    likes.

    It waits for a turn of the user that is under way, unless it is a job's, which is cut off. What is to be deleted is
    written down first; what cannot be deleted now, or not within the time that a turn has, is parted from the user at
    once, reported as left (202, also when one asks again), and tried until it is done, by the next process if need be.
    What was spent today is known until the day is over, as a sum under a name that is nobody's then
    (`session_store.pseudonym`): an erasure would be a new budget otherwise. The emotion server's analyses are kept for
    some minutes under a hash of the text, and belong to nobody.
    """

    needs_loop = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        session_store: SessionStore,
        conversations: Conversations,
        turn_order: TurnOrder,
        jobs: Jobs,
        cache: Cache,
        leftovers: Leftovers,
        input_guard: InputGuard,
        rate_limit: RateLimit,
        failures: Failures,
        logging: Logging,
    ) -> None:
        self._turn_s = settings.turn_s
        self._proxies = settings.proxies
        self._input_guard = input_guard
        self._rate_limit = rate_limit
        self._clock = clock
        self._store = session_store
        self._conversations = conversations
        self._turn_order = turn_order
        self._jobs = jobs
        self._leftovers = leftovers
        leftovers.keeps_traces(session_store.scrub)
        leftovers.handle("conversation", self._delete_conversation)
        leftovers.handle("cache", functools.partial(_all_of, cache.erase))
        leftovers.handle("jobs", functools.partial(_all_of, jobs.erase))
        self._failures = failures
        self._logging = logging

    def install(self, app: FastAPI) -> None:
        @app.delete("/users/{user_id:path}", responses=ERASED, openapi_extra={"parameters": WHOSE})
        async def erase(request: Request) -> Response:
            """Delete everything about a user, here and upstream; as often as one likes."""
            return await answered(self._erase(request), self._failures)

    async def _erase(self, request: Request) -> Response:
        hints = hints_in(request, {}, self._proxies)
        user_id = self._input_guard.check_user(request.path_params["user_id"])
        await self._rate_limit.let_in(hints.address)
        left = await self.erase(user_id)
        return JSONResponse({"erased": not left, "left": left}, 202 if left else 200)

    async def erase(self, user_id: str) -> list[str]:
        """Delete everything about a user and return what is left for now, in time for a caller who waits for it.

        Raises:
            OutOfTime: a turn of the user did not end in time; nothing but jobs was deleted.
            Unavailable: nothing can be written down.
        """
        deadline = Deadline.after(self._clock, self._turn_s)
        await self._leftovers.add("jobs", user_id, user_id)
        await self._forget_jobs(user_id, deadline.earlier_by(self._turn_s * (1 - _SHARE_OF_JOBS)))
        async with self._turn_order.turn_of(user_id, deadline):
            await self._leftovers.add("cache", user_id, user_id)
            condemned = await self._condemned(user_id, deadline.earlier_by(self._turn_s * _SHARE_OF_DELETION))
            for address in condemned.conversations:
                await self._leftovers.add("conversation", address, user_id)
            await self._store.forget_spender(user_id, int(self._clock.wall() // DAY_S))
            left = await self._leftovers.clear(user_id, deadline)
            if condemned.another_is_being_created:
                left = sorted({*left, "conversation"})
        # After the turn, which was written down as the user's.
        if not await self._is_scrubbed(deadline):
            left = sorted({*left, "traces"})
        if left:
            self._logging.warned("erasure_incomplete", left=left)
        return left

    async def _is_scrubbed(self, deadline: Deadline) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s()):
                return await self._leftovers.scrub()
        return False

    async def _condemned(self, user_id: str, deadline: Deadline) -> Condemned:
        """Part the user from their conversations.

        A caller who hung up may have left one behind that is still being created: it is waited for. When that takes too
        long, its place is given up, and whoever creates it finds it condemned.
        """
        while (condemned := await self._store.condemn(user_id, self._clock.wall())).another_is_being_created:
            if deadline.remaining_s() == 0:
                await self._store.not_created(user_id, self._clock.wall())
                break
            await self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))
        return condemned

    async def _delete_conversation(self, address: str) -> bool:
        await self._conversations.delete(address, Deadline.after(self._clock, self._turn_s))
        await self._store.forget(address)
        return True

    async def _forget_jobs(self, user_id: str, deadline: Deadline) -> None:
        """Forget the user's jobs, and wait until one that is being played has been given up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline.remaining_s()):
                while await self._jobs.erase(user_id) and deadline.remaining_s() > 0:
                    await self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))


async def _all_of(erase: Callable[[str], Awaitable[list[str]]], user_id: str) -> bool:
    return not await erase(user_id)


VARIANTS = {
    "documented": DocumentedErasure,
    "proposed": DocumentedErasure,  # nothing was proposed
    "hardened": HardenedErasure,
}
