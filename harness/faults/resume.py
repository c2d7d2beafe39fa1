"""Resume: a paused process goes on."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Resume(ProcessFault, frozen=True, kw_only=True, tag="resume"):
    """SIGCONT."""
