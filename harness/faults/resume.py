"""Resume: a paused target goes on."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Resume(ProcessFault, frozen=True, kw_only=True, tag="resume"):
    """SIGCONT to the replica."""
