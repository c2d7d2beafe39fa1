"""Which request is this? Known to whatever is done on its behalf, however deep, and to the upstreams it leads to."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar

from reference_agent.redaction import redacted_text

HEADER = "X-Request-ID"
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
"""Empty: nobody gave this request an id, or nothing is done for any request."""

_HARMLESS = re.compile(r"[A-Za-z0-9._:-]{1,64}")


def request_id_of(given: str) -> str:
    """Return the id under which a request is worked on.

    Args:
        given: what the request's own header says; empty: nothing.

    Returns:
        The one that was given, where it can stand in a log line, and in a header to others, as it is; else a new one.
    """
    if given and _HARMLESS.fullmatch(given) and redacted_text(given) == given:
        return given
    return f"{random.getrandbits(128):032x}"


def passed_on() -> dict[str, str]:
    """Return the headers by which an upstream learns on whose behalf it is called."""
    request_id = REQUEST_ID.get()
    return {HEADER: request_id} if request_id else {}
