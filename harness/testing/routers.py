"""How do requests of httpx and httpx2 get to the upstreams? Through respx, one router for each transport."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import httpx
import respx
from respx.mocks import HTTPCoreMocker, Mocker
from respx.models import AllMockedAssertionError, PassThrough

from harness.testing.flight import AsyncFlight, Flight, Patience, SyncFlight
from harness.testing.in_process import InProcess
from harness.testing.web_sockets import refused_web_sockets
from harness.upstreams import wire

# httpx speaks through httpcore, which respx knows; httpx2, with it openai from 3.0 on, through httpcore2, which it does
# not know: of that package it sees nothing.
_HTTPCORE2 = "httpcore2"


@contextmanager
def routed_to(home: InProcess) -> Iterator[None]:
    """Answer from `home` whatever httpx and httpx2 ask, as long as the context lasts.

    Other routers of respx stay in force: who answers a request first has it.
    """
    with ExitStack() as stack:
        for transport in _transports():
            stack.enter_context(_Router(home, transport))
        stack.enter_context(refused_web_sockets(home))
        yield


def _transports() -> Iterator[ModuleType]:
    yield import_module(HTTPCoreMocker.name)
    if find_spec(_HTTPCORE2) is not None:
        if _HTTPCORE2 not in Mocker.registry:
            _teach_httpcore2()
        yield import_module(_HTTPCORE2)


def _teach_httpcore2() -> None:
    transport = import_module(_HTTPCORE2)

    class HTTPCore2Mocker(HTTPCoreMocker):
        """What respx does to httpcore, done to httpcore2. Defining it registers it."""

        name = _HTTPCORE2
        targets = [target.replace("httpcore.", f"{_HTTPCORE2}.", 1) for target in HTTPCoreMocker.targets]  # noqa: RUF012 - respx's own way

        @classmethod
        def from_sync_httpx_response(cls, httpx_response: httpx.Response, target: Any, **kwargs: Any) -> Any:
            return transport.Response(
                status=httpx_response.status_code,
                headers=httpx_response.headers.raw,
                content=httpx_response.stream,
                extensions=httpx_response.extensions,
            )


class _Router(respx.MockRouter):
    """Takes requests before any pattern is tried: which upstream is meant is told by the address alone."""

    def __init__(self, home: InProcess, transport: ModuleType) -> None:
        super().__init__(assert_all_called=False, using=transport.__name__)
        self._home = home
        self._transport = transport

    def handler(self, request: httpx.Request) -> httpx.Response:
        flight = SyncFlight(self._flight(request), self._home)
        return self._response(flight.head(), flight)

    async def async_handler(self, request: httpx.Request) -> httpx.Response:
        flight = AsyncFlight(self._flight(request), self._home)
        return self._response(await flight.head(), flight)

    def _flight(self, request: httpx.Request) -> Flight:
        url = str(request.url.copy_with(query=None, fragment=None))
        found = self._home.find(url)
        if found is None:
            if self._home.passes(url):
                raise PassThrough(f"Let through: {url}", request=request, origin=respx.Route())
            raise AllMockedAssertionError(self._not_there(request.method, url))
        upstream, path = found
        timeout = request.extensions.get("timeout", {})
        return self._home.call(
            upstream,
            wire.Request(
                method=request.method,
                path=httpx.URL(path).path if "%" in path else path,
                query=request.url.query.decode("latin-1"),
                headers={name.lower(): text for name, text in request.headers.items()},
                body=request.content,
            ),
            self._transport,
            Patience(connect_s=timeout.get("connect"), read_s=timeout.get("read")),
        )

    def _not_there(self, method: str, url: str) -> str:
        assert self.Mocker is not None
        # Somebody else's router may answer what we do not; only who is alone knows that nobody will.
        if all(isinstance(router, _Router) for router in self.Mocker.routers):
            self._home.unanswered.append(f"{method} {url}")
        return (
            f"{method} {url}: no upstream of this test answers there. Use the fixture of the upstream that is meant,"
            " let it answer at this address (`answer_at`), or let the request through (`upstreams.let_through`)."
        )

    @staticmethod
    def _response(head: wire.Head, stream: SyncFlight | AsyncFlight) -> httpx.Response:
        length = ("transfer-encoding", "chunked") if head.length is None else ("content-length", str(head.length))
        return httpx.Response(head.status, headers=[*head.headers, length], stream=stream)
