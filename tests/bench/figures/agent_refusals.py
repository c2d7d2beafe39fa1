"""How fast does the hardened agent refuse? Refusals a second of CPU, for what bombs are made of."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from statistics import median

import uvloop

from tests.bench import agent as agents
from tests.bench.caller import Talk, play, play_for, post
from tests.bench.figure import Bench, Figure, Row

_CALLERS = 32
_WARM_S = 1.0
_AIM_PER_S = 3000.0
_SPOKEN, _READ = "/chat-agent", "/chat-agent/stream"
# Nobody new after the first, and one more message of a known user in a million seconds.
_CLOSED = {
    "AGENT_NEWCOMERS_PER_S": "0.000001",
    "AGENT_NEWCOMER_BURST": "1",
    "AGENT_USER_TURNS_PER_S": "0.000001",
    "AGENT_USER_BURST": "1",
}


def measure(bench: Bench) -> Figure:
    """Bomb an agent that lets nobody in, in every way that it refuses."""
    rounds = int(bench.pick(5, 1))
    length_s = bench.pick(2.0, 0.5)
    kinds: dict[str, tuple[bytes, str, Callable[[int], Iterator[bytes]]]] = {
        "a new id with every request": (b"429", _SPOKEN, _new_ids),
        "one known user, over and over": (b"429", _SPOKEN, lambda _: itertools.repeat(_body("known", "hi"))),
        "10,000 characters": (b"4", _SPOKEN, lambda _: itertools.repeat(_body("known", "あ" * 10_000))),
        "a body of 1 MB": (b"413", _SPOKEN, lambda _: itertools.repeat(_body("known", "a" * 1_000_000))),
        "no JSON": (b"4", _SPOKEN, lambda _: itertools.repeat(b"{")),
        "a new id with every request, to read along": (b"429", _READ, _new_ids),
    }
    cpu_us: dict[str, list[float]] = {kind: [] for kind in kinds}
    per_s: dict[str, list[float]] = {kind: [] for kind in kinds}
    with (
        agents.upstreams(bench.directory, "--latency-scale", "0") as beside,
        agents.agent(bench.directory / "agent", beside, "hardened", _CLOSED) as agent,
    ):
        uvloop.run(play(agent.port, [_talk(_SPOKEN, iter([_body("known", "hi")] * 2))]))
        for _, (kind, (status, path, bodies)) in itertools.product(range(rounds), kinds.items()):
            talks = [_talk(path, bodies(caller)) for caller in range(_CALLERS)]
            window = uvloop.run(
                play_for(
                    agent.port,
                    talks,
                    agent.child.cpu_s,
                    warm_s=_WARM_S,
                    window_s=length_s,
                    most_calls=1_000_000,
                    expected=status,
                )
            )
            cpu_us[kind].append(1e6 * window.cpu_s / window.calls)
            per_s[kind].append(window.calls / window.length_s)
    rows: list[Row] = [("aim", None, _AIM_PER_S, None)]
    rows += [(kind, median(cpu_us[kind]), 1e6 / median(cpu_us[kind]), median(per_s[kind])) for kind in kinds]
    return Figure(
        question="refusals of the hardened agent: CPU each (microseconds), a second of CPU, and a second as it was",
        columns=("bomb", "CPU us", "per CPU s", "per s"),
        rows=tuple(rows),
        notes=(
            f"{_CALLERS} kept connections, one request at a time on each, {rounds} rounds of {length_s:g} s, medians. "
            "Per s is what the load, on the other core with whatever else ran, could send; per CPU s is the agent's.",
            "Every answer had the status of a refusal, or the benchmark would have stopped.",
        ),
    )


def _body(user: str, said: str) -> bytes:
    return json.dumps({"user_id": user, "message": said}, ensure_ascii=False).encode()


def _new_ids(caller: int) -> Iterator[bytes]:
    return (_body(f"bomb_{caller}_{number}", "hi") for number in itertools.count())


def _talk(path: str, bodies: Iterator[bytes]) -> Talk:
    for body in bodies:
        yield post(path, body)
