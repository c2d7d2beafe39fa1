"""What is a load balancer told?"""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from reference_agent.conversation import Engine
from reference_agent.parts.breaker import Breaker


class Health(Protocol):
    """Answers questions about the process itself."""

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...


class DocumentedHealth:
    """`/health` waits for a thread of the same pool as everybody: when all are held, it looks dead. No `/status`."""

    def install(self, app: FastAPI) -> None:
        @app.get("/health")
        def health() -> dict[str, str]:
            return {"status": "ok"}


class HardenedHealth:
    """`/health`: alive. `/status`: ready (503 while it is not), and how the upstreams are, as the breakers saw them.

    Both say what is known already and ask nobody, so that they are as fast in an outage as ever. An outage of the
    model's upstream makes the agent not ready; one of any other does not, as it answers without.
    """

    def __init__(self, engine: Engine, breaker: Breaker) -> None:
        self._engine = engine
        self._breaker = breaker
        self._versions = {"python": platform.python_version()} | {
            package: version(package) for package in ("openai", "fastapi", "httpx2")
        }

    def install(self, app: FastAPI) -> None:
        @app.get("/health")
        async def health() -> dict[str, str]:
            return {"status": "ok"}

        @app.get("/status", responses={503: {"description": "not ready"}})
        async def status() -> Response:
            said = self.status()
            return JSONResponse(said, 200 if said["ready"] else 503)

    def status(self) -> dict[str, Any]:
        """Return what `/status` says."""
        upstreams = self._breaker.states()
        ready = self._engine.is_ready() and upstreams.get("openai", "closed") == "closed"
        return {"ready": ready, "upstreams": upstreams, "versions": self._versions}


VARIANTS = {
    "documented": DocumentedHealth,
    "proposed": DocumentedHealth,  # nothing was proposed
    "hardened": HardenedHealth,
}
