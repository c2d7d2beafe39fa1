"""Can a user have everything about them deleted, here and upstream?"""

from __future__ import annotations

from typing import Protocol

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Engine
from reference_agent.errors import AgentError, OutOfTime, Unavailable
from reference_agent.parts.failures import Failures
from reference_agent.parts.jobs import Jobs
from reference_agent.parts.logging import Logging
from reference_agent.parts.turn_order import TurnOrder
from reference_agent.session_store import SessionStore
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


class HardenedErasure:
    """`DELETE /users/{id}`: session, conversation (and what hangs on it), jobs and cost detail; as often as one likes.

    It waits for a turn of the user that is under way, unless it is a job's, which is cut off. What cannot be deleted
    upstream now is parted from the user at once, reported as left (202), and deleted by the sessions' housekeeping as
    soon as the upstream is back; what the queue cannot be told now expires there.
    """

    needs_loop = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        session_store: SessionStore,
        engine: Engine,
        turn_order: TurnOrder,
        jobs: Jobs,
        failures: Failures,
        logging: Logging,
    ) -> None:
        self._turn_s = settings.turn_s
        self._clock = clock
        self._store = session_store
        self._engine = engine
        self._turn_order = turn_order
        self._jobs = jobs
        self._failures = failures
        self._logging = logging

    def install(self, app: FastAPI) -> None:
        @app.delete("/users/{user_id:path}", responses={202: {"description": "something is left; it is being retried"}})
        async def erase(user_id: str) -> Response:
            try:
                left = await self.erase(user_id)
            except AgentError as failure:
                response = self._failures.answer(failure)
                if response is None:
                    raise
                return response
            return JSONResponse({"erased": not left, "left": left}, 202 if left else 200)

    async def erase(self, user_id: str) -> list[str]:
        """Delete everything about a user and return what is left for now.

        Raises:
            OutOfTime: a turn of the user did not end in time; nothing was deleted.
        """
        deadline = Deadline.after(self._clock, self._turn_s)
        left = await self._forget_jobs(user_id, deadline)
        async with self._turn_order.turn_of(user_id, deadline):
            conversation = await self._store.condemn(user_id, self._clock.wall())
            await self._store.forget_spender(user_id)
            if conversation is None:
                return left
            try:
                await self._engine.delete_conversation(conversation, deadline)
            except (Unavailable, OutOfTime) as failure:
                self._logging.warned("erasure_incomplete", reason=str(failure))
                return [*left, "conversation"]
            await self._store.forget(conversation)
            return left

    async def _forget_jobs(self, user_id: str, deadline: Deadline) -> list[str]:
        """Forget the user's jobs, and wait until one that is being played has been given up."""
        while left := await self._jobs.erase(user_id):
            if deadline.remaining_s() == 0:
                break
            await self._clock.sleep(min(_LOOK_AGAIN_S, deadline.remaining_s()))
        return left


VARIANTS = {
    "documented": DocumentedErasure,
    "proposed": DocumentedErasure,  # nothing was proposed
    "hardened": HardenedErasure,
}
