"""Pause: a process stands still, its sockets open."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Pause(ProcessFault, frozen=True, kw_only=True, tag="pause"):
    """SIGSTOP; `resume` lets it go on."""
