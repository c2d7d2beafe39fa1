"""Refuse: nobody listens at the upstream's address any more."""

from __future__ import annotations

from harness.faults.fault import NetworkFault


class Refuse(NetworkFault, frozen=True, kw_only=True, tag="refuse"):
    """The listening socket is really closed, connections that exist are closed too; it is opened again when lifted."""
