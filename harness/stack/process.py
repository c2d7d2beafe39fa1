"""One process of the run at one address: how is it started, watched, broken and ended?

Everything that becomes of it is an event on the timeline. What it is (a replica of the target, a Redis) is a subclass,
which says when it is ready and what else there is to look at.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from harness.model import FaultEvent, LogLine
from harness.stack.child import Child, how_it_ended
from harness.stack.errors import StackError
from harness.stack.household import Household
from harness.stack.records import Records

_READY_POLL_S = 0.02
_SAID_LINES = 6
_SAID_CHARS = 300

Event = Literal["fired", "lifted", "exited", "oom", "started", "ready", "killed", "stopped"]


class Process:
    """One process; `restart` gives it a successor at the same address.

    Args:
        household: where its processes belong.
        command: whole.
        environment: whole.
        directory: where it runs, None for the supervisor's own.
        port: its port on 127.0.0.1.
        records: where everything about it is written.
        number: which one of its kind it is.
    """

    kind: ClassVar[str]
    """What the timeline calls its coming and going, when nobody planned it."""
    family: ClassVar[Literal["process", "upstream"]]
    """Whose doing an unplanned end is: that of what is under test, or that of the harness's own equipment."""
    called: str
    """How a sentence calls it."""

    def __init__(
        self,
        household: Household,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        directory: Path | None,
        port: int,
        records: Records,
        number: int = 0,
    ) -> None:
        self.port = port
        self.number = number
        self._household = household
        self._command = command
        self._environment = environment
        self._directory = directory
        self._records = records
        self._child: Child | None = None
        self._ended = ""
        """How the process ended; empty while it runs."""
        self._paused_by: str | None = None
        self._ready = False
        self._said: deque[str] = deque(maxlen=_SAID_LINES)

    # --- what a subclass says ---------------------------------------------------------------------------------------

    @property
    def where(self) -> str:
        """How the timeline names it among its kind."""
        raise NotImplementedError

    @property
    def _readiness(self) -> tuple[float, str]:
        """Within how many seconds it has to be ready, and what is asked to find out, in words."""
        raise NotImplementedError

    @property
    def _advice(self) -> str:
        """What to do where it was not ready in time, as the end of a sentence."""
        raise NotImplementedError

    async def _ask_ready(self, within_s: float) -> tuple[bool, str]:
        """Return whether it is ready, and what it said to that, in words."""
        raise NotImplementedError

    def _look(self, child: Child) -> None:
        """Look at it while it runs; called every tick."""

    def _line(self, line: LogLine) -> None:
        """Take in a line that it wrote."""
        if line.text.strip():
            self._said.append(line.text.strip()[:_SAID_CHARS])

    # --- what is done to it -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Its process id, also of a process that has ended."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs (or is paused)."""
        return self._child is not None and not self._ended

    async def begin(self) -> float:
        """Start it and wait until it is ready.

        Returns:
            Seconds from its start until it was ready.

        Raises:
            StackError: it cannot be started, has ended, or was not ready in time; with the last lines that it wrote.
        """
        began_s = time.monotonic()
        self._said.clear()
        try:
            child = self._household.start(self._command, self._environment, self._directory)
        except OSError as error:
            msg = f"{self.called}: {self._command[0]} cannot be started: {error.strerror or error}."
            raise StackError(msg) from error
        self._child, self._ended, self._ready, self._paused_by = child, "", False, None
        child.listen(self._line, self.number)
        self.event("started", detail=f"pid {child.pid}, port {self.port}")
        last = await self._until_ready(began_s)
        if not self._ready:
            if self.alive:
                self._ended = "stopped: it was never ready"
                self.event("stopped", detail=self._ended)
            await child.end()  # brings in its last words
            raise StackError(f"{last}{self._last_lines()}")
        took_s = time.monotonic() - began_s
        self.event("ready", detail=f"after {took_s:.2f} s")
        return took_s

    async def _until_ready(self, began_s: float) -> str:
        """Poll until it is ready; else return why it is not."""
        within_s, asked = self._readiness
        last = "not asked"
        while True:
            if self._ended:  # a tick has seen it
                return f"{self.called} ended before it was ready ({self._ended})."
            left_s = began_s + within_s - time.monotonic()
            if left_s <= 0:
                return f"{self.called} was not ready within {within_s:g} s ({asked}: {last}): {self._advice}"
            self._ready, last = await self._ask_ready(left_s)
            if self._ready:
                return ""
            await asyncio.sleep(min(_READY_POLL_S, max(0.0, left_s)))

    def tick(self) -> None:
        """Look at it; called every 10 ms."""
        child = self._child
        if child is None or self._ended:
            return
        exit_code = child.exit_code()
        if exit_code is not None:
            self._gone("exited", how_it_ended(exit_code))
            return
        self._look(child)

    def kill(self, id_: str) -> None:
        """SIGKILL to it and everything it started. Raises StackError where it does not run."""
        self._check_alive("kill")
        self._gone("killed", "killed by SIGKILL, as planned", fault="kill", id_=id_)

    def pause(self, id_: str) -> None:
        """SIGSTOP. Raises StackError where it does not run, or is paused."""
        self._check_alive("pause")
        if self._paused_by is not None:
            raise StackError(f"{self._name} is paused already.", status=400)
        self._paused_by = id_
        self._signal(signal.SIGSTOP)
        self.event("fired", fault="pause", id_=id_)

    def resume(self, id_: str) -> None:
        """SIGCONT. Raises StackError where it is not paused."""
        if self._paused_by is None or not self.alive:
            raise StackError(f"{self._name} is not paused: there is nothing to resume.", status=400)
        self._signal(signal.SIGCONT)
        self.event("lifted", fault="pause", id_=self._paused_by)
        self.event("fired", fault="resume", id_=id_)
        self._paused_by = None

    def paused_by(self, id_: str) -> bool:
        """Return whether the fault called `id_` has paused it."""
        return self._paused_by == id_

    async def restart(self, id_: str) -> None:
        """Stop it and start it again at the same address, with what it kept on disk.

        What becomes of it is in the events: `stopped`, `started` and `ready`, or `exited` where it never was.
        """
        if not self.alive:
            self.event("fired", fault="restart", id_=id_)
        await self._stop(fault="restart", id_=id_)
        try:
            await self.begin()
        except StackError as error:
            self.event("exited", detail=str(error))

    async def end(self) -> None:
        """Stop it: SIGTERM, two seconds, SIGKILL. Leaves nothing of it behind."""
        await self._stop(fault=self.kind, id_=self._lifecycle)

    async def _stop(self, *, fault: str, id_: str) -> None:
        if self._child is None:
            return
        was_alive = self.alive
        self._ended = self._ended or "stopped"  # from here on its end is no news
        how = await self._child.end()
        if was_alive:
            self.event("stopped", fault=fault, id_=id_, detail=how)

    def event(self, event: Event, *, fault: str = "", id_: str | None = None, detail: str = "") -> None:
        """Record what became of it. What is not a planned fault carries its kind as the fault."""
        planned = fault not in ("", self.kind)
        self._records.event(
            FaultEvent(
                at_ns=time.monotonic_ns(),
                fault=fault or self.kind,
                id=self._lifecycle if id_ is None else id_,
                event=event,
                family="process" if planned else self.family,
                where=self.where,
                detail=detail,
                must_fire=planned,
            )
        )

    @property
    def _lifecycle(self) -> str:
        return f"{self.kind}-{self.number}"

    @property
    def _name(self) -> str:
        return f"{self.where[:1].upper()}{self.where[1:]}"

    def _gone(self, event: Event, detail: str, *, fault: str = "", id_: str | None = None) -> None:
        """Its process is to be no more, or is no more: kill what is left of it, and say so."""
        self._ended = detail
        assert self._child is not None
        self._child.kill()
        self.event(event, fault=fault, id_=id_, detail=detail)

    def _check_alive(self, fault: str) -> None:
        if not self.alive:
            msg = f"{self._name} does not run ({self._ended or 'never started'}): {fault} needs one that does."
            raise StackError(msg, status=400)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)

    def _last_lines(self) -> str:
        return f" It last said: {' | '.join(self._said)}" if self._said else " It said nothing."


async def listening(port: int) -> tuple[bool, str]:
    """Return whether something takes connections at a port of 127.0.0.1, and why not, in words."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return False, error.strerror or str(error)
    writer.transport.abort()
    return True, ""
