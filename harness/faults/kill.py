"""Kill: the target's process dies at once, without a chance to clean up."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Kill(ProcessFault, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL to the replica and everything it started."""
