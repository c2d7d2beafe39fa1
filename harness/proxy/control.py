"""How is a fault proxy told what to break? By a control API as that of the upstreams."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from harness.faults import parse_timed
from harness.proxy.faults import LINE_FAULTS
from harness.upstreams.control_api import ControlApi, ControlCall, refusal
from harness.upstreams.routing import routed
from harness.upstreams.wire import Reply, json_reply

if TYPE_CHECKING:
    from harness.proxy.fault_proxy import FaultProxy


class ProxyControl(ControlApi):
    """The control API of one proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        super().__init__()
        self._proxy = proxy

    @routed("GET /_control")
    def about(self, call: ControlCall) -> Reply:
        """Say who this is."""
        return json_reply(
            {
                "pid": os.getpid(),
                "listen": self._proxy.address,
                "upstream": str(self._proxy.upstream),
                "accepted": self._proxy.accepted,
                "open_connections": self._proxy.open_connections,
            }
        )

    @routed("GET /_control/faults")
    def faults(self, call: ControlCall) -> Reply:
        """List the faults in force, and those that are planned."""
        return json_reply(
            [
                {"id": armed.id, "in_force": in_force, "fired": armed.fired, **msgspec.to_builtins(armed.fault)}
                for in_force, several in ((True, self._proxy.in_force), (False, self._proxy.planned))
                for armed in several
            ]
        )

    @routed("POST /_control/faults")
    def arm(self, call: ControlCall) -> Reply:
        """Put a fault in force: at once, or `from_s` seconds from now; until it is lifted, or for `for_s` seconds."""
        return json_reply({"id": self._proxy.arm_timed(parse_timed(call.json, LINE_FAULTS))})

    @routed("DELETE /_control/faults/{id}")
    def lift(self, call: ControlCall) -> Reply:
        """Take a fault out of force."""
        id_ = call.params["id"]
        try:
            self._proxy.lift(id_)
        except KeyError:
            in_force = ", ".join(armed.id for armed in self._proxy.in_force) or "none"
            return refusal(404, f"There is no fault {id_!r} in force. In force: {in_force}.")
        return json_reply({"id": id_})

    @routed("GET /_control/events")
    def events(self, call: ControlCall) -> Reply:
        """Return what became of the faults, one event a line."""
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in self._proxy.events)
        return Reply(200, lines, (("content-type", "application/x-ndjson"),))
