"""Blackhole: what is sent to the upstream's address disappears, as behind a firewall that drops packets."""

from __future__ import annotations

from harness.faults.fault import NetworkFault


class Blackhole(NetworkFault, frozen=True, kw_only=True, tag="blackhole"):
    """Connecting takes until the caller gives up; connections that exist fall silent. Lifting it closes those."""
