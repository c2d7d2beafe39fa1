"""What is a load balancer told?"""

from __future__ import annotations

import asyncio
import contextlib
import platform
from importlib.metadata import version
from typing import Any, Protocol

import openai
from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from reference_agent.api_page import STATUS
from reference_agent.clock import Clock, Deadline
from reference_agent.conversation import Engine
from reference_agent.duty import Duty
from reference_agent.errors import AgentError
from reference_agent.parts.breaker import Breaker
from reference_agent.parts.logging import Logging
from reference_agent.parts.rate_limit import RateLimit
from reference_agent.parts.retries import Retries
from reference_agent.session_store import SessionStore
from reference_agent.wire import settled


class Health(Protocol):
    """Answers questions about the process itself."""

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...

    async def look(self) -> None:
        """Find out how the stores and the model's upstream are, before anybody has used them."""
        ...


class DocumentedHealth:
    """`/health` waits for a thread of the same pool as everybody: when all are held, it looks dead. No `/status`."""

    def install(self, app: FastAPI) -> None:
        @app.get("/health")
        def health() -> dict[str, str]:
            return {"status": "ok"}

    async def look(self) -> None:
        pass


class HardenedHealth:
    """`/health`: alive. `/status`: ready (503 while it is not), and how the upstreams are, as the breakers saw them.

    Both answer HEAD as well, which is how some balancers ask. They say what is known already and wait for nobody, so
    that they are as fast in an outage as ever. An outage of the model's upstream makes the agent not ready, and so
    does one of the session store; one of any other upstream does not, as it answers without. `limits` says by whom
    turns are counted: `shared` by all replicas together, `own` by each for itself, `own_for_now` while the Redis that
    they share is down.

    What was never reached is not well: before it is ready, a process has looked, and the model has answered it once.

    A balancer sends nobody to an agent that is not ready, and without anybody to answer, nothing would ever be found
    out again. Whoever asks for the status of an agent that is not ready therefore makes it look for itself, one look
    at a time, behind their back and through the breaker.
    """

    needs_loop = True

    def __init__(
        self,
        engine: Engine,
        breaker: Breaker,
        duty: Duty,
        retries: Retries,
        session_store: SessionStore,
        rate_limit: RateLimit,
        openai_client: openai.OpenAI | openai.AsyncOpenAI,
        clock: Clock,
        logging: Logging,
    ) -> None:
        self._duty = duty
        self._engine = engine
        self._breaker = breaker
        self._retries = retries
        self._store = session_store
        self._rate_limit = rate_limit
        self._logging = logging
        self._clock = clock
        self._api: Any = openai_client
        self._looking: asyncio.Task[None] | None = None
        self._model_has_answered = False
        self._versions = {"python": platform.python_version()} | {
            package: version(package) for package in ("openai", "fastapi", "httpx2")
        }

    def install(self, app: FastAPI) -> None:
        @app.head("/health", include_in_schema=False)
        @app.get("/health")
        async def health() -> dict[str, str]:
            """Whether the process is alive."""
            return {"status": "ok"}

        @app.head("/status", include_in_schema=False)
        @app.get("/status", responses=STATUS)
        async def status() -> Response:
            """Whether a balancer should send anybody, and how the upstreams are."""
            said = self.status()
            if not said["ready"] and (self._looking is None or self._looking.done()):
                self._looking = asyncio.create_task(self.look())
            return JSONResponse(said, 200 if said["ready"] else 503)

    def status(self) -> dict[str, Any]:
        """Return what `/status` says."""
        upstreams = self._breaker.states()
        stores = {"sessions": "down" if self._store.trouble() else "up"}
        model_is_well = self._model_has_answered and upstreams.get("openai", "closed") == "closed"
        ready = not self._duty.is_leaving and self._engine.is_ready() and model_is_well and stores["sessions"] == "up"
        limits = self._rate_limit.counting()
        return {"ready": ready, "upstreams": upstreams, "stores": stores, "limits": limits, "versions": self._versions}

    async def look(self) -> None:
        try:
            await self._rate_limit.look_again()
            # A store that is down says so afterwards; the model is looked for all the same.
            with contextlib.suppress(AgentError):
                await self._store.knows(_NOBODY)
            if not self._engine.is_ready():
                await self._engine.warm_up()
            # The cheapest question there is: it costs nothing, and every engine's upstream knows it.
            deadline = Deadline.after(self._clock, _LOOK_S)
            await self._retries.call("openai", self._models, deadline, repeatable=False)
        except openai.APIStatusError:
            self._model_has_answered = True  # that it has no list of models; it is there
        except (AgentError, openai.APIError):
            pass  # the breaker has seen it, and the next who asks is told
        except Exception as bug:
            self._logging.bug("status_not_found_out", bug)
        else:
            self._model_has_answered = True

    async def _models(self) -> Any:
        return await settled(self._api.models.list())


_LOOK_S = 3.0
_NOBODY = " "  # the id of no user: a blank one is refused at the door


VARIANTS = {
    "documented": DocumentedHealth,
    "proposed": DocumentedHealth,  # nothing was proposed
    "hardened": HardenedHealth,
}
