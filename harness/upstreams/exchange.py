"""What is known of one call while it is being answered: it becomes a line of the ledger when the call is over."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, cast
from urllib.parse import parse_qs

import msgspec

from harness.model import Call
from harness.upstreams.wire import Reply, Request

MARK = re.compile(r"#h[0-9a-z]{8,12}")
MARK_FORM = "#h and 8 to 12 digits or lower-case letters, e.g. #h1a2b3c4d"
"""What `MARK` finds, in words."""
TEXT_KEPT = 500
"""Characters of a text that the ledger keeps."""
_decode_any = msgspec.json.Decoder().decode
# More than 15 arguments by name cost Python a dictionary made and taken apart: an eighth of a call without any work. By
# their places they cost next to nothing.
_call = cast(
    Callable[..., Call],
    msgspec.defstruct(
        "Call",
        [
            (field.name, field.type) if field.required else (field.name, field.type, field.default)
            for field in msgspec.structs.fields(Call)
        ],
        tag=Call.__struct_config__.tag,
        omit_defaults=True,
        frozen=True,
    ),
)
"""Makes what is a `Call` in all but its class, of the same fields in the same order."""


def mark_in(text: str) -> str | None:
    """Return the mark that a text carries, None where it carries none."""
    found = MARK.search(text) if "#h" in text else None
    return found.group() if found else None


def mark_named(text: str) -> str:
    """Return the mark that somebody asks for; its # begins the fragment of an address, and is easily lost on the way.

    Raises:
        ValueError: there are no such marks, so that nothing would ever be found.
    """
    mark = text if text.startswith("#") else f"#{text}"
    if MARK.fullmatch(mark) is None:
        msg = f"`mark` is {text!r}, expected {MARK_FORM} (the # may be left out)."
        raise ValueError(msg)
    return mark


def without_marks(text: str) -> str:
    """Return a text without its marks: what a person would have said."""
    return MARK.sub("", text) if "#h" in text else text


def nobody_pays(tokens: int, cost_usd: float) -> None:
    """Book what a call takes with nobody: only OpenAI's calls have a key."""


def goes_on(at_ns: int) -> None:
    """Let the work of a call whose caller left go on: as runs do, and what is made in the background."""


def decoded(body: bytes | str) -> Any:
    """Return what a body is as JSON.

    Raises:
        msgspec.DecodeError: it is no JSON, or nested deeper than anybody reads.
    """
    try:
        return _decode_any(body)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def _no_error_reply(status: int, message: str | None) -> Reply:
    return Reply(status, (message or "").encode())


class Exchange(msgspec.Struct, eq=False):
    """One call: the request, what was found out about it, and how it ended. Mutable; belongs to one call only."""

    upstream: str
    request: Request
    route: str
    params: dict[str, str]
    begin_ns: int
    wall_s: float = 0.0
    """Seconds since 1970 at its beginning."""
    mark: str | None = None
    turn: str | None = None
    """Of a user: see `harness.model.Call`."""
    conversation: str | None = None
    generation: str | None = None
    tool: str | None = None
    caller: str | None = None
    model: str | None = None
    text: str = ""
    characters: int = 0
    said: str = ""
    """The latest message of the user in this conversation, or the request's own text: what faults match."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    earlier_answers: int | None = None
    fault: str | None = None
    fault_id: str | None = None
    unexpected: bool = False
    error: str = ""
    recorded: bool = False
    reply: Reply | None = None
    error_reply: Callable[[int, str | None], Reply] = _no_error_reply
    """(status, message) -> the upstream's own error of that status."""
    speech: Callable[[float], float] | None = None
    """What a fault makes of the seconds that the speech would last."""
    pays: Callable[[int, float], None] = nobody_pays
    """Is told how many tokens more the call takes, and how many US dollars."""
    leaving: Callable[[int], None] = goes_on
    """Is told when the caller left before the answer was whole: what works for nobody any more may end."""
    _json: Any = msgspec.UNSET
    _query: dict[str, str] | None = None

    @property
    def subject(self) -> str:
        """What random choices about this call are keyed by: its mark, else its conversation, else its text."""
        return self.mark or self.conversation or self.said[:TEXT_KEPT] or self.request.query

    @property
    def json(self) -> Any:
        """The body as JSON; an empty body is an empty object.

        Raises:
            msgspec.DecodeError: it is no JSON, or nested deeper than anybody reads.
        """
        body = self._json
        if body is msgspec.UNSET:
            body = self._json = decoded(self.request.body) if self.request.body else {}
        return body

    @property
    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object, an empty one where it is none."""
        body = self._json
        if body is msgspec.UNSET:
            try:
                body = self.json
            except msgspec.DecodeError:
                return {}
        return body if isinstance(body, dict) else {}

    @property
    def wants_stream(self) -> bool:
        """Whether a stream of events was asked for."""
        body = self.json_object
        return body.get("stream") is True or body.get("stream_format") == "sse" or self.query.get("stream") == "true"

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        if self._query is None:
            parsed = parse_qs(self.request.query, keep_blank_values=True) if self.request.query else {}
            self._query = {name: values[-1] for name, values in parsed.items()}
        return self._query

    def about(self, text: str) -> None:
        """Note the text that the call is about, and the mark in it."""
        self.text = text
        self.characters = len(text)
        self.said = self.said or text
        self.mark = self.turn = self.mark or mark_in(text)

    def charge(self, cost_usd: float, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """Note what the call takes, instead of what was noted before; whoever pays for it is told the difference.

        What is in the ledger already stays as it is there.

        Args:
            cost_usd: all of it, in US dollars.
            prompt_tokens: all that the model is given.
            completion_tokens: all that the model writes.
        """
        if self.recorded:
            return
        before = self.prompt_tokens + self.completion_tokens
        self.pays(prompt_tokens + completion_tokens - before, cost_usd - self.cost_usd)
        self.prompt_tokens, self.completion_tokens, self.cost_usd = prompt_tokens, completion_tokens, cost_usd

    def speaks_for(self, seconds: float) -> float:
        """Return how long the speech lasts that is answered, given how long its text takes."""
        return seconds if self.speech is None else self.speech(seconds)

    def with_speech(self, change: Callable[[float], float], proceed: Callable[[], Reply]) -> Reply:
        """Return the reply with speech of another length; where the length is the same, the very reply of `proceed`.

        Args:
            change: the seconds that the speech would last -> those that it lasts.
            proceed: lets the upstream answer.
        """
        outer, changed = self.speech, False

        def speech(seconds: float) -> float:
            nonlocal changed
            lasts = change(seconds)
            changed = lasts != seconds
            return lasts if outer is None else outer(lasts)

        self.speech = speech
        reply = proceed()
        return msgspec.structs.replace(reply) if changed else reply

    def entry(self, seq: int, end_ns: int, status: int | None, response_bytes: int, *, client_gone: bool) -> Call:
        """Return the ledger's line for this call."""
        request = self.request
        return _call(
            seq,
            self.upstream,
            self.route,
            f"{request.path}?{request.query}" if request.query else request.path,
            self.begin_ns,
            end_ns,
            status,
            self.mark,
            self.turn,
            self.conversation,
            self.generation,
            self.tool,
            self.caller,
            self.model,
            self.text[:TEXT_KEPT],
            self.characters,
            len(request.body),
            response_bytes,
            blake2b(request.body, digest_size=8).hexdigest() if request.body else "",
            self.prompt_tokens,
            self.completion_tokens,
            self.cost_usd,
            self.earlier_answers,
            self.fault,
            client_gone,
            self.unexpected,
            self.error,
        )
