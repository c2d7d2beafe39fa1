"""What is written down about a turn, and about everything else that this process has to say?"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, TextIO

import msgspec
import openai
import structlog
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reference_agent.clock import Clock
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.headers import first_value
from reference_agent.redaction import redacted, redacted_text
from reference_agent.request_id import HEADER, REQUEST_ID, request_id_of
from reference_agent.settings import Settings


class Logging(Protocol):
    """Writes down what happened."""

    def heard(self, user_id: str, message: str) -> None:
        """Somebody said something."""
        ...

    def said(self, user_id: str, reply: str) -> None:
        """It was answered."""
        ...

    def noted(self, event: str, **facts: Any) -> None:
        """Something worth knowing happened; `facts` hold no user's text."""
        ...

    def warned(self, event: str, **facts: Any) -> None:
        """Something happened that an operator should look into when it happens often; `facts` as above."""
        ...

    def bug(self, event: str, exception: BaseException) -> None:
        """Something happened that only a mistake of ours explains."""
        ...

    def install(self, app: FastAPI) -> None:
        """Stand around every request."""
        ...

    def take_over(self) -> dict[str, Any]:
        """Let all that is logged in this process come out here; return what uvicorn's `Config` is given for that."""
        ...


class DocumentedLogging:
    """`print`, in clear text: what users say and what they are told stands on the console."""

    def heard(self, user_id: str, message: str) -> None:
        print(f"{user_id}: {message}", flush=True)

    def said(self, user_id: str, reply: str) -> None:
        print(f"GPT: {reply}", flush=True)

    def noted(self, event: str, **facts: Any) -> None:
        pass

    def warned(self, event: str, **facts: Any) -> None:
        pass

    def bug(self, event: str, exception: BaseException) -> None:
        print(event, exception, flush=True)

    def install(self, app: FastAPI) -> None:
        pass

    def take_over(self) -> dict[str, Any]:
        return {"log_level": "warning"}


_TEXT_CHARS = 4000
"""Longer texts are cut before they are looked through: redaction takes 5 ms for that many at the very worst."""
_PLACES = 6
_CAUSES = 4
_SECRET_CHARS = 8  # a shorter "key" would blank out half the log
_USER_IN_PATH = re.compile(r"(?<=/users/)[^\s\"?]+")
_LOUD_ENOUGH = logging.WARNING
"""Libraries are heard from here on: below, the clients quote what they send, and with it what users say."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO}
_ID_HEADER = HEADER.lower().encode()
_ZONE_CHARS = len("+00:00")
_SHORT_CHARS = 48
_SHORT_REMEMBERED = 1024


_Event = MutableMapping[str, Any]


class HardenedLogging:
    """One JSON object a line: level, time, event, the request's id, and never a user's text.

    Users appear as a keyed hash that joins their lines (and those of all replicas with the same model key), and that
    nobody can look up without the key. E-mail addresses, telephone and card numbers and keys are taken out of every
    value, wherever it comes from. Of an exception its type and places are told, not its text, which may quote what a
    user said. What other libraries, uvicorn and `warnings` have to say goes the same way.

    With AGENT_LOG_TEXTS the texts are there too, redacted: names stay in, so it is not for production.
    """

    def __init__(self, settings: Settings, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._texts = settings.log_texts
        self._level = getattr(logging, settings.log_level.upper())
        keys = (settings.openai_api_key, settings.weather_api_key, settings.news_api_key)
        self._secrets = tuple(key for key in keys if len(key) >= _SECRET_CHARS)
        self._pseudonym_key = hashlib.sha256(f"log:{settings.openai_api_key}".encode()).digest()
        # Most of what is told are words of ours, again and again: events, names of facts, upstreams, routes.
        self._clean_short = functools.lru_cache(_SHORT_REMEMBERED)(lambda text: redacted_text(text, self._secrets))
        self._lines = _Lines(stream)
        self._second, self._begin = -1, ""
        self._log = structlog.wrap_logger(
            self._lines,
            processors=[self._told, lambda _, __, line: _rendered(line)],
            wrapper_class=structlog.make_filtering_bound_logger(self._level),
            cache_logger_on_first_use=True,
        ).bind()

    def heard(self, user_id: str, message: str) -> None:
        self._of_user("heard", user_id, message)

    def said(self, user_id: str, reply: str) -> None:
        self._of_user("said", user_id, reply)

    def noted(self, event: str, **facts: Any) -> None:
        self._log.info(event, **facts)

    def warned(self, event: str, **facts: Any) -> None:
        self._log.warning(event, **facts)

    def bug(self, event: str, exception: BaseException) -> None:
        self._log.error(event, exc_info=exception)

    def install(self, app: FastAPI) -> None:
        app.add_middleware(_Requests, logging=self)

    def take_over(self) -> dict[str, Any]:
        handler = logging.StreamHandler(self._lines)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    _without_others_texts,
                    self._told,
                    lambda _, __, line: _rendered(line),
                ],
            )
        )
        logging.captureWarnings(True)
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(max(self._level, _LOUD_ENOUGH))
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            of_uvicorn = logging.getLogger(name)
            of_uvicorn.handlers.clear()
            of_uvicorn.propagate = True
            of_uvicorn.setLevel(self._level)
        # Requests are written down below, with their ids and without what callers put into paths.
        return {"log_config": None, "access_log": False}

    def request(self, method: str, path: str, status: int, took_s: float) -> None:
        """A request has been answered; `path` as the route has it, without what the caller put in."""
        facts = {"method": method, "path": path, "status": status, "took_s": round(took_s, 4)}
        self._plainly("debug" if method in ("GET", "HEAD") else "info", "request", facts)

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.now()

    def _of_user(self, event: str, user_id: str, text: str) -> None:
        facts = {"user": self._pseudonym(user_id), "chars": len(text)}
        self._plainly("info", event, facts | {"text": self._clean(text)} if self._texts else facts)

    def _pseudonym(self, user_id: str) -> str:
        name = hashlib.blake2b(user_id.encode("utf-8", "replace"), key=self._pseudonym_key, digest_size=6)
        return f"u_{name.hexdigest()}"

    def _plainly(self, level: Literal["debug", "info"], event: str, facts: dict[str, Any]) -> None:
        """Write a line in which there is nothing to be found: words of ours, figures, hashes, and what is clean."""
        if _LEVELS[level] >= self._level:
            self._lines.msg(_rendered(self._line(level, event) | facts))

    def _told(self, _: Any, method: str, event: _Event) -> _Event:
        """Put a line together out of what is told, and nothing that must not be."""
        exc_info = event.pop("exc_info", None)
        event.pop("stack_info", None)
        line = self._line(event.pop("level", method), self._clean(str(event.pop("event", ""))))
        line.update(redacted(event, self._clean))
        exception = _exception_in(exc_info)
        if exception is not None:
            line["exception"] = redacted(_facts_of(exception, with_text=self._texts), self._clean)
        return line

    def _line(self, level: str, event: str) -> dict[str, Any]:
        second, ms = divmod(int(self._clock.wall() * 1000), 1000)
        if second != self._second:
            self._second, self._begin = second, datetime.fromtimestamp(second, UTC).isoformat()[:-_ZONE_CHARS]
        line: dict[str, Any] = {"level": level, "at": f"{self._begin}.{ms:03d}+00:00", "event": event}
        request_id = REQUEST_ID.get()
        if request_id:
            line["request_id"] = request_id
        return line

    def _clean(self, text: str) -> str:
        if len(text) <= _SHORT_CHARS:
            return self._clean_short(text)
        if len(text) > _TEXT_CHARS:
            text = text[:_TEXT_CHARS] + f"… ({len(text)} characters)"
        return redacted_text(text, self._secrets)


def _rendered(line: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(line).decode()
    except UnicodeEncodeError:
        return json.dumps(line, ensure_ascii=False)  # half a surrogate pair is JSON, and no UTF-8


class _Lines:
    """Where lines go; one that cannot be written is lost, and nothing else is."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        self.write(line + "\n")

    debug = info = warning = error = critical = msg

    def write(self, text: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8"))
        except (OSError, ValueError):
            return

    def flush(self) -> None:
        pass


class _Requests:
    """Gives every request its id, says it in the answer, and writes down how it went."""

    def __init__(self, app: ASGIApp, logging: HardenedLogging) -> None:
        self._app = app
        self._logging = logging

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(first_value(scope["headers"], _ID_HEADER))
        said_id = (_ID_HEADER, request_id.encode())
        token = REQUEST_ID.set(request_id)
        begin, status = self._logging.now(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), said_id]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception as bug:
            self._logging.bug("request_failed", bug)
            if status:
                raise  # half an answer is out: the connection has to break, so that nobody takes it for a whole one
            await PlainTextResponse("Internal Server Error", 500)(scope, receive, send_with_id)
        finally:
            path = getattr(scope.get("route"), "path", "(none)")
            self._logging.request(scope["method"], path, status, self._logging.now() - begin)
            REQUEST_ID.reset(token)


def _without_others_texts(_: Any, __: str, event: _Event) -> _Event:
    """Cut what libraries are known to quote: user ids in paths, and the text of exceptions that nobody fetched."""
    text = str(event["event"])
    if event.get("logger") == "asyncio":
        text = text.partition("\n")[0]
    event["event"] = _USER_IN_PATH.sub("…", text)
    return event


def _exception_in(exc_info: Any) -> BaseException | None:
    """Return the exception that structlog or the standard library hands over in one of their ways."""
    if exc_info is True:
        exc_info = sys.exc_info()
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else None


def _facts_of(exception: BaseException, *, with_text: bool, depth: int = 0) -> dict[str, Any]:
    """Return what an exception is, where it came from and what it came of, without its text: that may quote a user."""
    facts: dict[str, Any] = {"type": type(exception).__name__}
    if with_text or isinstance(exception, Unavailable | OutOfTime):
        facts["text"] = str(exception)
    if isinstance(exception, openai.APIStatusError):
        facts |= {"status": exception.status_code, "code": exception.code, "upstream_request_id": exception.request_id}
    places = traceback.extract_tb(exception.__traceback__)
    if places:
        facts["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in places[-_PLACES:]]
    within = list(exception.exceptions) if isinstance(exception, BaseExceptionGroup) else []
    cause = exception.__cause__ or (None if exception.__suppress_context__ else exception.__context__)
    if depth < _CAUSES:
        if within:
            facts["of"] = [_facts_of(one, with_text=with_text, depth=depth + 1) for one in within[:_CAUSES]]
        if cause is not None and not isinstance(cause, asyncio.CancelledError):
            facts["cause"] = _facts_of(cause, with_text=with_text, depth=depth + 1)
    return facts


VARIANTS = {
    "documented": DocumentedLogging,
    "proposed": DocumentedLogging,  # nothing was proposed
    "hardened": HardenedLogging,
}
