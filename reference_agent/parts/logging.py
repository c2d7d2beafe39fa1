"""What is written down about a turn?"""

from __future__ import annotations

import hashlib
import json
import sys
import traceback
from typing import Any, Protocol, TextIO


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

    def bug(self, event: str, exception: BaseException) -> None:
        """Something happened that only a mistake of ours explains."""
        ...


class DocumentedLogging:
    """`print`, in clear text: what users say and what they are told stands on the console."""

    def heard(self, user_id: str, message: str) -> None:
        print(f"{user_id}: {message}", flush=True)

    def said(self, user_id: str, reply: str) -> None:
        print(f"GPT: {reply}", flush=True)

    def noted(self, event: str, **facts: Any) -> None:
        pass

    def bug(self, event: str, exception: BaseException) -> None:
        print(event, exception, flush=True)


class HardenedLogging:
    """One JSON object a line, without any user's text; users appear as a hash that joins their lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def heard(self, user_id: str, message: str) -> None:
        self._write("heard", user=_pseudonym(user_id), chars=len(message))

    def said(self, user_id: str, reply: str) -> None:
        self._write("said", user=_pseudonym(user_id), chars=len(reply))

    def noted(self, event: str, **facts: Any) -> None:
        self._write(event, **facts)

    def bug(self, event: str, exception: BaseException) -> None:
        # Where it happened, but not the exception's text: it may quote what a user said.
        places = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(exception.__traceback__)]
        self._write(event, level="error", exception=type(exception).__name__, places=places[-5:])

    def _write(self, event: str, level: str = "info", **facts: Any) -> None:
        line = json.dumps({"level": level, "event": event, **facts}, ensure_ascii=False)
        (self._stream or sys.stderr).write(line + "\n")


def _pseudonym(user_id: str) -> str:
    return hashlib.sha256(user_id.encode("utf-8", "replace")).hexdigest()[:12]


VARIANTS = {
    "documented": DocumentedLogging,
    "proposed": DocumentedLogging,  # nothing was proposed
    "hardened": HardenedLogging,
}
