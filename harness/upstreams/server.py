"""All upstreams of one process at their ports, an epoch at a time, and the port that controls them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.evidence import EvidenceError
from harness.faults import TimedFault
from harness.upstreams import wire
from harness.upstreams.control import Control
from harness.upstreams.epoch import Epoch, EpochSettings, Extras
from harness.upstreams.exchange import Exchange
from harness.upstreams.served import Call, Port

_TICK_S = 0.05
"""How often runs go on and the ledger is handed to the operating system where nobody calls."""
_STILL_UNDER_WAY_S = 1.0
"""A call that takes longer than this when the ledger is flushed is recorded as it stands."""


class Addresses(msgspec.Struct, frozen=True):
    """Where everything is: what is printed on readiness."""

    control: str
    upstreams: dict[str, str]
    exports: dict[str, str] = {}
    """The environment variables by which agents commonly find them."""


class UpstreamHandler:
    """Answers at the port of one upstream, from whatever epoch is the current one."""

    def __init__(self, server: Server, upstream: str) -> None:
        self._server = server
        self._upstream = upstream

    def begin(self, request: wire.Request) -> Exchange:
        """Let the current epoch answer. A mistake of ours is shown, and answered as such."""
        now_ns = time.monotonic_ns()
        try:
            return self._server.epoch.begin(self._upstream, request, now_ns)
        except Exception as error:
            traceback.print_exc()
            return self._server.epoch.failed(self._upstream, request, now_ns, error)

    def finish(
        self,
        call: Call,
        *,
        status: int | None,
        response_bytes: int,
        client_gone: bool,
        send: Callable[[], None] | None = None,
    ) -> None:
        """Record the call in the epoch that answered it; in none where that epoch is over, since it recorded it."""
        assert isinstance(call, Exchange)
        epoch = self._server.epoch
        if not call.recorded or epoch.is_under_way(call):
            epoch.finish(
                call, time.monotonic_ns(), status=status, response_bytes=response_bytes, client_gone=client_gone
            )
        if send is None:
            epoch.ledger.flush()
        else:
            self._server.send_on_record(send)

    def garbled(self) -> None:
        """Record what is no call as an unexpected one."""
        now_ns = time.monotonic_ns()
        self._server.epoch.record_garbled(self._upstream, now_ns)

    def go_down(self, seconds: float, fault: str) -> None:
        """Take the upstream down for so long."""
        self._server.go_down(self._upstream, seconds, fault)


class Server:
    """All upstreams of one process.

    Args:
        port: of the control API; the upstreams' follow in their order. 0: free ones.
        record: where each epoch gets its directory; None: nothing is written.
        settings: what the first epoch is begun with, and later ones as far as they say nothing else.
        extras: what every epoch has beside its settings.
        faults: what is armed from the start, in the first epoch.

    Raises:
        PortInUseError: a port is taken.
        EvidenceError: the record cannot be written.
        FaultError: an upstream cannot carry out one of the faults.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        record: Path | None = None,
        settings: EpochSettings | None = None,
        extras: Extras | None = None,
        faults: tuple[TimedFault, ...] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._record = record
        if record is not None:
            _check_writable(record)
        self._extras = extras or Extras()
        self.settings = settings or EpochSettings()
        self._anchor = (time.time(), time.monotonic_ns())
        self._crashes = 0
        self._ports: dict[str, Port] = {}
        self._answers: list[Callable[[], None]] = []
        """Send what waits for the record of its call."""
        self.epoch = self._new_epoch(self.settings, record_at_once=False)
        try:
            self.control = Port(port, Control(self))
            offset = 0
            for name, upstream in self.epoch.upstreams.items():
                # Described upstreams have no place of their own; they come after the others.
                offset = getattr(upstream, "port_offset", offset + 1)
                self._ports[name] = Port(port and port + offset, UpstreamHandler(self, name))
        except Exception:
            self.epoch.close(time.monotonic_ns())
            raise
        self._enter(self.epoch)
        for timed in faults:
            self.arm(timed)
        self._ticking = self._loop.call_later(_TICK_S, self._tick)

    async def serve(self) -> None:
        """Answer what arrives from now on."""
        for port in (self.control, *self._ports.values()):
            if port.listens:
                await port.serve()

    @property
    def addresses(self) -> Addresses:
        """Where everything is."""
        urls = {
            name: f"http://127.0.0.1:{port.number}{self.epoch.upstreams[name].path}"
            for name, port in self._ports.items()
        }
        return Addresses(
            control=f"http://127.0.0.1:{self.control.number}",
            upstreams=urls,
            exports={
                variable: urls[name] for name, upstream in self.epoch.upstreams.items() for variable in upstream.exports
            },
        )

    # --- faults ------------------------------------------------------------------------------------------------------

    def arm(self, timed: TimedFault) -> str:
        """Put a fault in force, now or later, for good or for a while, and return its id.

        Raises:
            FaultError: an upstream cannot carry it out.
        """
        epoch, now_ns = self.epoch, time.monotonic_ns()
        if timed.from_s > 0:
            id_ = epoch.faults.plan(timed.fault, now_ns)
            self._loop.call_later(
                timed.from_s, lambda: self._in(epoch, lambda: epoch.faults.arm_planned(id_, time.monotonic_ns()))
            )
        else:
            id_ = epoch.faults.arm(timed.fault, now_ns)
        if timed.for_s is not None:
            self._loop.call_later(
                timed.from_s + timed.for_s,
                lambda: self._in(epoch, lambda: epoch.faults.lift(id_, time.monotonic_ns())),
            )
        return id_

    def _in(self, epoch: Epoch, happen: Callable[[], None]) -> None:
        """Let something happen if the epoch that it belongs to is not over."""
        if epoch is self.epoch:
            # It may have been lifted by hand before its time was over.
            with contextlib.suppress(KeyError):
                happen()

    # --- epochs ------------------------------------------------------------------------------------------------------

    def begin_epoch(self, settings: EpochSettings) -> None:
        """Forget everything and begin anew.

        Raises:
            EvidenceError: the new epoch's record cannot be written; the old one goes on.
        """
        begun = self._new_epoch(settings)
        self.epoch.close(time.monotonic_ns())
        for port in self._ports.values():
            port.release_all()
            port.reopen()
        self._enter(begun)

    def _new_epoch(self, settings: EpochSettings, *, record_at_once: bool = True) -> Epoch:
        wall_s, monotonic_ns = self._anchor
        return Epoch(
            settings,
            extras=self._extras,
            directory=None if self._record is None else self._record / settings.name,
            record_at_once=record_at_once,
            wall_anchor_s=wall_s,
            monotonic_anchor_ns=monotonic_ns,
        )

    def _enter(self, epoch: Epoch) -> None:
        self.epoch = epoch
        # Serving goes on with what memory holds; the run that reads the files says that they are short.
        epoch.ledger.complain = lambda message: print(message, file=sys.stderr)
        epoch.faults.listening = self._listening
        epoch.faults.released = self._released

    def _listening(self, upstream: str, reason: str, ended_by: str | None) -> None:
        port = self._ports[upstream]
        if ended_by is None:
            port.open_for(reason)
        elif ended_by == "blackhole":
            port.swallow_for(reason, ended_by)
        else:
            port.close_for(reason, ended_by)

    def _released(self, fault_id: str) -> None:
        for port in self._ports.values():
            port.release(fault_id)

    def go_down(self, upstream: str, seconds: float, fault: str) -> None:
        """Let an upstream's server crash: every connection is reset, new ones are refused for so long."""
        self._crashes += 1
        reason = f"crash {self._crashes}"
        port = self._ports[upstream]
        port.close_for(reason, fault)
        self._loop.call_later(seconds, port.open_for, reason)

    # --- the record --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write everything so far, calls that hang included."""
        now_ns = time.monotonic_ns()
        self.epoch.advance(now_ns)
        self.epoch.record_unfinished(now_ns, older_than_s=_STILL_UNDER_WAY_S)
        self.epoch.ledger.flush()

    def send_on_record(self, send: Callable[[], None]) -> None:
        """Let an answer go out when its call is handed to the operating system, so that no kill loses it.

        The calls that end in one turn of the event loop go out in one write: a system call less for all but one.
        """
        self._answers.append(send)
        if len(self._answers) == 1:
            self._loop.call_soon(self._commit)

    def _commit(self) -> None:
        answers, self._answers = self._answers, []
        self.epoch.ledger.flush()
        for send in answers:
            try:
                send()
            except Exception:
                # A mistake of ours with one answer must not keep the others back.
                traceback.print_exc()

    def _tick(self) -> None:
        self.epoch.advance(time.monotonic_ns())
        self.epoch.ledger.flush()
        self._ticking = self._loop.call_later(_TICK_S, self._tick)

    def close(self) -> None:
        """End everything: record what is under way, stop listening."""
        self._ticking.cancel()
        self._commit()
        self.epoch.close(time.monotonic_ns())
        for port in (self.control, *self._ports.values()):
            port.end()


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".writable.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        msg = f"Cannot write {directory}: {error.strerror or error}. Choose another place with --record."
        raise EvidenceError(msg) from error


__all__ = ["Addresses", "EvidenceError", "Server"]
