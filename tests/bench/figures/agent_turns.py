"""What does a turn cost the agent? CPU, turns a second and core, latency: each profile on the same engine."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

import uvloop

from harness.checks.percentile import percentile
from tests.bench import agent as agents
from tests.bench.caller import Talk, Window, play_for, post
from tests.bench.figure import Bench, BenchError, Figure, Row

_CALLERS = 16
_ANSWER_S = 20.0
_WARM_S = 2.0
# (engine, profile): the documented agent knows assistants only as it was written; the rest is measured beside it.
_AGENTS = (
    ("assistants", "documented"),
    ("assistants", "hardened"),
    ("responses", "documented"),
    ("responses", "hardened"),
    ("chat", "documented"),
    ("chat", "hardened"),
)
_SAID = {
    "plain talk": "おはよう！今日はなんだか眠いです",
    "three tools": "今何時で、天気はどうで、ついでに運勢も教えて",
}


@dataclass
class _Seen:
    """What the windows of one agent and one kind of talk showed."""

    cpu_ms: list[float] = field(default_factory=list)
    per_s: list[float] = field(default_factory=list)
    whole_s: list[float] = field(default_factory=list)

    def add(self, window: Window) -> None:
        """Take up one window."""
        self.cpu_ms.append(1e3 * window.cpu_s / window.calls)
        self.per_s.append(window.calls / window.length_s)
        self.whole_s += window.tally.whole_s


def measure(bench: Bench) -> Figure:
    """Let all agents run, and talk to one after the other, several rounds of it."""
    rounds = int(bench.pick(3, 1))
    length_s = bench.pick(4.0, 1.5)
    seen = {(who, kind): _Seen() for who in _AGENTS for kind in _SAID}
    with ExitStack() as stack:
        beside = stack.enter_context(agents.upstreams(bench.directory, "--latency-scale", "0"))
        running = {
            who: stack.enter_context(
                agents.agent(
                    bench.directory / "-".join(who),
                    beside,
                    who[1],
                    agents.OPEN | {"AGENT_ENGINE": who[0], "AGENT_ANSWER_WITHIN_S": str(_ANSWER_S)},
                )
            )
            for who in _AGENTS
        }
        for number, (who, kind) in itertools.product(range(rounds), seen):
            # Messages of their own in every window: nothing is to be answered out of a cache.
            words = _words(kind, f"{number}")
            talks = [_talk(f"caller_{caller}", words) for caller in range(_CALLERS)]
            agent = running[who]
            window = uvloop.run(
                play_for(agent.port, talks, agent.child.cpu_s, warm_s=_WARM_S, window_s=length_s, most_calls=100_000)
            )
            seen[who, kind].add(window)
    return Figure(
        question="CPU of the agent's process per turn (ms), turns a second of CPU, and what callers lived",
        columns=(
            "engine",
            "agent",
            "said",
            "CPU ms",
            "turns per CPU s",
            "CPU / documented",
            "turns/s",
            "p50 ms",
            "p99 ms",
        ),
        rows=tuple(_row(seen, who, kind) for who in _AGENTS for kind in _SAID),
        notes=(
            f"{_CALLERS} callers on kept connections, the next message when the last is answered; {rounds} rounds over "
            f"all agents, {length_s:g} s each after {_WARM_S:g} s; medians over rounds, percentiles over all turns.",
            "Upstreams: --latency-scale 0. The documented agent looks once a second whether its run is over, so its "
            "latency is waiting, and its turns/s are what so many callers can ask for; CPU compares the work.",
        ),
    )


def _row(seen: dict[tuple[tuple[str, str], str], _Seen], who: tuple[str, str], kind: str) -> Row:
    engine, profile = who
    own, documented = seen[who, kind], seen[(engine, "documented"), kind]
    if not own.whole_s:
        raise BenchError(f"The {profile} agent on {engine} answered nothing.")
    cpu_ms = median(own.cpu_ms)
    return (
        engine,
        profile,
        kind,
        cpu_ms,
        1e3 / cpu_ms,
        cpu_ms / median(documented.cpu_ms),
        median(own.per_s),
        1e3 * percentile(own.whole_s, 50.0),
        1e3 * percentile(own.whole_s, 99.0),
    )


def _words(kind: str, window: str) -> Callable[[str], Iterator[str]]:
    def words(caller: str) -> Iterator[str]:
        return (f"{_SAID[kind]} {window}-{caller}-{turn}" for turn in itertools.count())

    return words


def _talk(user: str, words: Callable[[str], Iterator[str]]) -> Talk:
    for said in words(user):
        yield post("/chat-agent", json.dumps({"user_id": user, "message": said}, ensure_ascii=False).encode())
