"""What is served? The application around a composition, from warm-up to shutdown."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

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


def create_app(composition: Composition) -> FastAPI:
    """Return the application; it is ready (and its port open) when everything has warmed up."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with alive(composition):
            yield

    app = FastAPI(title="Reference chat agent", lifespan=life)
    for part in map(composition.get, variants()):
        if hasattr(part, "install"):
            part.install(app)
    return app
