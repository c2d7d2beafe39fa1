"""How does code that is not asynchronous, a test say, use a fault proxy? It runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from harness.model import FaultEvent
from harness.proxy.fault_proxy import FaultProxy
from harness.proxy.faults import LineFault

_T = TypeVar("_T")


class ThreadedProxy:
    """A fault proxy in a thread; what it offers is that of `FaultProxy`."""

    def __init__(self, proxy: FaultProxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy = proxy
        self._loop = loop
        self.port = proxy.port
        self.address = proxy.address

    def arm(self, fault: str | LineFault, /, **fields: Any) -> str:
        """Put a fault in force and return its id; see `FaultProxy.arm`."""
        return self._do(lambda: self._proxy.arm(fault, **fields))

    def lift(self, id_: str) -> None:
        """Take a fault out of force; KeyError where it is not."""
        self._do(lambda: self._proxy.lift(id_))

    @property
    def events(self) -> list[FaultEvent]:
        """What became of the faults."""
        return self._do(lambda: list(self._proxy.events))

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return self._do(lambda: self._proxy.open_connections)

    def _do(self, what: Callable[[], _T]) -> _T:
        async def do() -> _T:
            return what()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(10)


@contextmanager
def proxy_in_thread(upstream: str, *, port: int = 0, seed: int = 0) -> Iterator[ThreadedProxy]:
    """Run a fault proxy in a thread as long as the context lasts; arguments as for `FaultProxy`.

    Raises:
        ListenError: the port is taken.
        ValueError: `upstream` is no address.
    """
    proxy = FaultProxy(upstream, port=port, seed=seed)
    begun: threading.Event = threading.Event()
    failed: list[BaseException] = []
    ended = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        async with proxy:
            begun.set()
            await ended.wait()

    def live() -> None:
        try:
            asyncio.run(run())
        except Exception as error:
            failed.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=live, name=f"fault proxy of {upstream}", daemon=True)
    thread.start()
    begun.wait()
    if failed:
        thread.join()
        raise failed[0]
    try:
        yield ThreadedProxy(proxy, loops[0])
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(10)
