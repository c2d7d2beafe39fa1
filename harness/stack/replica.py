"""One process of the target: when is it ready, how much memory does it take, how healthy is it?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.model import LogLine
from harness.stack.child import Child
from harness.stack.household import Household
from harness.stack.process import Process, listening
from harness.stack.records import Records
from harness.target import Start
from harness.telemetry import Answer, ask

TICK_S = 0.01
"""How often memory is looked at: a target that takes 2 GB/s is caught 20 MB above its limit."""
_TICKS_PER_POINT = 10
_TICKS_PER_LISTING = 20
_TICKS_PER_PROBE = 50
_PROBE_WITHIN_S = 2.0
_MB = 1_000_000


class Replica(Process):
    """One process of the target.

    Args:
        household: where its processes belong.
        start: how the target's file says it is started.
        command: with its placeholders filled.
        environment: whole.
        directory: where it runs, None for the supervisor's own.
        port: its port on 127.0.0.1.
        records: where everything about it is written.
        number: which replica it is.
        alone: whether it is the only one.
    """

    kind = "target"
    family = "process"

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
        alone: bool = True,
    ) -> None:
        super().__init__(
            household,
            command=command,
            environment=environment,
            directory=directory,
            port=port,
            records=records,
            number=number,
        )
        self.called = "The target" if alone else f"Replica {number} of the target"
        self._start = start
        self._ticks = 0
        self._probe: asyncio.Task[Answer] | None = None

    @property
    def where(self) -> str:
        """How the timeline names it."""
        return f"replica {self.number}"

    @property
    def host(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _readiness(self) -> tuple[float, str]:
        path = self._start.ready.path
        return self._start.ready.within_s, f"GET {path}" if path else f"port {self.port}"

    @property
    def _advice(self) -> str:
        return "is ready in [start] right, or does it need longer?"

    async def _ask_ready(self, within_s: float) -> tuple[bool, str]:
        path = self._start.ready.path
        if path is None:
            return await listening(self.port)
        answer = await ask("127.0.0.1", self.port, path, within_s=min(within_s, _PROBE_WITHIN_S))
        ready = answer.status is not None and 200 <= answer.status < 300
        return ready, answer.error or f"answered with {answer.status}"

    def _look(self, child: Child) -> None:
        self._ticks += 1
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

    async def _stop(self, *, fault: str, id_: str) -> None:
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None
        await super()._stop(fault=fault, id_=id_)

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
        super()._line(line)
