"""What does a request say? Read as it arrives, and never more of it than is allowed."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from reference_agent.caller import (
    ASKING,
    Asking,
    Hints,
    Network,
    caller_address,
    hints_of,
    is_unknown_proxy,
)
from reference_agent.errors import Refused
from reference_agent.headers import first_value
from reference_agent.presence import Arrival, when_it_waits


def asked_by(request: Request) -> None:
    """Note whose request it is, as far as its headers tell: what goes wrong from now on is told in their language."""
    ASKING.set(Asking(accepts=first_value(request.scope["headers"], b"accept-language")))


async def said_in(request: Request, most_bytes: int, arrival: Arrival) -> dict[str, Any]:
    """Return the JSON object that a request carries.

    Args:
        request: read to its end.
        most_bytes: of its body.
        arrival: how long that is waited for.

    Raises:
        Refused: it is too big or too slow, or no JSON, or no object.
    """
    asked_by(request)
    body = await when_it_waits(arrival, _body(request.receive, most_bytes))
    try:
        # Bytes would be taken for whatever they look like, UTF-16 and UTF-32 as well. What "utf-8-sig" does is Python.
        said = json.loads(body.removeprefix(BOM_UTF8).decode())
    except (ValueError, RecursionError):
        raise Refused(400, "not_json", plainly="The request is not JSON in UTF-8.") from None
    if not isinstance(said, dict):
        raise Refused(422, "not_an_object", plainly='Expected {"user_id": "...", "message": "..."}.')
    return said


async def _body(receive: Receive, most_bytes: int) -> bytes:
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > most_bytes:
            raise Refused(413, "body_too_big", plainly=f"The request is larger than {most_bytes} bytes.")
        more = message.get("more_body", False)
    return body


def hints_in(request: Request, said: Mapping[str, Any], proxies: tuple[Network, ...]) -> Hints:
    """Return what a request says of its caller beside the message, and note whose it is, as `asked_by` does."""
    peer = (request.scope.get("client") or ("",))[0]
    # Of several with one name the first one counts.
    headers = {
        name.decode(): value.decode("latin-1") for name, value in reversed(request.scope["headers"]) if name in _HEADERS
    }
    forwarded_for = headers.get("x-forwarded-for", "")
    hints = hints_of(
        said,
        headers,
        caller_address(peer, forwarded_for, proxies),
        by_unknown_proxy=is_unknown_proxy(peer, forwarded_for, proxies),
    )
    ASKING.set(Asking(hints.language, said.get("message"), said.get("user_id"), hints.accepts))
    return hints


_HEADERS = frozenset({b"accept-language", b"x-time-zone", b"x-timezone", b"x-forwarded-for"})
