"""The control APIs of the upstreams, of a fault proxy and of the supervisor, given bodies that nobody can read."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from harness.proxy.control import ProxyControl
from harness.proxy.fault_proxy import FaultProxy
from harness.stack.api import _read
from harness.stack.errors import StackError
from harness.upstreams.control import Control
from harness.upstreams.server import Server
from harness.upstreams.wire import Request

UNREADABLE = {
    "[": b"[" * 100_000,
    "{": b'{"a":' * 100_000,
    "latin": b'{"fault": "\xff"}',
    "not whole": b'{"fault": "hang"',
    "NaN": b'{"fault": "slow", "delay_s": NaN}',
}


async def answered(api: str, path: str, body: bytes) -> tuple[int, Any]:
    server = Server() if api == "upstreams" else None
    control = ProxyControl(FaultProxy("127.0.0.1:1")) if server is None else Control(server)
    try:
        reply = control.begin(Request("POST", f"/_control/{path}", body=body)).reply
    finally:
        if server is not None:
            server.close()
    assert reply is not None
    return reply.status, json.loads(reply.body)


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize(
    ("api", "path"), [("upstreams", "epoch"), ("upstreams", "faults"), ("upstreams", "keys"), ("proxy", "faults")]
)
def test_a_body_that_nobody_can_read_is_refused_in_one_sentence(api: str, path: str, body: bytes) -> None:
    status, answer = asyncio.run(answered(api, path, body))
    assert status == 400
    assert answer["error"].startswith("The body cannot be read as JSON: ")


@pytest.mark.parametrize(("api", "path"), [("upstreams", "epoch"), ("upstreams", "keys"), ("proxy", "faults")])
def test_a_body_that_is_no_object_is_refused(api: str, path: str) -> None:
    status, answer = asyncio.run(answered(api, path, b"[1]"))
    assert status == 400
    assert "xpected" in answer["error"] or "described by an object" in answer["error"]


@pytest.mark.parametrize("times", [b'"from_s": null', b'"for_s": null', b'"from_s": 0'])
def test_times_that_are_left_out_in_so_many_words_count_as_left_out(times: bytes) -> None:
    async def arm() -> int:
        async with FaultProxy("127.0.0.1:1") as proxy:
            reply = ProxyControl(proxy).begin(
                Request("POST", "/_control/faults", body=b'{"fault": "blackhole", %s}' % times)
            )
            assert reply.reply is not None
            return reply.reply.status

    assert asyncio.run(arm()) == 200


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_the_supervisor_refuses_what_it_cannot_read(body: bytes) -> None:
    with pytest.raises(StackError, match="The request's body is not what was expected") as refused:
        _read(body, dict[str, Any])
    assert refused.value.status == 400
