"""How is a fault proxy told what to break? By a control API as that of the upstreams."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from harness.faults import FaultError
from harness.upstreams.routing import Routes, routed, routes_of
from harness.upstreams.served import Call
from harness.upstreams.wire import Reply, Request, json_reply

if TYPE_CHECKING:
    from harness.proxy.fault_proxy import FaultProxy


class ControlCall:
    """One call to the control API."""

    def __init__(self, request: Request, params: dict[str, str]) -> None:
        self.request = request
        self.params = params
        self.reply: Reply | None = None
        self.fault: str | None = None
        self.fault_id: str | None = None


class ProxyControl:
    """The control API of one proxy."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._routes: Routes[Callable[..., object]] = routes_of(self)

    def begin(self, request: Request) -> ControlCall:
        """Do what was asked, at once."""
        found = self._routes.find(request.method, request.path)
        call = ControlCall(request, found[2] if found else {})
        if found is None:
            known = ", ".join(self._routes.templates)
            call.reply = json_reply(
                {"error": f"There is no {request.method} {request.path} here. There is: {known}."}, status=404
            )
            return call
        try:
            reply = found[1](call)
            assert isinstance(reply, Reply)
            call.reply = reply
        except (FaultError, msgspec.DecodeError) as error:
            call.reply = json_reply({"error": str(error)}, status=400)
        return call

    def finish(
        self,
        call: Call,
        *,
        status: int | None,
        response_bytes: int,
        client_gone: bool,
        send: Callable[[], None] | None = None,
    ) -> None:
        """Nothing is recorded of control calls."""
        if send is not None:
            send()

    def go_down(self, seconds: float, fault: str) -> None:
        """The control port never goes down."""

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
        described = msgspec.json.decode(call.request.body or b"{}")
        if not isinstance(described, dict) or not isinstance(described.get("fault"), str):
            msg = 'A fault is described by an object such as {"fault": "latency", "delay_s": 0.3}.'
            raise FaultError(msg)
        name = described.pop("fault")
        return json_reply({"id": self._proxy.arm(name, **described)})

    @routed("DELETE /_control/faults/{id}")
    def lift(self, call: ControlCall) -> Reply:
        """Take a fault out of force."""
        id_ = call.params["id"]
        try:
            self._proxy.lift(id_)
        except KeyError:
            in_force = ", ".join(armed.id for armed in self._proxy.in_force) or "none"
            return json_reply({"error": f"There is no fault {id_!r} in force. In force: {in_force}."}, status=404)
        return json_reply({"id": id_})

    @routed("GET /_control/events")
    def events(self, call: ControlCall) -> Reply:
        """Return what became of the faults, one event a line."""
        lines = b"".join(msgspec.json.encode(event) + b"\n" for event in self._proxy.events)
        return Reply(200, lines, (("content-type", "application/x-ndjson"),))
