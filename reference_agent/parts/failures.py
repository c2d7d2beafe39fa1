"""What does the caller get when a turn fails?"""

from __future__ import annotations

import functools
import math
from collections.abc import Awaitable
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from reference_agent.caller import ASKING, Language
from reference_agent.errors import Gone, HandledFailure, OutOfTime, Refused, Unavailable
from reference_agent.parts.locale import Locale
from reference_agent.parts.logging import Logging
from reference_agent.parts.persona import Persona
from reference_agent.sentences import UNAVAILABLE, sentences


class Failures(Protocol):
    """Turns a failure into an answer."""

    def answer(self, failure: Exception) -> Response | None:
        """Return what the caller gets; None: nothing was foreseen, and the framework's plain 500 is what they get."""
        ...


async def answered(answer: Awaitable[Response], failures: Failures) -> Response:
    """Return what an endpoint answers, whatever happens in it."""
    try:
        return await answer
    except Exception as failure:
        response = failures.answer(failure)
        if response is None:
            raise
        return response


class DocumentedFailures:
    """A handled failure looks like a success (200 with an `error` in it); any other is FastAPI's plain 500."""

    def __init__(self, persona: Persona) -> None:
        self._persona = persona

    def answer(self, failure: Exception) -> Response | None:
        if isinstance(failure, HandledFailure):
            return JSONResponse({"error": str(failure)})
        if isinstance(failure, Refused):
            words = failure.plainly or self._persona.words(_sentences(failure.code, "ja", **failure.figures), "ja")
            return JSONResponse({"error": words}, failure.status)
        return None


_CALLER_LEFT = 499  # as nginx writes it down; nobody is there to read it


_TOO_SLOW = 408
_KEPT_WORDS = 500  # codes by languages are a hundred


class _Ready(Response):
    """A response whose headers are as they are sent: to make them out of a mapping would be 2 us of a refusal."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body = body
        self.status_code = status
        self.background = None
        self.raw_headers = [*headers, (b"content-length", b"%d" % len(body))]


_JSON = (b"content-type", b"application/json")
_NO_MORE = (b"connection", b"close")  # what is still to come on it is the rest of a request that was given up


class HardenedFailures:
    """A status that says whose fault it is, a word for machines, a sentence for people, and when to come back.

    The sentence is in the caller's language and in character. Refusals come in floods: the words are put together once,
    and the language is what the request says (half a microsecond) or what the first letters tell (5 to 40).
    """

    def __init__(self, logging: Logging, locale: Locale, persona: Persona) -> None:
        self._logging = logging
        self._locale = locale
        self._persona = persona
        self._words = functools.lru_cache(_KEPT_WORDS)(self._put_into_words)

    def answer(self, failure: Exception) -> Response | None:
        match failure:
            case Refused():
                return self._error(
                    failure.status, failure.code, failure.retry_after_s, failure.plainly, **failure.figures
                )
            case Unavailable():
                self._logging.warned("unavailable", upstream=failure.upstream, reason=failure.reason)
                return self._error(503, f"{failure.upstream}_{UNAVAILABLE}", failure.retry_after_s)
            case OutOfTime():
                self._logging.warned("out_of_time", what=failure.what)
                return self._error(504, "out_of_time", 1.0)
            case Gone():
                self._logging.warned("conversation_gone")
                return self._error(503, "conversation_gone", 0.0)
            case ClientDisconnect():
                self._logging.noted("caller_left")
                return Response(status_code=_CALLER_LEFT)
            case HandledFailure():
                self._logging.warned("generation_failed")
                return self._error(502, "generation_failed")
        self._logging.bug("turn_failed", failure)
        return self._error(500, "internal")

    def _error(
        self, status: int, code: str, retry_after_s: float | None = None, plainly: str = "", **figures: int
    ) -> Response:
        message = plainly or self._words(code, self._locale.at_first_sight(ASKING.get()), **figures)
        error: dict[str, Any] = {"code": code, "message": message}
        headers = [_JSON]
        if retry_after_s is not None:
            error["retry_after_s"] = round(retry_after_s, 3)
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
        if status == _TOO_SLOW:
            headers.append(_NO_MORE)
        return _Ready(msgspec.json.encode({"error": error}), status, headers)

    def _put_into_words(self, code: str, language: Language, **figures: int) -> str:
        return self._persona.words(_sentences(code, language, **figures), language)


def _sentences(code: str, language: Language, **figures: int) -> list[str]:
    return [sentence.format(**figures) for sentence in sentences(code, language)]


VARIANTS = {
    "documented": DocumentedFailures,
    "proposed": DocumentedFailures,  # nothing was proposed
    "hardened": HardenedFailures,
}
