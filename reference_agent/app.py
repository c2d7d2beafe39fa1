"""What is served? The application around a composition, from warm-up to shutdown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from reference_agent.compose import Composition, variants


@asynccontextmanager
async def alive(composition: Composition) -> AsyncIterator[None]:
    """Return the context in which a composition can play turns: entered warm, left with nothing under way."""
    await composition.get("warm_up").run()
    await composition.get("sessions").start()
    await composition.get("leftovers").start()
    await composition.get("health").look()
    try:
        yield
    finally:
        await composition.get("polling").close()
        await composition.get("sessions").close()
        await composition.close()


class Application(FastAPI):
    """The framework, with our middlewares around all of it instead of within.

    What one of them answers by itself, a refusal above all, then takes nothing of the framework's, which would look for
    telemetry and stand guard for endpoints that raise before it got to them: a tenth of what a refusal took.
    """

    def __init__(self, **given: Any) -> None:
        self._around: list[Middleware] = []
        self._entrance: ASGIApp | None = None
        super().__init__(**given)

    def add_middleware(self, middleware_class: Any, *args: Any, **kwargs: Any) -> None:
        self._around.append(Middleware(middleware_class, *args, **kwargs))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._entrance is None:
            self._entrance = super().__call__
            for middleware, args, kwargs in self._around:
                self._entrance = middleware(self._entrance, *args, **kwargs)
        await self._entrance(scope, receive, send)


def create_app(composition: Composition) -> FastAPI:
    """Return the application; it is ready (and its port open) when everything has warmed up."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with alive(composition):
            yield

    app = Application(title="Reference chat agent", lifespan=life)
    for part in map(composition.get, variants()):
        if hasattr(part, "install"):
            part.install(app)
    return app
