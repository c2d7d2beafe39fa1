"""Kill: a process of the target, or its Redis, dies at once, without a chance to clean up."""

from __future__ import annotations

from harness.faults.fault import ProcessFault


class Kill(ProcessFault, frozen=True, kw_only=True, tag="kill"):
    """SIGKILL to it and everything it started."""
