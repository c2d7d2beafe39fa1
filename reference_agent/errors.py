"""What can go wrong in a turn, and who is to blame?

    AgentError
     ├── Refused         we will not do this: too much, too many, not understood (4xx)
     ├── Unavailable     an upstream does not do its work (503)
     ├── OutOfTime       the turn's deadline has passed (504)
     ├── Gone            the upstream no longer knows what we ask about (404 upstream)
     └── HandledFailure  the documented agent's way: a success status with `{"error": ...}`

`NotUnderstood` is what an upstream's success is that makes no sense; `retries.py` turns it into Unavailable.
`BlockedOnLoop` is a mistake of ours: a part that needs the event loop was used without one.
"""

from __future__ import annotations


class AgentError(Exception):
    """Parent of everything that the agent raises on purpose."""


class Refused(AgentError):
    """The request is refused before it costs anything.

    Args:
        status: HTTP status: 400 to 499, or 503 when this process is about to end.
        code: a word for machines, e.g. `rate_limited`; `sentences.py` has the words for people.
        retry_after_s: seconds after which it is worth trying again; None: it never is.
        plainly: what is said instead, to the author of a program that calls in a way that nobody means.
        figures: what the words for people have room for, by name.
    """

    def __init__(
        self, status: int, code: str, retry_after_s: float | None = None, *, plainly: str = "", **figures: int
    ) -> None:
        super().__init__(plainly or code)
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s
        self.plainly = plainly
        self.figures = figures


class Unavailable(AgentError):
    """An upstream cannot be reached, is broken, or rejects our key.

    Args:
        upstream: which one: openai, tts, weather, ...
        reason: what was seen, without any user's text.
        never_arrived: True when it is certain that the upstream did not act on the call; False when it may have.
        retry_after_s: seconds after which it is worth trying again.
    """

    def __init__(self, upstream: str, reason: str, *, never_arrived: bool, retry_after_s: float = 1.0) -> None:
        super().__init__(f"{upstream}: {reason}")
        self.upstream = upstream
        self.reason = reason
        self.never_arrived = never_arrived
        self.retry_after_s = retry_after_s


class OutOfTime(AgentError):
    """The turn's deadline has passed while it waited for `what`."""

    def __init__(self, what: str) -> None:
        super().__init__(f"out of time waiting for {what}")
        self.what = what


class Gone(AgentError):
    """The upstream does not know (any longer) what was asked about: a deleted conversation or assistant."""


class HandledFailure(AgentError):
    """A failure that the documented agent answers with status 200 and `{"error": ...}`."""


class NotUnderstood(Exception):
    """An upstream answered with a success, and nothing can be made of it: what it was asked to do may be done."""


class BlockedOnLoop(RuntimeError):
    """A part wanted to wait on the event loop although the turn runs in a thread without one."""
