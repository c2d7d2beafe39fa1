"""Restart: a process is stopped and started again, as a deployment does."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Restart(ProcessFault, frozen=True, kw_only=True, tag="restart"):
    """SIGTERM, after its time of grace SIGKILL, then a fresh process at the same address."""
