"""A port on loopback that leads to an upstream, and the faults on the way there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import msgspec

from harness.faults import FaultError, TimedFault, parse_timed
from harness.model import NEVER_FIRED, FaultEvent
from harness.proxy.faults import LINE_FAULTS, LineFault
from harness.proxy.link import PIECE_BYTES, Armed, Link, Streams

_CONNECT_WITHIN_S = 30.0


class Address(msgspec.Struct, frozen=True):
    """Where somebody listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    """Return the address that a text such as "127.0.0.1:6379" or "[::1]:80" names.

    Raises:
        ValueError: it names none.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isdigit() and 0 < int(port) < 65536) or "/" in host:
        msg = f"{text!r} is no address; expected HOST:PORT, e.g. 127.0.0.1:6379."
        raise ValueError(msg)
    return Address(host, int(port))


def _reason(error: OSError) -> str:
    # asyncio's own words are longer, and say the address a second time.
    return os.strerror(error.errno) if error.errno else str(error)


class ListenError(Exception):
    """The proxy cannot listen where it should; the message says why and what to do."""


class FaultProxy:
    """A TCP proxy on 127.0.0.1 that carries bytes to an upstream and breaks what it is told to break.

    An asynchronous context manager: it listens inside.

    Args:
        upstream: where connections lead to.
        port: where it listens; 0: a free one.
        seed: of random choices.
        name: what it is called on a timeline, and what the ids of its faults begin with.
        record: is given every event of its faults.
        complain: is told, once, that the upstream cannot be reached.
    """

    def __init__(
        self,
        upstream: Address | str,
        *,
        port: int = 0,
        seed: int = 0,
        name: str = "",
        record: Callable[[FaultEvent], None] = lambda event: None,
        complain: Callable[[str], None] = lambda message: print(message, file=sys.stderr),
    ) -> None:
        self.upstream = address(upstream) if isinstance(upstream, str) else upstream
        self.port = port
        self.events: list[FaultEvent] = []
        """What became of the faults."""
        self.accepted = 0
        """Connections so far."""
        self._seed = seed
        self._name = name
        self._record = record
        self._complain = complain
        self._has_complained = False
        self._armed: dict[str, Armed] = {}
        self._planned: dict[str, Armed] = {}
        self._armed_count = 0
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FaultProxy:
        """Listen.

        Raises:
            ListenError: the port is taken, or it is the upstream's own.
        """
        if self.port == self.upstream.port and self.upstream.host in ("127.0.0.1", "localhost", "::1"):
            msg = (
                f"Listening at {self.port} would lead to itself: {self.upstream} is the upstream. Choose another port."
            )
            raise ListenError(msg)
        try:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, limit=PIECE_BYTES, backlog=1024
            )
        except OSError as error:
            msg = f"Cannot listen at {self.address}: {_reason(error)}. Choose another --listen, or 0 for a free port."
            raise ListenError(msg) from error
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.lift_all()
        links = dict(self._links)
        for link in links:
            link.end()
        await asyncio.gather(*links.values(), return_exceptions=True)

    @property
    def address(self) -> str:
        """Where it listens, e.g. "127.0.0.1:40001"."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """Connections that are open now."""
        return len(self._links)

    # --- connections -------------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = Link(self.accepted, self._seed, (reader, writer), self._fired)
        for armed in self._armed.values():
            link.meet(armed)
        self._links[link] = task = link.start(self._connect)

        def over(_: asyncio.Task[None]) -> None:
            del self._links[link]
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, OSError):  # a reset is no mistake of ours, all else is
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"connection {link.number} of the fault proxy", "exception": error, "task": task}
                )

        task.add_done_callback(over)

    async def _connect(self) -> Streams:
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                return await asyncio.open_connection(self.upstream.host, self.upstream.port, limit=PIECE_BYTES)
        except (OSError, TimeoutError) as error:
            if not self._has_complained:
                self._has_complained = True
                reason = _reason(error) or f"no answer within {_CONNECT_WITHIN_S:g} s"
                self._complain(f"Cannot connect to the upstream {self.upstream}: {reason}. Its callers are reset.")
            raise ConnectionError from error

    # --- faults ------------------------------------------------------------------------------------------------------

    def arm(self, fault: str | LineFault, /, *, from_s: float = 0.0, for_s: float | None = None, **fields: Any) -> str:
        """Put a fault in force, for connections that are open and for new ones, and return its id.

        Args:
            fault: its name, e.g. "latency", or the record itself.
            from_s: when, in seconds from now.
            for_s: how long it stays, in seconds; None: until it is lifted.
            fields: the fault's own, e.g. `delay_s=0.3`.

        Raises:
            FaultError: there is no such fault or field, or a value makes no sense; the message says what would.
        """
        if isinstance(fault, str):
            return self.arm_timed(
                parse_timed({"fault": fault, "from_s": from_s, "for_s": for_s, **fields}, LINE_FAULTS)
            )
        return self.arm_timed(TimedFault(fault=fault, from_s=from_s, for_s=for_s))

    def arm_timed(self, timed: TimedFault) -> str:
        """Put a fault in force, now or later, for good or for a while, and return its id.

        Raises:
            FaultError: it is no fault of a line.
        """
        record, from_s, for_s = timed.fault, timed.from_s, timed.for_s
        if not isinstance(record, LineFault):
            msg = f"`{record.name}` is no fault of a line; expected one of {', '.join(LINE_FAULTS)}."
            raise FaultError(msg)
        self._armed_count += 1
        number = f"f{self._armed_count}"
        armed = Armed(f"{self._name}-{number}" if self._name else number, record)
        loop = asyncio.get_running_loop()
        if from_s > 0:
            self._planned[armed.id] = armed
            self._event(armed, "planned")
            loop.call_later(from_s, self._arm_planned, armed.id)
        else:
            self._put_in_force(armed)
        if for_s is not None:
            loop.call_later(from_s + for_s, self._lift_if_there, armed.id)
        return armed.id

    def _arm_planned(self, id_: str) -> None:
        armed = self._planned.pop(id_, None)
        if armed is not None:
            self._put_in_force(armed)

    def _put_in_force(self, armed: Armed) -> None:
        self._armed[armed.id] = armed
        self._event(armed, "armed")
        for link in list(self._links):
            link.meet(armed)
            link.heed()

    def lift(self, id_: str) -> None:
        """Take a fault out of force, or give up one that is planned.

        Raises:
            KeyError: there is no such fault.
        """
        planned = self._planned.pop(id_, None)
        if planned is not None:
            self._event(planned, "lifted", NEVER_FIRED)
            return
        armed = self._armed.pop(id_)
        armed.is_lifted = True
        self._event(armed, "lifted", "" if armed.fired else NEVER_FIRED)
        for link in list(self._links):
            link.heed()

    def _lift_if_there(self, id_: str) -> None:
        # It may have been lifted by hand before its time was over.
        with contextlib.suppress(KeyError):
            self.lift(id_)

    def lift_all(self) -> None:
        """Take all faults out of force, and give up those that are planned."""
        for id_ in (*self._planned, *self._armed):
            self._lift_if_there(id_)

    @property
    def planned(self) -> tuple[Armed, ...]:
        """The faults that are to come."""
        return tuple(self._planned.values())

    @property
    def in_force(self) -> tuple[Armed, ...]:
        """The faults in the order in which they were armed."""
        return tuple(self._armed.values())

    def _fired(self, armed: Armed, number: int) -> None:
        armed.fired += 1
        self._event(armed, "fired", f"connection {number}")

    def _event(self, armed: Armed, event: str, detail: str = "") -> None:
        recorded = FaultEvent(
            at_ns=time.monotonic_ns(),
            fault=armed.fault.name,
            id=armed.id,
            event=event,  # type: ignore[arg-type]
            family=armed.fault.family,
            where=f"{self._name} ({self.upstream})" if self._name else str(self.upstream),
            detail=detail,
        )
        self.events.append(recorded)
        self._record(recorded)
