"""How do calls leave the process: holding a thread, or on the event loop?

Everything above is written once, as coroutines. On the `LoopWire` they wait on the event loop. On the `ThreadWire` no
call ever suspends (it holds its thread until it is done), so that a turn can be driven to its end without any loop:
that is what a synchronous handler on FastAPI's pool of threads does.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Coroutine
from typing import Any, Protocol, TypeVar

import httpx2
import openai

from reference_agent.clock import Clock, LoopClock, ThreadClock
from reference_agent.errors import BlockedOnLoop, NotUnderstood
from reference_agent.request_id import passed_on

T = TypeVar("T")

# One pool for all tools: a connection per call would leave thousands of sockets in TIME_WAIT under load.
_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=50)

# Callers who read slowly hold what they are given for as long as they like: not the connections that tools need.
_BODY_LIMITS = httpx2.Limits(max_connections=400, max_keepalive_connections=50)


class Body(Protocol):
    """An answer whose body has not been read yet."""

    def raise_for_status(self) -> None:
        """Raise httpx2.HTTPStatusError for 4xx and 5xx."""
        ...

    async def whole(self) -> bytes:
        """Read all of it."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """Read it piece by piece."""
        ...

    async def close(self) -> None:
        """Let go of it, read or not."""
        ...


class Wire(Protocol):
    """What leads out of the process."""

    clock: Clock

    def openai_client(self, **options: Any) -> openai.OpenAI | openai.AsyncOpenAI:
        """Return a client for the model; `options` as its constructor takes them."""
        ...

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        """Send a request and read the whole answer. No time-out of its own; `options` as httpx2 takes them."""
        ...

    async def open(self, method: str, url: str, **options: Any) -> Body:
        """Send a request and return as soon as status and headers are there."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


async def settled(value: T | Awaitable[T]) -> T:
    """Return what a call of the openai client brings, whether it is the synchronous or the asynchronous one.

    Raises:
        NotUnderstood: a success that makes no sense. The client hands on a text where it expects JSON, takes any JSON
            for what it asked for, and lets the errors of its decoders through.
    """
    try:
        brought = await value if inspect.isawaitable(value) else value
    except (json.JSONDecodeError, UnicodeDecodeError) as failure:
        raise _not_understood() from failure
    if isinstance(brought, str | int | float | list | dict) or not isinstance(getattr(brought, "id", ""), str):
        raise _not_understood()
    return brought


def _not_understood() -> NotUnderstood:
    return NotUnderstood("a success, and nothing can be made of what came with it")


def run_without_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that never suspends to its end, in this thread.

    Raises:
        BlockedOnLoop: it did suspend.
    """
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    msg = "a part waits on the event loop, but the turn runs in a thread without one"
    raise BlockedOnLoop(msg)


def _say_for_whom(request: Any) -> None:
    request.headers.update(passed_on())


async def _say_for_whom_later(request: Any) -> None:
    _say_for_whom(request)


class _LoopBody:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def raise_for_status(self) -> None:
        self._response.raise_for_status()

    async def whole(self) -> bytes:
        return await self._response.aread()

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.aiter_raw()

    async def close(self) -> None:
        await self._response.aclose()


class LoopWire:
    """Calls wait on the event loop."""

    def __init__(self) -> None:
        self.clock: Clock = LoopClock()
        # aiohttp below httpx: its parser and its streams are in C, a call costs two thirds of the CPU.
        self._http = openai.DefaultAioHttpClient(limits=_LIMITS, timeout=None, trust_env=False)
        self._bodies = openai.DefaultAioHttpClient(limits=_BODY_LIMITS, timeout=None, trust_env=False)
        self._clients: list[openai.AsyncOpenAI] = []

    def openai_client(self, **options: Any) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(
            **options,
            http_client=openai.DefaultAioHttpClient(trust_env=False, event_hooks={"request": [_say_for_whom_later]}),
        )
        self._clients.append(client)
        return client

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        return await self._http.request(method, url, headers=passed_on(), **options)

    async def open(self, method: str, url: str, **options: Any) -> Body:
        return _LoopBody(
            await self._bodies.send(
                self._bodies.build_request(method, url, headers=passed_on(), **options), stream=True
            )
        )

    async def close(self) -> None:
        await self._http.aclose()
        await self._bodies.aclose()
        for client in self._clients:
            await client.close()


class _ThreadBody:
    def __init__(self, response: httpx2.Response) -> None:
        self._response = response

    def raise_for_status(self) -> None:
        self._response.raise_for_status()

    async def whole(self) -> bytes:
        return self._response.read()

    async def pieces(self) -> AsyncIterator[bytes]:
        for piece in self._response.iter_raw():
            yield piece

    async def close(self) -> None:
        self._response.close()


class ThreadWire:
    """Calls hold their thread."""

    def __init__(self) -> None:
        self.clock: Clock = ThreadClock()
        self._http = httpx2.Client(limits=_LIMITS, timeout=None, trust_env=False)
        self._clients: list[openai.OpenAI] = []

    def openai_client(self, **options: Any) -> openai.OpenAI:
        client = openai.OpenAI(
            **options, http_client=openai.DefaultHttpxClient(event_hooks={"request": [_say_for_whom]})
        )
        self._clients.append(client)
        return client

    async def request(self, method: str, url: str, **options: Any) -> httpx2.Response:
        return self._http.request(method, url, headers=passed_on(), **options)

    async def open(self, method: str, url: str, **options: Any) -> Body:
        return _ThreadBody(
            self._http.send(self._http.build_request(method, url, headers=passed_on(), **options), stream=True)
        )

    async def close(self) -> None:
        self._http.close()
        for client in self._clients:
            client.close()
