"""What can an operator watch while it runs?"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import secrets
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import emoji
import psutil
from fastapi import FastAPI
from starlette.responses import PlainTextResponse, Response

from reference_agent.api_page import METRICS
from reference_agent.caller import CALLER, Caller
from reference_agent.clock import Clock
from reference_agent.errors import AgentError, Refused, Unavailable
from reference_agent.job_store import Figures
from reference_agent.loop_lag import LoopLag
from reference_agent.parts.breaker import Breaker
from reference_agent.trouble import trouble_in


class Metrics(Protocol):
    """Counts."""

    def turn(self) -> AbstractContextManager[None]:
        """Return the context of one turn: it is timed, and counted by how it ends."""
        ...

    def tool(self, name: str) -> AbstractContextManager[None]:
        """Return the context of one call of a tool."""
        ...

    def upstream(self, name: str) -> AbstractContextManager[None]:
        """Return the context of one attempt at a call to an upstream: it is timed, and counted by what it raises."""
        ...

    def heard(self, text: str, caller: Caller) -> None:
        """Somebody said something that is worked on."""
        ...

    def played(self, user_id: str, tools: Iterable[str]) -> None:
        """A user was answered, with the help of these tools."""
        ...

    def spent(self, kind: str, amount: float, usd: float, *, is_estimate: bool = False) -> None:
        """Something was spent: so many tokens of a model, or spoken characters; where nobody told, an estimate."""
        ...

    def looked_up(self, what: str, level: str) -> None:
        """A reply or what a tool says was looked for in the cache, and found at a level; empty: nowhere."""
        ...

    def noticed(self, what: str) -> None:
        """Something that should not be was seen; a word of ours says what."""
        ...

    def assistant_created(self) -> None:
        """There was no assistant at the model's upstream, and now there is one."""
        ...

    def watch(self, what: str, read: Callable[[], float]) -> None:
        """Let `read` be asked, whenever somebody looks, how many wait or are under way; a word of ours says what."""
        ...

    def watch_jobs(self, read: Callable[[], Awaitable[Figures]]) -> None:
        """Show how the queue is, as it is read then; what raises Unavailable is left out."""
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

    def upstream(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def heard(self, text: str, caller: Caller) -> None:
        pass

    def played(self, user_id: str, tools: Iterable[str]) -> None:
        pass

    def spent(self, kind: str, amount: float, usd: float, *, is_estimate: bool = False) -> None:
        pass

    def looked_up(self, what: str, level: str) -> None:
        pass

    def noticed(self, what: str) -> None:
        pass

    def assistant_created(self) -> None:
        pass

    def watch(self, what: str, read: Callable[[], float]) -> None:
        pass

    def watch_jobs(self, read: Callable[[], Awaitable[Figures]]) -> None:
        pass

    def install(self, app: FastAPI) -> None:
        pass


_COUNTERS = {
    "agent_assistants_created_total": "Assistants created at the model's upstream.",
    "agent_cache_lookups_total": "Looks into the caches, by what was looked for and where it was found.",
    "agent_messages_total": "Messages worked on, by language.",
    "agent_messages_with_emoji_total": "Messages worked on that have emoji in them.",
    "agent_oddities_total": "Things seen that should not be.",
    "agent_refusals_total": "Turns that were not let in or went no further, by why.",
    "agent_session_turns_total": "Turns of sessions that are over; over agent_session_seconds_count: their mean.",
    "agent_spend_estimated_usd_total": "How much of agent_spend_usd_total no upstream told: what was given up.",
    "agent_spend_usd_total": "Spent, in US dollars, by model or speech.",
    "agent_tool_calls_total": "Calls of tools.",
    "agent_tool_failures_total": "Calls of tools that failed.",
    "agent_turns_after_tool_total": "Turns with a tool, by whether the user went on talking afterwards.",
    "agent_turns_total": "Turns, by how they ended.",
    "agent_units_total": "Used, in tokens or spoken characters, by model or speech.",
    "agent_upstream_calls_total": "Attempts at calls to upstreams, by how they ended.",
}
_HISTOGRAMS = {
    "agent_session_seconds": "How long people talked, from the first turn to the last one, sessions that are over.",
    "agent_turn_seconds": "How long turns took until the speech began, refused ones aside, by part of the world.",
    "agent_upstream_seconds": "How long attempts at calls to upstreams took.",
}
_BUCKETS: dict[str, tuple[float, ...]] = {
    "agent_session_seconds": (1, 10, 30, 60, 300, 900, 1800, 3600),
    "agent_turn_seconds": (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0),
    "agent_upstream_seconds": (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0),
}
_GAUGES = {
    "agent_breaker_state": "Breakers: 0 closed, 1 half-open, 2 open.",
    "agent_event_loop_lag_seconds": "How late the event loop was of late.",
    "agent_now": "How many there are at this moment.",
    "process_resident_memory_bytes": "Resident memory of this process.",
    "process_start_time_seconds": "When this process began, in seconds since 1970.",
}
_EMOJI_SIGNS = frozenset(sign[0] for sign in emoji.EMOJI_DATA if not sign[0].isascii()) | {"\u20e3"}
"""What emoji begin with, and what ends a keycap; counting them would hold the loop for 6 ms on a text of 2,000."""
_BREAKER_STATES = ("closed", "half-open", "open")
_JOBS_S = 0.5  # for the queue's figures; whoever collects metrics gives up after some seconds, and then has none
_SERIES = 200  # of one name; labels are words of ours, but for the model's name, which is its upstream's
_OTHER = "other"
_SESSION_S = 1800.0  # somebody who was silent for so long begins a new session, as web analytics count visits
_SESSIONS = 10_000  # 500 bytes each
_REGIONS = frozenset(
    {"Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
)

Labels = tuple[tuple[str, str], ...]
_REFUSED: Labels = (("outcome", "refused"),)


class _Histogram:
    __slots__ = ("counts", "limits", "total")

    def __init__(self, limits: tuple[float, ...]) -> None:
        self.limits = limits
        self.counts = [0] * (len(limits) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        count = 0
        for limit, within in zip((*map(_figure, self.limits), "+Inf"), self.counts, strict=True):
            count += within
            yield _line(f"{name}_bucket", (*labels, ("le", limit)), count)
        yield _line(f"{name}_sum", labels, self.total)
        yield _line(f"{name}_count", labels, count)


@dataclass
class _Session:
    began: float
    last: float
    turns: int
    tools: frozenset[str]


class _TurnWatch:
    """Sees a turn begin and end. By hand: a generator would be 2 us of a refusal."""

    __slots__ = ("_begun", "_metrics")

    def __init__(self, metrics: HardenedMetrics) -> None:
        self._metrics = metrics

    def __enter__(self) -> None:
        self._begun = self._metrics.turn_begins()

    def __exit__(self, _: object, failure: BaseException | None, __: object) -> None:
        self._metrics.turn_ended(self._begun, failure)


class HardenedMetrics:
    """`GET /metrics` in Prometheus' text format.

    No label comes from a caller, and the number of series is bounded. For the business figures it is remembered for
    half an hour, under a hash, when somebody talked and which tools had been used: whether they went on afterwards is
    the only answer to whether a tool was of use. What was spent by what all sessions came to is the rest.
    """

    def __init__(self, clock: Clock, breaker: Breaker, loop_lag: LoopLag) -> None:
        self._clock = clock
        self._breaker = breaker
        self._loop_lag = loop_lag
        self._counts: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        self._histograms: defaultdict[str, dict[Labels, _Histogram]] = defaultdict(dict)
        self._watched: dict[str, Callable[[], float]] = {"turns_under_way": lambda: self._turns_under_way}
        self._turns_under_way = 0
        self._read_jobs: Callable[[], Awaitable[Figures]] | None = None
        self._jobs: Figures | None = None
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._key = secrets.token_bytes(16)
        self._process = psutil.Process()
        self._tools: set[str] = set()  # that there are: a model may well have asked for others

    def turn(self) -> AbstractContextManager[None]:
        return _TurnWatch(self)

    def turn_begins(self) -> float:
        """Note that a turn begins, and return when that is."""
        self._turns_under_way += 1
        return self._clock.now()

    def turn_ended(self, begun: float, failure: BaseException | None) -> None:
        """Note how one ended."""
        self._turns_under_way -= 1
        match failure:
            case None:
                outcome = "answered"
            case Refused():
                self._add("agent_refusals_total", (("code", failure.code),))
                self._add("agent_turns_total", _REFUSED)
                return
            case AgentError():
                outcome = type(failure).__name__.lower()
            case Exception():
                outcome = "bug"
            case _:
                outcome = "cancelled"
        self._count("agent_turns_total", outcome=outcome)
        # The caller of this turn; what is found out about them stays known within it.
        region = CALLER.get().time_zone.partition("/")[0]
        self._took("agent_turn_seconds", self._clock.now() - begun, region=region if region in _REGIONS else _OTHER)

    @contextmanager
    def tool(self, name: str) -> Iterator[None]:
        self._tools.add(name)
        self._count("agent_tool_calls_total", tool=name)
        try:
            yield
        except BaseException:
            self._count("agent_tool_failures_total", tool=name)
            raise

    @contextmanager
    def upstream(self, name: str) -> Iterator[None]:
        begin = self._clock.now()
        outcome = "cancelled"
        try:
            yield
            outcome = "answered"
        except Exception as failure:
            trouble = trouble_in(failure)
            outcome = trouble.reason if trouble else type(failure).__name__
            raise
        finally:
            self._count("agent_upstream_calls_total", outcome=outcome, upstream=name)
            self._took("agent_upstream_seconds", self._clock.now() - begin, upstream=name)

    def heard(self, text: str, caller: Caller) -> None:
        self._count("agent_messages_total", language=caller.language)
        if not _EMOJI_SIGNS.isdisjoint(text):
            self._count("agent_messages_with_emoji_total")

    def played(self, user_id: str, tools: Iterable[str]) -> None:
        now = self._clock.now()
        self._end_sessions(now)
        name = hashlib.blake2b(user_id.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = _Session(now, now, 0, frozenset())
        self._went_on_or_left(session, "went_on")
        session.last, session.turns, session.tools = now, session.turns + 1, frozenset(self._tools.intersection(tools))
        self._sessions.move_to_end(name)
        if len(self._sessions) > _SESSIONS:
            self._end(self._sessions.popitem(last=False)[1])

    def spent(self, kind: str, amount: float, usd: float, *, is_estimate: bool = False) -> None:
        self._count("agent_units_total", amount, of=kind)
        self._count("agent_spend_usd_total", usd, of=kind)
        # There from the beginning: what is missing would not be known to be nothing.
        self._count("agent_spend_estimated_usd_total", usd if is_estimate else 0.0, of=kind)

    def looked_up(self, what: str, level: str) -> None:
        self._count("agent_cache_lookups_total", found=level or "nowhere", what=what)

    def noticed(self, what: str) -> None:
        self._count("agent_oddities_total", what=what)

    def assistant_created(self) -> None:
        self._count("agent_assistants_created_total")

    def watch(self, what: str, read: Callable[[], float]) -> None:
        self._watched[what] = read

    def watch_jobs(self, read: Callable[[], Awaitable[Figures]]) -> None:
        self._read_jobs = read

    async def _look_at_jobs(self) -> None:
        self._jobs = None
        if self._read_jobs is not None:
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_JOBS_S):
                    self._jobs = await self._read_jobs()

    def install(self, app: FastAPI) -> None:
        @app.get("/metrics", response_class=PlainTextResponse, responses=METRICS)
        async def metrics() -> Response:
            """What an operator watches, in Prometheus' text format."""
            await self._look_at_jobs()
            return PlainTextResponse(self.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    def text(self) -> str:
        """Return everything in Prometheus' text format."""
        self._end_sessions(self._clock.now())
        lines: list[str] = []
        for name, about in _COUNTERS.items():
            series = self._counts.get(name, {})
            lines += _family(name, "counter", about, (_line(name, *one) for one in sorted(series.items())))
        for name, about in _HISTOGRAMS.items():
            histograms = sorted(self._histograms.get(name, {}).items(), key=lambda one: one[0])
            lines += _family(name, "histogram", about, (line for of, one in histograms for line in one.lines(name, of)))
        for name, about in _GAUGES.items():
            lines += _family(name, "gauge", about, (_line(name, of, value) for of, value in self._read(name)))
        lines += [] if self._jobs is None else _of_jobs(self._jobs)
        return "\n".join(lines) + "\n"

    def _read(self, gauge: str) -> list[tuple[Labels, float]]:
        match gauge:
            case "agent_breaker_state":
                states = sorted(self._breaker.states().items())
                return [((("upstream", upstream),), _BREAKER_STATES.index(state)) for upstream, state in states]
            case "agent_now":
                return [((("what", what),), read()) for what, read in sorted(self._watched.items())]
            case "agent_event_loop_lag_seconds":
                return [((), self._loop_lag.seconds())]
            case "process_resident_memory_bytes":
                return [((), self._process.memory_info().rss)]
        return [((), self._process.create_time())]

    def _end_sessions(self, now: float) -> None:
        while self._sessions:
            name, oldest = next(iter(self._sessions.items()))
            if now - oldest.last < _SESSION_S:
                return
            del self._sessions[name]
            self._end(oldest)

    def _end(self, session: _Session) -> None:
        self._took("agent_session_seconds", session.last - session.began)
        self._count("agent_session_turns_total", session.turns)
        self._went_on_or_left(session, "left")

    def _went_on_or_left(self, session: _Session, then: str) -> None:
        for tool in session.tools:
            self._count("agent_turns_after_tool_total", then=then, tool=tool)

    def _count(self, name: str, amount: float = 1, **labels: str) -> None:
        self._add(name, tuple(labels.items()), amount)

    def _add(self, name: str, labels: Labels, amount: float = 1) -> None:
        series = self._counts[name]
        key = _bounded(labels, series)
        series[key] = series.get(key, 0) + amount

    def _took(self, name: str, seconds: float, **labels: str) -> None:
        series = self._histograms[name]
        key = _bounded(tuple(labels.items()), series)
        if key not in series:
            series[key] = _Histogram(_BUCKETS[name])
        series[key].add(seconds)


def _of_jobs(jobs: Figures) -> Iterator[str]:
    """Yield what there is to say of the queue; it is one for all processes, and each of them says the same."""
    states = {"waiting": jobs.open - jobs.running, "running": jobs.running}
    counts = {what: number for what, number in jobs.counts.items() if not what.endswith("_ms")}
    spans = {"waited": jobs.counts.get("waited_ms", 0), "took": jobs.counts.get("took_ms", 0)}
    gauge, counter = "gauge", "counter"
    for name, kind, about, label, values in (
        ("agent_jobs", gauge, "Jobs that have not ended, by state.", "state", states),
        ("agent_jobs_oldest_seconds", gauge, "Age of the oldest job that has not ended.", "", {"": jobs.oldest_s}),
        ("agent_job_messages", gauge, "Messages that wait for a worker.", "", {"": jobs.messages}),
        ("agent_job_audio_bytes", gauge, "Speech that is kept for those who ask for it.", "", {"": jobs.audio_bytes}),
        ("agent_jobs_total", counter, "Jobs, by what has become of them.", "what", counts),
        (
            "agent_jobs_seconds_total",
            counter,
            "Time that jobs waited for their first attempt, and took from first to last.",
            "what",
            {what: total_ms / 1000 for what, total_ms in spans.items()},
        ),
    ):
        of = ((((label, what),) if label else (), value) for what, value in sorted(values.items()))
        yield from _family(name, kind, about, (_line(name, *one) for one in of))


def _bounded(labels: Labels, series: dict[Labels, float] | dict[Labels, _Histogram]) -> Labels:
    if labels in series or len(series) < _SERIES:
        return labels
    return tuple((name, _OTHER) for name, _ in labels)


def _family(name: str, kind: str, about: str, samples: Iterable[str]) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *samples]


def _line(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{name}{{{inside}}} {_figure(value)}" if inside else f"{name} {_figure(value)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _figure(value: float) -> str:
    """Return a figure whole: rounded to six digits, a counter beyond a million stands still."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) else repr(float(value))


VARIANTS = {
    "documented": DocumentedMetrics,
    "proposed": DocumentedMetrics,  # nothing was proposed
    "hardened": HardenedMetrics,
}
