"""What does the caller get when a turn fails?"""

from __future__ import annotations

import math
from typing import Any, Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from reference_agent.errors import Gone, HandledFailure, OutOfTime, Refused, Unavailable
from reference_agent.parts.logging import Logging


class Failures(Protocol):
    """Turns a failure into an answer."""

    def answer(self, failure: Exception) -> Response | None:
        """Return what the caller gets; None: nothing was foreseen, and the framework's plain 500 is what they get."""
        ...


class DocumentedFailures:
    """A handled failure looks like a success (200 with an `error` in it); any other is FastAPI's plain 500."""

    def answer(self, failure: Exception) -> Response | None:
        if isinstance(failure, HandledFailure):
            return JSONResponse({"error": str(failure)})
        if isinstance(failure, Refused):
            return JSONResponse({"error": failure.message}, failure.status)
        return None


_CALLER_LEFT = 499  # as nginx writes it down; nobody is there to read it


class HardenedFailures:
    """A status that says whose fault it is, a word for machines, a sentence for people, and when to come back."""

    def __init__(self, logging: Logging) -> None:
        self._logging = logging

    def answer(self, failure: Exception) -> Response | None:
        match failure:
            case Refused():
                return _error(failure.status, failure.code, failure.message, failure.retry_after_s)
            case Unavailable():
                self._logging.warned("unavailable", upstream=failure.upstream, reason=failure.reason)
                message = "いまは考えられないにゃん。すこし後で話しかけてにゃん"
                return _error(503, f"{failure.upstream}_unavailable", message, failure.retry_after_s)
            case OutOfTime():
                self._logging.warned("out_of_time", what=failure.what)
                return _error(504, "out_of_time", "時間切れにゃん。もう一度話しかけてにゃん", 1.0)
            case Gone():
                self._logging.warned("conversation_gone")
                return _error(503, "conversation_gone", "話をわすれちゃったにゃん。もう一度話しかけてにゃん", 0.0)
            case ClientDisconnect():
                self._logging.noted("caller_left")
                return Response(status_code=_CALLER_LEFT)
            case HandledFailure():
                self._logging.warned("generation_failed")
                return _error(502, "generation_failed", "うまく考えられなかったにゃん", None)
        self._logging.bug("turn_failed", failure)
        return _error(500, "internal", "なにかがおかしいにゃん。調べておくにゃん", None)


def _error(status: int, code: str, message: str, retry_after_s: float | None) -> JSONResponse:
    error: dict[str, Any] = {"code": code, "message": message}
    headers = {}
    if retry_after_s is not None:
        error["retry_after_s"] = round(retry_after_s, 3)
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return JSONResponse({"error": error}, status, headers)


VARIANTS = {
    "documented": DocumentedFailures,
    "proposed": DocumentedFailures,  # nothing was proposed
    "hardened": HardenedFailures,
}
