"""What is sent to a target, and what does its answer mean by the target's own contract?

Pure functions; both run once per request in the load generator, so they cost microseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from harness.model import Outcome
from harness.target.audio import AudioError, read_audio
from harness.target.description import JsonField, Reply, ReplyText, Target
from harness.target.template import fill

_ERROR_CHARS = 300
"""How much of an error is kept: the record of a request is a line, not a document."""
_HEADER_SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_WHERE_ERRORS_HIDE = ("error", "detail", "message")
"""Where frameworks put the reason of a refusal; only for the text of the record, never for the outcome."""


class RequestParts(msgspec.Struct, frozen=True):
    """One request as it goes out."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class ReadReply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as the target's contract reads it."""

    outcome: Outcome
    text: str = ""
    """The reply text, whole."""
    audio_bytes: int = 0
    audio_s: float = 0.0
    """Length of the audio, 0 where there is none that a player opens."""
    error: str = ""
    """What was wrong, in one sentence; empty for an answer."""


def build_request(target: Target, user_id: str, message: str) -> RequestParts:
    """Build the request in which `user_id` says `message`.

    Any text comes through exactly, lone surrogates included (those as JSON escapes, all else as UTF-8). In the path
    and in headers what is put in is percent-encoded.
    """
    request = target.request
    facts = {"user_id": user_id, "message": message}
    headers = {name: fill(value, facts, _header_quote) for name, value in request.headers.items()}
    content = request.content
    if content is None:
        body = b""
    else:
        body = _encode(_fill_all(content, facts))
        if not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = "application/json"
    return RequestParts(request.method, fill(request.path, facts, _path_quote), headers, body)


def read_reply(target: Target, status: int, headers: Mapping[str, str], body: bytes) -> ReadReply:
    """Read a complete answer.

    Args:
        target: whose contract it is held against.
        status: the status code.
        headers: with names in lower case.
        body: whole.

    Returns:
        ANSWERED for a 2xx that keeps the contract: the text is where it was promised and the audio is audio (or, where
        `text_only` is declared, a JSON body that carries the reply). REFUSED for a 4xx. CLEAR_ERROR for a 200 or 5xx
        whose JSON body names the error, and for a 503 with Retry-After. OPAQUE_ERROR for everything else.
    """
    reply = target.reply
    if 200 <= status < 300:
        return _read_success(reply, headers, body)
    document = _document(headers, body)
    named = _named_error(reply.error, document)
    if 400 <= status < 500:
        return ReadReply(outcome=Outcome.REFUSED, error=_error(f"{status}", named or _hidden_error(document, body)))
    if status >= 500 and named:
        return ReadReply(outcome=Outcome.CLEAR_ERROR, error=_error(f"{status}", named))
    said = _error(f"{status}", _hidden_error(document, body))
    if status == 503 and "retry-after" in headers:
        return ReadReply(outcome=Outcome.CLEAR_ERROR, error=said)
    return ReadReply(outcome=Outcome.OPAQUE_ERROR, error=said)


def _read_success(reply: Reply, headers: Mapping[str, str], body: bytes) -> ReadReply:
    document = _document(headers, body)
    named = _named_error(reply.error, document)
    if named:
        return ReadReply(outcome=Outcome.CLEAR_ERROR, error=_error("", named))
    audio_bytes, audio_s = 0, 0.0
    if reply.audio == "body":
        try:
            audio_s = read_audio(body).length_s
        except AudioError as error:
            text = None if reply.text_only is None else _text_at(reply.text_only.json, document)
            if text:
                return ReadReply(outcome=Outcome.ANSWERED, text=text)
            return ReadReply(outcome=Outcome.OPAQUE_ERROR, error=_error("", f"not what was promised: {error}"))
        audio_bytes = len(body)
    text, missing = _read_text(reply.text, headers, body, document)
    if text is None:
        return ReadReply(
            outcome=Outcome.OPAQUE_ERROR,
            audio_bytes=audio_bytes,
            audio_s=audio_s,
            error=_error("", f"not what was promised: {missing}"),
        )
    return ReadReply(outcome=Outcome.ANSWERED, text=text, audio_bytes=audio_bytes, audio_s=audio_s)


def _read_text(
    where: ReplyText | str, headers: Mapping[str, str], body: bytes, document: Any
) -> tuple[str | None, str]:
    """Return the reply text, or None and what is missing."""
    if isinstance(where, str):
        if where == "none":
            return "", ""
        try:
            return body.decode(), ""
        except UnicodeDecodeError:
            return None, "the body is no UTF-8 text"
    if where.json is not None:
        return _text_at(where.json, document), f"no text at {where.json!r} in a JSON body"
    name = where.header or ""
    value = headers.get(name.lower())
    if value is None:
        return None, f"the header {name} is missing"
    if where.encoding == "url":
        return _ESCAPES.sub(_unescape, value), ""
    try:
        # HTTP libraries read headers as Latin-1; a target that writes them plain writes UTF-8.
        return value.encode("latin-1").decode(), ""
    except UnicodeError:
        return value, ""


def _unescape(escapes: re.Match[str]) -> str:
    # A run of escapes at a time: five times as fast as urllib's unquote on Japanese.
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "replace")


def _document(headers: Mapping[str, str], body: bytes) -> Any:
    """Return the JSON body, or None. An audio body is not tried: it may be large."""
    if body[:1] not in b"{[ \t\r\n" and "json" not in headers.get("content-type", ""):
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _at(path: str, document: Any) -> Any:
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _text_at(path: str, document: Any) -> str | None:
    found = _at(path, document)
    return found if isinstance(found, str) else None


def _named_error(where: JsonField, document: Any) -> str:
    """Return the error that a JSON body names, empty where it names none (absent, null, false or empty)."""
    found = _at(where.json, document)
    if not found:
        return ""
    if isinstance(found, dict) and isinstance(found.get("message"), str) and found["message"]:
        return str(found["message"])
    return found if isinstance(found, str) else msgspec.json.encode(found).decode()


def _hidden_error(document: Any, body: bytes) -> str:
    if isinstance(document, dict):
        for key in _WHERE_ERRORS_HIDE:
            named = _named_error(JsonField(json=key), document)
            if named:
                return named
    return body[: 4 * _ERROR_CHARS].decode("utf-8", "replace").strip()


def _error(status: str, said: str) -> str:
    return f"{status} {said}".strip()[:_ERROR_CHARS]


def _fill_all(value: Any, facts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return fill(value, facts)
    if isinstance(value, dict):
        return {name: _fill_all(item, facts) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_fill_all(item, facts) for item in value]
    return value


def _encode(content: Any) -> bytes:
    try:
        return msgspec.json.encode(content)
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8; its JSON escape is what a careless client would send
        return json.dumps(content, ensure_ascii=True, separators=(",", ":")).encode()


def _path_quote(value: str) -> str:
    return quote(value, safe="", errors="surrogatepass")


def _header_quote(value: str) -> str:
    return quote(value, safe=_HEADER_SAFE, errors="surrogatepass")
