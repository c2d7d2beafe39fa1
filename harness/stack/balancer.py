"""How is the balancer run that stands before several replicas? See `round_robin` for what it does."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from harness.stack.household import Household, free_port
from harness.stack.process import Process, listening
from harness.stack.records import Records

_READY_WITHIN_S = 20.0


class Balancer(Process):
    """The one address under which the load finds all replicas.

    Args:
        household: where its processes belong.
        records: where its coming and going is written.
        ports: of the replicas.
        health_path: what a replica is asked to find out whether it is well; None where an open port is enough.
    """

    kind = "balancer"
    # It is the harness's equipment: when it ends unplanned, what follows proves nothing about the target.
    family = "upstream"
    called = "The balancer"

    def __init__(self, household: Household, records: Records, ports: Sequence[int], health_path: str | None) -> None:
        port = free_port()
        super().__init__(
            household,
            command=[sys.executable, "-m", "harness.stack.round_robin", *map(str, (port, health_path or "", *ports))],
            environment=os.environ,
            directory=None,
            port=port,
            records=records,
        )

    @property
    def where(self) -> str:
        """How the timeline names it."""
        return self.kind

    @property
    def host(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def _readiness(self) -> tuple[float, str]:
        return _READY_WITHIN_S, f"port {self.port}"

    @property
    def _advice(self) -> str:
        return "is the machine overloaded?"

    async def _ask_ready(self, within_s: float) -> tuple[bool, str]:
        return await listening(self.port)
