"""One process of the target: how is it started, watched, broken and ended?"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from harness.model import FaultEvent, LogLine
from harness.stack.child import Child, how_it_ended
from harness.stack.errors import StackError
from harness.stack.household import Household
from harness.stack.records import Records
from harness.target import Start
from harness.telemetry import Answer, ask

TICK_S = 0.01
"""How often memory is looked at: a target that takes 2 GB/s is caught 20 MB above its limit."""
_TICKS_PER_POINT = 10
_TICKS_PER_LISTING = 20
_TICKS_PER_PROBE = 50
_PROBE_WITHIN_S = 2.0
_READY_POLL_S = 0.02
_SAID_LINES = 6
_SAID_CHARS = 300
_MB = 1_000_000

Event = Literal["fired", "lifted", "exited", "oom", "started", "ready", "killed", "stopped"]


class Replica:
    """One process of the target at one address; `restart` gives it a new process at the same address.

    Args:
        household: where its processes belong.
        start: how the target's file says it is started.
        command: with its placeholders filled.
        environment: whole.
        directory: where it runs, None for the supervisor's own.
        port: its port on 127.0.0.1.
        records: where everything about it is written.
        number: which replica it is.
    """

    def __init__(
        self,
        household: Household,
        start: Start,
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
        self._start = start
        self._command = command
        self._environment = environment
        self._directory = directory
        self._records = records
        self._child: Child | None = None
        self._ended = ""
        """How the process ended; empty while it runs."""
        self._paused_by: str | None = None
        self._ready = False
        self._ticks = 0
        self._probe: asyncio.Task[Answer] | None = None
        self._said: deque[str] = deque(maxlen=_SAID_LINES)

    @property
    def pid(self) -> int | None:
        """Its process id, also of a process that has ended."""
        return None if self._child is None else self._child.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs (or is paused)."""
        return self._child is not None and not self._ended

    @property
    def host(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

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
            msg = f"start.command: {self._command[0]} cannot be started: {error.strerror or error}."
            raise StackError(msg) from error
        self._child, self._ended, self._ready, self._paused_by = child, "", False, None
        child.listen(self._line, self.number)
        self.event("started", detail=f"pid {child.pid}, port {self.port}")
        last = await self._until_ready(began_s + self._start.ready.within_s)
        if not self._ready:
            if self.alive:
                self._ended = "stopped: it was never ready"
                self.event("stopped", detail=self._ended)
            await child.end()  # brings in its last words
            raise StackError(f"{last}{self._last_lines()}")
        took_s = time.monotonic() - began_s
        self.event("ready", detail=f"after {took_s:.2f} s")
        return took_s

    async def _until_ready(self, until_s: float) -> str:
        """Poll until it is ready; else return why it is not."""
        path, within_s = self._start.ready.path, self._start.ready.within_s
        asked = f"GET {path}" if path else f"port {self.port}"
        last = "not asked"
        while True:
            if self._ended:  # a tick has seen it
                return f"The target ended before it was ready ({self._ended})."
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return (
                    f"The target was not ready within {within_s:g} s ({asked}: {last}): is ready in [start] right, or "
                    "does it need longer?"
                )
            if path:
                answer = await ask("127.0.0.1", self.port, path, within_s=min(left_s, _PROBE_WITHIN_S))
                self._ready = answer.status is not None and 200 <= answer.status < 300
                last = answer.error or f"answered with {answer.status}"
            else:
                self._ready, last = await _listening(self.port)
            if self._ready:
                return ""
            await asyncio.sleep(min(_READY_POLL_S, max(0.0, left_s)))

    def tick(self) -> None:
        """Look at it; called every `TICK_S`."""
        child = self._child
        if child is None or self._ended:
            return
        self._ticks += 1
        exit_code = child.exit_code()
        if exit_code is not None:
            self._gone("exited", how_it_ended(exit_code))
            return
        if self._ticks % _TICKS_PER_LISTING == 0:
            child.reap_orphans()
            child.tree.relist()
        rss_bytes = child.tree.rss_bytes()
        if rss_bytes > self._start.memory_limit_mb * _MB:
            limit = f"{rss_bytes / _MB:,.0f} MB resident, the limit is {self._start.memory_limit_mb:,.0f} MB"
            self._gone("oom", limit)
            return
        if self._ticks % _TICKS_PER_PROBE == 0:
            self._ask_health()
        if self._ticks % _TICKS_PER_POINT == 0:
            self._point(child)

    def kill(self, id_: str) -> None:
        """SIGKILL to it and everything it started. Raises StackError where it does not run."""
        self._check_alive("kill")
        self._gone("killed", "killed by SIGKILL, as planned", fault="kill", id_=id_)

    def pause(self, id_: str) -> None:
        """SIGSTOP. Raises StackError where it does not run, or is paused."""
        self._check_alive("pause")
        if self._paused_by is not None:
            raise StackError(f"Replica {self.number} is paused already.", status=400)
        self._paused_by = id_
        self._signal(signal.SIGSTOP)
        self.event("fired", fault="pause", id_=id_)

    def resume(self, id_: str) -> None:
        """SIGCONT. Raises StackError where it is not paused."""
        if self._paused_by is None or not self.alive:
            raise StackError(f"Replica {self.number} is not paused: there is nothing to resume.", status=400)
        self._signal(signal.SIGCONT)
        self.event("lifted", fault="pause", id_=self._paused_by)
        self.event("fired", fault="resume", id_=id_)
        self._paused_by = None

    def paused_by(self, id_: str) -> bool:
        """Return whether the fault called `id_` has paused it."""
        return self._paused_by == id_

    async def restart(self, id_: str) -> None:
        """Stop it and start it again at the same address, with the same home.

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
        await self._stop(fault="target", id_=self._lifecycle)

    async def _stop(self, *, fault: str, id_: str) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        if self._child is None:
            return
        was_alive = self.alive
        self._ended = self._ended or "stopped"  # from here on its end is no news
        how = await self._child.end()
        if was_alive:
            self.event("stopped", fault=fault, id_=id_, detail=how)

    def event(self, event: Event, *, fault: str = "target", id_: str | None = None, detail: str = "") -> None:
        """Record what became of it. What is not a planned fault carries the fault `target`."""
        self._records.event(
            FaultEvent(
                at_ns=time.monotonic_ns(),
                fault=fault,
                id=self._lifecycle if id_ is None else id_,
                event=event,
                family="process",
                where=f"replica {self.number}",
                detail=detail,
                must_fire=fault != "target",
            )
        )

    @property
    def _lifecycle(self) -> str:
        return f"target-{self.number}"

    def _gone(self, event: Event, detail: str, *, fault: str = "target", id_: str | None = None) -> None:
        """Its process is to be no more, or is no more: kill what is left of it, and say so."""
        self._ended = detail
        assert self._child is not None
        self._child.kill()
        self.event(event, fault=fault, id_=id_, detail=detail)

    def _check_alive(self, fault: str) -> None:
        if not self.alive:
            msg = f"Replica {self.number} does not run ({self._ended or 'never started'}): {fault} needs one that does."
            raise StackError(msg, status=400)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.signal(number)

    def _ask_health(self) -> None:
        path = self._start.ready.path
        if path is None or not self._ready or self._probe is not None:
            return
        self._probe = asyncio.get_running_loop().create_task(
            ask("127.0.0.1", self.port, path, within_s=_PROBE_WITHIN_S)
        )

    def _point(self, child: Child) -> None:
        health_ms: float | None = None
        health_status: int | None = None
        if self._probe is not None and self._probe.done():
            answer = self._probe.result()
            self._probe = None
            health_status = answer.status or 0  # 0: asked, and no answer came
            health_ms = None if answer.status is None else round(answer.ms, 2)
        point = child.tree.read(
            time.monotonic_ns(), replica=self.number, health_ms=health_ms, health_status=health_status
        )
        if point is not None:
            self._records.point(point)

    def _line(self, line: LogLine) -> None:
        self._records.line(line)
        if line.text.strip():
            self._said.append(line.text.strip()[:_SAID_CHARS])

    def _last_lines(self) -> str:
        return f" It last said: {' | '.join(self._said)}" if self._said else " It said nothing."


async def _listening(port: int) -> tuple[bool, str]:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        return False, error.strerror or str(error)
    writer.transport.abort()
    return True, ""
