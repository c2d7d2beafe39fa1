"""A line of the target that can be broken: the fault proxy of one scenario, and how it is told what to break."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.model import FaultEvent, LogLine
from harness.stack.errors import StackError
from harness.stack.household import Household, free_port
from harness.stack.process import Process
from harness.stack.records import Records
from harness.telemetry import Answer, ask

_READY_WITHIN_S = 20.0
_CONTROL_WITHIN_S = 10.0


class Proxy(Process):
    """A fault proxy in a process of its own, fresh for every scenario. What becomes of its faults is on the timeline.

    Args:
        household: where its processes belong.
        home: a directory of its own.
        records: where its coming and going, and the events of its faults, are written.
        name: what the target's file calls it.
        upstream: HOST:PORT where it leads to.
        port: where it listens; None: a free port.
        seed: of its random choices.
        number: which proxy it is.
    """

    kind = "proxy"
    # It is the harness's equipment: when it ends unplanned, what follows proves nothing about the target.
    family = "upstream"
    called = "The fault proxy"

    def __init__(
        self,
        household: Household,
        home: Path,
        records: Records,
        *,
        name: str,
        upstream: str,
        port: int | None,
        seed: int,
        number: int,
    ) -> None:
        self.name = name
        self.upstream = upstream
        self._control_port = free_port()
        listens_at = port or free_port()
        super().__init__(
            household,
            command=[
                *(sys.executable, "-m", "harness.proxy", "--name", name, "--events", "--seed", str(seed)),
                *("--listen", str(listens_at), "--upstream", upstream, "--control", str(self._control_port)),
            ],
            environment=os.environ,
            directory=home,
            port=listens_at,
            records=records,
            number=number,
        )

    @property
    def where(self) -> str:
        """How the timeline names it."""
        return f"proxy {self.name}"

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def arm(self, spec: Mapping[str, Any]) -> str:
        """Break the line, now or later, and return the fault's id.

        Raises:
            StackError: it makes no sense to the proxy, or the proxy is gone.
        """
        answer = await self._control("POST", "/_control/faults", json.dumps(spec).encode())
        return str(json.loads(answer.body)["id"])

    async def lift(self, id_: str) -> None:
        """Mend the line. What was mended by itself meanwhile stays so."""
        await self._control("DELETE", f"/_control/faults/{id_}", gone_is_fine=True)

    async def _control(self, method: str, path: str, body: bytes = b"", *, gone_is_fine: bool = False) -> Answer:
        answer = await ask("127.0.0.1", self._control_port, path, within_s=_CONTROL_WITHIN_S, method=method, body=body)
        if answer.status == 200 or (gone_is_fine and answer.status == 404):
            return answer
        said = answer.error or json.loads(answer.body)["error"]
        raise StackError(f"{self._name}: {said}", status=400 if answer.status == 400 else 502)

    def _line(self, line: LogLine) -> None:
        if line.stream == "stdout":
            try:
                event = msgspec.json.decode(line.text, type=FaultEvent)
            except msgspec.DecodeError:
                pass  # the line that says that it is ready
            else:
                self._records.event(event)
                return
        super()._line(line)

    @property
    def _readiness(self) -> tuple[float, str]:
        return _READY_WITHIN_S, "GET /_control"

    @property
    def _advice(self) -> str:
        return "is the machine overloaded?"

    async def _ask_ready(self, within_s: float) -> tuple[bool, str]:
        answer = await ask("127.0.0.1", self._control_port, "/_control", within_s=within_s)
        return answer.status == 200, answer.error or f"status {answer.status}"
