"""The supervisor's loopback API: which request does what? Every refusal is `{"error": <one sentence>}`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from harness.stack.errors import StackError
from harness.stack.supervisor import ScenarioOrder, Supervisor
from harness.upstreams.exchange import decoded


def application(supervisor: Supervisor, stop: asyncio.Event) -> Starlette:
    """Return the ASGI application; `stop` is set when it is asked to shut down."""

    async def scenario(request: Request) -> Any:
        return await supervisor.scenario(_read(await request.body(), ScenarioOrder))

    async def scenario_end(_request: Request) -> Any:
        await supervisor.end_scenario()
        return {}

    async def fault(request: Request) -> Any:
        return {"id": await supervisor.fault(_read(await request.body(), dict[str, Any]))}

    async def lift(request: Request) -> Any:
        await supervisor.lift(request.path_params["id"])
        return {}

    async def status(_request: Request) -> Any:
        return supervisor.status()

    async def shutdown(_request: Request) -> Any:
        stop.set()
        return {}

    return Starlette(
        routes=[
            Route("/scenario", _answering(scenario), methods=["POST"]),
            Route("/scenario/end", _answering(scenario_end), methods=["POST"]),
            Route("/fault", _answering(fault), methods=["POST"]),
            Route("/fault/{id}", _answering(lift), methods=["DELETE"]),
            Route("/status", _answering(status), methods=["GET"]),
            Route("/shutdown", _answering(shutdown), methods=["POST"]),
        ]
    )


def _answering(deed: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            answer, status = await deed(request), 200
        except StackError as error:
            answer, status = {"error": str(error)}, error.status
        return Response(msgspec.json.encode(answer), status, media_type="application/json")

    return endpoint


def _read(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.convert(decoded(body), kind)
    except msgspec.DecodeError as error:
        raise StackError(f"The request's body is not what was expected: {error}.", status=400) from error
