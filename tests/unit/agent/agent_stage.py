"""What stands in for the world around a part? A clock without waiting, a log, a model with a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from reference_agent.clock import Deadline
from reference_agent.conversation import Asks, Engine, Listener, Replied, Spent, Step, ToolCall, ToolOutput
from reference_agent.conversations import Conversations
from reference_agent.errors import Gone
from reference_agent.parts.failures import DocumentedFailures, HardenedFailures
from reference_agent.parts.locale import DocumentedLocale, HardenedLocale
from reference_agent.parts.persona import DocumentedPersona, HardenedPersona
from reference_agent.settings import Settings, read_settings
from reference_agent.wire import LoopWire


def settings(**given: Any) -> Settings:
    """Return settings as they are without an environment, but for what is given."""
    return read_settings({"OPENAI_API_KEY": "sk-test"}, **given)[0]


class HeldClock:
    """A clock that only moves when somebody sleeps on it, or says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def deadline(self, seconds: float = 10.0) -> Deadline:
        return Deadline.after(self, seconds)


class KeptLog:
    """Keeps what was written down."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.facts: list[dict[str, Any]] = []

    def heard(self, user_id: str, message: str) -> None:
        self.noted("heard")

    def said(self, user_id: str, reply: str) -> None:
        self.noted("said")

    def noted(self, event: str, **facts: Any) -> None:
        self.events.append(event)
        self.facts.append(facts)

    warned = noted

    def bug(self, event: str, exception: BaseException) -> None:
        self.noted(f"bug:{event}", exception=exception)

    def install(self, app: Any) -> None:
        pass

    def take_over(self) -> dict[str, Any]:
        return {}


def hardened_failures(log: KeptLog, **given: Any) -> HardenedFailures:
    """Return what answers failures, in the words of the hardened persona and in the caller's language."""
    locale = HardenedLocale(settings(**given))
    return HardenedFailures(log, locale, HardenedPersona(settings(**given), locale, log))


def documented_failures() -> DocumentedFailures:
    """Return what answers failures as documented."""
    return DocumentedFailures(DocumentedPersona(settings(), DocumentedLocale()))


class ScriptedGeneration:
    """A model that plays its script; when the script is over, it asks for its last step again."""

    def __init__(self, steps: Iterable[Step], conversation: str = "c1") -> None:
        self.conversation = conversation
        self.given: list[list[ToolOutput]] = []
        self.ended = 0
        self.failures_of_end: list[Exception] = []
        self.unheard = False
        self.heard_out: list[bool] = []
        self.written_off = 0
        self._steps = list(steps)
        self._at = 0
        self._open = True

    async def begin(self, text: str) -> None:
        pass

    async def begin_again(self, order: str) -> None:
        pass

    async def next(self) -> Step:
        step = self._steps[min(self._at, len(self._steps) - 1)]
        self._at += 1
        if isinstance(step, Replied):
            self._open = False
        return step

    async def give(self, outputs: list[ToolOutput]) -> None:
        self.given.append(outputs)

    def is_open(self) -> bool:
        return self._open

    async def end(self) -> None:
        self.ended += 1
        if self.failures_of_end:
            raise self.failures_of_end.pop(0)
        self._open = False

    def is_unheard(self) -> bool:
        return self.unheard and not self.heard_out

    async def hear_out(self, *, patiently: bool) -> None:
        if self.failures_of_end:
            raise self.failures_of_end.pop(0)
        self.heard_out.append(patiently)

    async def write_off(self) -> None:
        self.written_off += 1


def asks(*names: str, arguments: str = "{}") -> Asks:
    """Return the step in which the model asks for these tools."""
    return Asks(tuple(ToolCall(f"call_{i}", name, arguments) for i, name in enumerate(names)))


class CountedEngine:
    """An upstream that keeps book of its conversations."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self.most_live = 0
        self.created = 0
        self.deleted: list[str] = []
        self.remembered: list[tuple[str, str, str]] = []
        self.before_opening: Callable[[], Any] | None = None
        self.failure: Exception | None = None
        self.deletion_failure: Exception | None = None

    async def warm_up(self) -> None:
        pass

    async def open_conversation(self, deadline: Deadline) -> str:
        if self.before_opening is not None:
            await self.before_opening()
        if self.failure is not None:
            raise self.failure
        self.created += 1
        conversation = f"thread_{self.created}"
        self.live.add(conversation)
        self.most_live = max(self.most_live, len(self.live))
        return conversation

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        if self.deletion_failure is not None:
            raise self.deletion_failure
        self.live.discard(conversation)
        self.deleted.append(conversation)

    async def remember(self, conversation: str, said: str, reply: str, deadline: Deadline) -> None:
        if self.failure is not None:
            raise self.failure
        self.remembered.append((conversation, said, reply))

    def is_ready(self) -> bool:
        return self.failure is None

    def generation(
        self, conversation: str, deadline: Deadline, spent: Spent, listener: Listener | None = None
    ) -> ScriptedGeneration:
        if conversation not in self.live:
            raise Gone(conversation)
        return ScriptedGeneration([Replied("はいにゃん")], conversation)


def conversations_of(engine: Engine, **others: Engine) -> Conversations:
    """Return the conversations of an assistants engine that talks, and of others that do not, by name."""
    engines = {"assistants": engine} | others
    return Conversations("assistants", engines, engines.__getitem__)


class PlainRetries:
    """One attempt, whatever happens."""

    def client_options(self) -> dict[str, Any]:
        return {"max_retries": 0}

    async def call(self, upstream: str, attempt: Any, deadline: Deadline, **_: Any) -> Any:
        return await attempt()


@asynccontextmanager
async def wire_to(answer: Callable[[httpx2.Request], Any]) -> AsyncIterator[LoopWire]:
    """Return a wire whose other end is a function."""
    wire = LoopWire()
    await wire.close()
    wire._http = wire._bodies = httpx2.AsyncClient(transport=httpx2.MockTransport(answer), timeout=None)
    try:
        yield wire
    finally:
        await wire.close()
