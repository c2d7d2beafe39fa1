"""What can an operator watch while it runs?"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import emoji
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from reference_agent.caller import Caller
from reference_agent.clock import Clock
from reference_agent.errors import AgentError
from reference_agent.parts.breaker import Breaker


class Metrics(Protocol):
    """Counts."""

    def turn(self) -> AbstractContextManager[None]:
        """Return the context of one turn: it is timed, and counted by how it ends."""
        ...

    def tool(self, name: str) -> AbstractContextManager[None]:
        """Return the context of one call of a tool."""
        ...

    def heard(self, text: str, caller: Caller) -> None:
        """Somebody said something that is worked on."""
        ...

    def spent(self, kind: str, amount: float, usd: float) -> None:
        """Something was spent: so many tokens of a model, or spoken characters."""
        ...

    def looked_up(self, what: str, level: str) -> None:
        """A reply or what a tool says was looked for in the cache, and found at a level; empty: nowhere."""
        ...

    def noticed(self, what: str) -> None:
        """Something that should not be was seen; a word of ours says what."""
        ...

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...


class DocumentedMetrics:
    """None: what goes on inside is anybody's guess."""

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()

    def tool(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def heard(self, text: str, caller: Caller) -> None:
        pass

    def spent(self, kind: str, amount: float, usd: float) -> None:
        pass

    def looked_up(self, what: str, level: str) -> None:
        pass

    def noticed(self, what: str) -> None:
        pass

    def install(self, app: FastAPI) -> None:
        pass


_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
_BREAKER_STATES = ("closed", "half-open", "open")


class HardenedMetrics:
    """`GET /metrics` in Prometheus' text format. No label comes from a caller, so that their number is bounded."""

    def __init__(self, clock: Clock, breaker: Breaker) -> None:
        self._clock = clock
        self._breaker = breaker
        self._counts: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
        self._turns_within = [0] * (len(_BUCKETS_S) + 1)
        self._turns_s = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        begin = self._clock.now()
        outcome = "cancelled"
        try:
            yield
            outcome = "answered"
        except AgentError as failure:
            outcome = type(failure).__name__.lower()
            raise
        except Exception:
            outcome = "bug"
            raise
        finally:
            took_s = self._clock.now() - begin
            self._count("agent_turns_total", outcome=outcome)
            self._turns_within[bisect_left(_BUCKETS_S, took_s)] += 1
            self._turns_s += took_s

    @contextmanager
    def tool(self, name: str) -> Iterator[None]:
        self._count("agent_tool_calls_total", tool=name)
        try:
            yield
        except BaseException:
            self._count("agent_tool_failures_total", tool=name)
            raise

    def heard(self, text: str, caller: Caller) -> None:
        self._count("agent_messages_total", language=caller.language)
        if emoji.emoji_count(text):
            self._count("agent_messages_with_emoji_total")

    def spent(self, kind: str, amount: float, usd: float) -> None:
        self._count("agent_units_total", amount, of=kind)
        self._count("agent_spend_usd_total", usd, of=kind)

    def looked_up(self, what: str, level: str) -> None:
        self._count("agent_cache_lookups_total", what=what, found=level or "nowhere")

    def noticed(self, what: str) -> None:
        self._count("agent_oddities_total", what=what)

    def install(self, app: FastAPI) -> None:
        @app.get("/metrics")
        async def metrics() -> Response:
            return PlainTextResponse(self.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        lines = [f"{name}{_braces(dict(labels))} {value:g}" for (name, labels), value in sorted(self._counts.items())]
        total = 0
        for limit, count in zip((*map(str, _BUCKETS_S), "+Inf"), self._turns_within, strict=True):
            total += count
            lines.append(f"agent_turn_seconds_bucket{_braces({'le': limit})} {total}")
        lines += [f"agent_turn_seconds_sum {self._turns_s:g}", f"agent_turn_seconds_count {total}"]
        for upstream, state in sorted(self._breaker.states().items()):
            lines.append(f"agent_breaker_state{_braces({'upstream': upstream})} {_BREAKER_STATES.index(state)}")
        return "\n".join(lines) + "\n"

    def _count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        self._counts[name, tuple(sorted(labels.items()))] += amount


def _braces(labels: dict[str, str]) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{{{inside}}}" if inside else ""


VARIANTS = {
    "documented": DocumentedMetrics,
    "proposed": DocumentedMetrics,  # nothing was proposed
    "hardened": HardenedMetrics,
}
