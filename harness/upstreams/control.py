"""How are the upstreams told what to do, and asked what they saw? A small JSON API at a port that no fault touches."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from harness.evidence import EvidenceError
from harness.faults import parse_timed
from harness.upstreams.control_api import ControlApi, ControlCall, refusal
from harness.upstreams.epoch import EpochSettings
from harness.upstreams.openai import OpenAI
from harness.upstreams.openai.limits import KeySettings
from harness.upstreams.routing import routed
from harness.upstreams.wire import Data, Head, Reply, Request, Step, json_reply, scripted

if TYPE_CHECKING:
    from harness.upstreams.server import Server

_LINES_AT_ONCE = 500
_PARAMETERS = {
    "GET /_control/ledger": ("after", "limit", "mark", "conversation"),
    "GET /_control/retries": ("mark", "conversation"),
}
"""What queries may say, by route; of the others nothing."""
_JSON_LINES = (("content-type", "application/x-ndjson"),)


def _in_pieces(lines: Iterator[bytes]) -> Iterator[Step]:
    """Yield lines as fast as they are read: a million of them are not held a second time."""
    yield Head(200, _JSON_LINES)
    while piece := b"".join(line + b"\n" for line in islice(lines, _LINES_AT_ONCE)):
        yield Data(piece)


class Control(ControlApi):
    """The control API."""

    parameters = _PARAMETERS

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def begin(self, request: Request) -> ControlCall:
        """Do what was asked, at once; what cannot be written is said to be so."""
        try:
            return super().begin(request)
        except EvidenceError as error:
            call = ControlCall(request, {})
            call.reply = refusal(500, str(error))
            return call

    @routed("GET /_control")
    def about(self, call: ControlCall) -> Reply:
        """Say who this is and where everything is."""
        settings = self._server.epoch.settings
        return json_reply(
            {
                "pid": os.getpid(),
                "epoch": settings.name,
                "seed": settings.seed,
                "latency": settings.latency,
                "latency_scale": settings.latency_scale,
                "upstreams": self._server.addresses.upstreams,
            }
        )

    @routed("POST /_control/epoch")
    def begin_epoch(self, call: ControlCall) -> Reply:
        """Forget everything and begin anew."""
        asked = call.json_object
        settings = msgspec.convert({**msgspec.to_builtins(self._server.settings), **asked}, EpochSettings)
        self._server.begin_epoch(settings)
        directory = self._server.epoch.ledger.directory
        return json_reply({"epoch": settings.name, "record": None if directory is None else str(directory)})

    @routed("GET /_control/faults")
    def faults(self, call: ControlCall) -> Reply:
        """List the faults in force, and those that are planned."""
        faults = self._server.epoch.faults
        listed: list[dict[str, Any]] = [
            {"id": armed.id, "in_force": in_force, "fired": armed.fired, **msgspec.to_builtins(armed.fault)}
            for in_force, several in ((True, faults.in_force), (False, faults.planned))
            for armed in several
        ]
        return json_reply(listed)

    @routed("POST /_control/faults")
    def arm(self, call: ControlCall) -> Reply:
        """Put a fault in force: at once, or `from_s` seconds from now; until it is lifted, or for `for_s` seconds."""
        timed = parse_timed(call.json)
        return json_reply({"id": self._server.arm(timed)})

    @routed("DELETE /_control/faults/{id}")
    def lift(self, call: ControlCall) -> Reply:
        """Take a fault out of force."""
        id_ = call.params["id"]
        try:
            self._server.epoch.faults.lift(id_, time.monotonic_ns())
        except KeyError:
            faults = self._server.epoch.faults
            known = ", ".join(armed.id for armed in (*faults.in_force, *faults.planned)) or "none"
            return refusal(404, f"There is no fault {id_!r} in force or planned. There is: {known}.")
        return json_reply({"id": id_})

    @routed("GET /_control/ledger")
    def ledger(self, call: ControlCall) -> Reply:
        """Return entries, one a line; `after`, `limit`, `mark`, `conversation` choose."""
        epoch = self._server.epoch
        epoch.advance(time.monotonic_ns())
        lines = epoch.ledger.lines(
            after=call.number("after") or 0,
            limit=call.number("limit"),
            mark=call.query.get("mark"),
            conversation=call.query.get("conversation"),
        )
        return scripted(_in_pieces(lines))

    @routed("GET /_control/events")
    def events(self, call: ControlCall) -> Reply:
        """Return what became of the faults, one event a line."""
        events = self._server.epoch.ledger.events
        return Reply(200, b"".join(msgspec.json.encode(event) + b"\n" for event in events), _JSON_LINES)

    @routed("GET /_control/summary")
    def summary(self, call: ControlCall) -> Reply:
        """Return the ledger in figures."""
        self._server.epoch.advance(time.monotonic_ns())
        return json_reply(self._server.epoch.ledger.summary())

    @routed("GET /_control/keys")
    def keys(self, call: ControlCall) -> Reply:
        """List the API keys that OpenAI has seen (of a thousand the last ones), what they used and what they may."""
        openai = self._server.epoch.upstreams["openai"]
        assert isinstance(openai, OpenAI)
        return json_reply(
            {
                key: {
                    "revoked": one.revoked,
                    "requests": one.used_requests,
                    "tokens": one.used_tokens,
                    "cost_usd": one.cost_usd,
                    "requests_per_minute": one.requests.limit if one.requests.enforced else None,
                    "tokens_per_minute": one.tokens.limit if one.tokens.enforced else None,
                }
                for key, one in openai.limits.keys.items()
            }
        )

    @routed("POST /_control/keys")
    def change_key(self, call: ControlCall) -> Reply:
        """Revoke an API key, accept it again, or limit what it may ask for."""
        settings = msgspec.convert(call.json, KeySettings)
        openai = self._server.epoch.upstreams["openai"]
        assert isinstance(openai, OpenAI)
        openai.limits.change(settings, time.monotonic_ns())
        return json_reply({"key": settings.key})

    @routed("GET /_control/open")
    def open_generations(self, call: ControlCall) -> Reply:
        """List the generations that still cost or block: the latest state of each."""
        self._server.epoch.advance(time.monotonic_ns())
        return json_reply(self._server.epoch.ledger.open_generations())

    @routed("GET /_control/turns")
    def turns(self, call: ControlCall) -> Reply:
        """Return how many tools were asked for in each turn of a user, by its name: its mark, where it has one."""
        self._server.epoch.advance(time.monotonic_ns())
        return json_reply(self._server.epoch.ledger.tool_calls_by_turn())

    @routed("GET /_control/spend")
    def spend(self, call: ControlCall) -> Reply:
        """Return what was spent, in US dollars, by caller and by model; the caller is "" where none was told."""
        return json_reply(self._server.epoch.ledger.spend())

    @routed("GET /_control/retries")
    def retries(self, call: ControlCall) -> Reply:
        """List calls that were made more than once with the same body within a turn; `mark`, `conversation` choose."""
        mark, conversation = call.query.get("mark"), call.query.get("conversation")
        if mark is None and conversation is None:
            return refusal(400, "Say which turn: `mark` or `conversation`.")
        return json_reply(self._server.epoch.ledger.retries(mark=mark, conversation=conversation))

    @routed("POST /_control/flush")
    def flush(self, call: ControlCall) -> Reply:
        """Write everything so far."""
        self._server.flush()
        return json_reply({})
