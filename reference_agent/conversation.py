"""What does a turn talk about with an engine? The words that all engines and all parts share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from reference_agent.clock import Deadline


@dataclass(frozen=True)
class ToolCall:
    """One tool that the model asks for; `arguments` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ToolOutput:
    """What one tool said."""

    call_id: str
    name: str
    text: str


@dataclass
class Outcome:
    """What the model came to."""

    reply: str
    outputs: list[ToolOutput] = field(default_factory=list)
    """What the tools said on the way, in order."""
    repeatable: bool = True
    """False: it was said in the model's place, or after more than was asked; it is not to be said again."""


@dataclass(frozen=True)
class Asks:
    """The model wants tools run before it goes on."""

    calls: tuple[ToolCall, ...]


@dataclass(frozen=True)
class Replied:
    """The model is done."""

    text: str


@dataclass(frozen=True)
class Failed:
    """The generation ended without a reply: failed, cancelled, expired."""

    state: str
    reason: str


Step = Asks | Replied | Failed


@dataclass(frozen=True)
class Usage:
    """What the model's upstream says a generation took."""

    model: str
    prompt_tokens: int
    completion_tokens: int
    is_estimate: bool = False
    """No upstream says so: it was given up, and is taken to be like others."""


Spent = Callable[[Usage], Awaitable[None]]
"""Is told what a generation took, when it has ended: once, or twice where only a part of it is an estimate."""


@dataclass
class Lease:
    """A user's conversation, for one turn."""

    conversation: str
    said: str | None = None
    """What has been said in it; see `session_store.Known`. Whoever plays the turn says what it is afterwards."""


class Listener(Protocol):
    """Hears a reply while it is being made."""

    async def said(self, piece: str) -> None:
        """The model goes on with this."""
        ...

    async def asked(self, tools: tuple[str, ...]) -> None:
        """It wants tools first: what it has said so far was not its reply."""
        ...


class Generation(Protocol):
    """The model at work on one message of one user."""

    conversation: str

    async def begin(self, text: str) -> None:
        """Hand over what the user said and start the model."""
        ...

    async def begin_again(self, order: str) -> None:
        """Start the model on its latest reply once more.

        Args:
            order: what it is to do better. It holds for this generation alone, and is not kept: nobody said it.
        """
        ...

    async def resume(self, generation: str, text: str) -> None:
        """Go on with what an earlier process has begun, instead of beginning.

        Args:
            generation: the id that the trace was told; empty: the process died before it was told one.
            text: what the user said. Where no id is known (or is any more), the conversation's latest messages tell
                how far it came: when the same was said in the turn before as well, that turn's reply may be taken for
                this one's.

        Raises:
            Gone: there is nothing to go on with, or it came to nothing.
        """
        ...

    def disown(self) -> None:
        """Leave it to somebody else who goes on with it: it is not open any more, as far as this process goes."""
        ...

    async def next(self) -> Step:
        """Wait until the model wants something, or is done."""
        ...

    async def give(self, outputs: list[ToolOutput]) -> None:
        """Hand over what the tools said."""
        ...

    def is_open(self) -> bool:
        """Return True when it may still run (and cost) upstream."""
        ...

    async def end(self) -> None:
        """Make sure that it does not run upstream any more.

        Raises:
            Unavailable: it could not be ended now; try again later.
        """
        ...

    def is_unheard(self) -> bool:
        """Return True when it may have been begun, or may yet be, under an id that nobody has been told."""
        ...

    async def hear_out(self, *, patiently: bool) -> None:
        """Wait for the answer that tells the id, end what it tells of and book it; without one, book what was made.

        Args:
            patiently: False: there is no room to wait for it.

        Raises:
            Unavailable: it could not be ended or looked for now; try again later.
        """
        ...

    async def write_off(self) -> None:
        """Book what it may have taken: it could not be ended or looked for, and there is no time left to try again."""
        ...


class Engine(Protocol):
    """One way to reach the model: Assistants, Responses, Chat Completions."""

    async def warm_up(self) -> None:
        """Do what the first request would otherwise have to wait for."""
        ...

    async def open_conversation(self, deadline: Deadline) -> str:
        """Create a conversation upstream and return its id."""
        ...

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        """Delete a conversation upstream; one that is not there is deleted already."""
        ...

    async def remember(self, conversation: str, said: str, reply: str, deadline: Deadline) -> None:
        """Add what a user said and what was answered to a conversation, without asking the model."""
        ...

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> Generation:
        """Return a generation that has not begun yet; it tells a listener, where there is one, as it goes."""
        ...

    def is_ready(self) -> bool:
        """Return whether a turn could begin at once."""
        ...


class Tool(Protocol):
    """Something that the model may ask for."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of its arguments."""
    keeps_s: float
    """Seconds for which it says the same within a day, asked with the same arguments in the same language; 0: not at
    all."""

    async def __call__(self, arguments: dict[str, Any], deadline: Deadline) -> str:
        """Run it.

        Raises:
            BadArguments: the model's arguments make no sense.
            Unavailable: its upstream does not work.
        """
        ...


class BadArguments(ValueError):
    """A tool was asked for with arguments that make no sense; the text is for the model."""


class UnknownTool(KeyError):
    """The model asked for a tool that does not exist."""
