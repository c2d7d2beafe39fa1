"""What does a turn write down of itself, so that another process can go on with it when this one dies?

A turn that is played while its caller waits writes nothing: the caller sees that it failed, and asks again. One that is
played for a queue is played again by somebody else, who has to know what is under way upstream.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Left:
    """What an attempt that was cut off has left behind."""

    conversation: str
    """In which it spoke; empty: it did not come so far."""
    generation: str = ""
    """Under which id the model works on it upstream; empty: nobody was told."""
    reply: str = ""
    """What the model came to; empty: nobody was told."""


class Trace(Protocol):
    """Where one turn's progress is written down. Nothing raises: a turn does not fail because of a note."""

    @property
    def is_ours(self) -> bool:
        """False when somebody else goes on with the turn: what is under way upstream is theirs now."""
        ...

    def goes_on_in(self, conversation: str) -> bool:
        """Return whether an earlier attempt has left something behind in this conversation."""
        ...

    def take_left(self, conversation: str) -> Left | None:
        """Return, once, what an earlier attempt has left behind in this conversation; None: nothing."""
        ...

    def known_reply(self) -> str:
        """Return the reply that an earlier attempt came to; empty: none."""
        ...

    async def speaks(self, conversation: str) -> None:
        """Something is about to be said in this conversation."""
        ...

    async def runs(self, generation: str) -> None:
        """The model works on it upstream, under this id."""
        ...

    async def replied(self, reply: str) -> None:
        """The model is done, and this is what the user gets to hear."""
        ...


class Untraced:
    """Writes nothing down."""

    is_ours = True

    def goes_on_in(self, conversation: str) -> bool:
        return False

    def take_left(self, conversation: str) -> Left | None:
        return None

    def known_reply(self) -> str:
        return ""

    async def speaks(self, conversation: str) -> None:
        pass

    async def runs(self, generation: str) -> None:
        pass

    async def replied(self, reply: str) -> None:
        pass


TRACE: ContextVar[Trace] = ContextVar("trace", default=Untraced())  # noqa: B039 - it holds nothing
"""The trace of the turn that is being played; for engines, which are several levels below the turn."""
