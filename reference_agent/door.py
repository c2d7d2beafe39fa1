"""How does a request get to an endpoint that needs nothing of what the framework does before?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Door:
    """Stands before the framework's routing, and goes straight to an endpoint that reads its requests itself.

    Routing, dependencies and validation take more CPU than all that it takes to refuse somebody. The endpoint is one of
    the framework's routes all the same: the page about the API shows it, and other methods are refused there.
    """

    def __init__(self, app: ASGIApp, route: APIRoute) -> None:
        self._app = app
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route
        if scope["type"] != "http" or scope["path"] != route.path or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        response: Response = await route.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def post_straight(app: FastAPI, path: str, endpoint: Endpoint, **page: Any) -> None:
    """Add an endpoint that requests go straight to.

    Args:
        app: where it is added.
        path: exactly this one; nothing is taken out of it.
        endpoint: is given the request and nothing else, and raises only what is a mistake of ours.
        page: what the page about the API says of it, as FastAPI takes it.
    """
    route = APIRoute(path, endpoint, methods=["POST"], **page)
    app.router.routes.append(route)
    app.add_middleware(Door, route=route)
