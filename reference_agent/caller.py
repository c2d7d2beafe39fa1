"""Who is being answered: in which language, and what time is it where they are?"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Language = Literal["ja", "ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ja", "ko", "en")


@dataclass(frozen=True)
class Hints:
    """What a request says of its caller beside the message; empty: nothing."""

    language: str = ""
    """As in Accept-Language, or a code alone."""
    time_zone: str = ""
    """A name of the time-zone database."""


@dataclass(frozen=True)
class Caller:
    """The one who is being answered."""

    language: Language = "ja"
    time_zone: str = "Asia/Tokyo"


CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - it is frozen
"""The caller of the turn that is being played; for tools, which are many levels below the turn."""
