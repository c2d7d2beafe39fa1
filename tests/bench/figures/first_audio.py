"""When does the caller begin to hear? First and last byte of the audio, from a speech server with a thin line."""

from __future__ import annotations

import itertools
import json
from contextlib import ExitStack

import uvloop

from harness.checks.percentile import percentile
from tests.bench import agent as agents
from tests.bench.caller import Talk, Tally, play, post
from tests.bench.figure import Bench, Figure, Row

_PROFILES = ("documented", "proposed", "hardened")
_CALLERS = 4
_BYTES_PER_S = 200_000.0
_SAID = "おはよう！今日はなんだか眠いです"


def measure(bench: Bench) -> Figure:
    """Talk to all three agents by turns."""
    turns = int(bench.pick(6, 1))
    fault = json.dumps({"fault": "bandwidth", "upstream": "tts", "bytes_per_s": _BYTES_PER_S})
    tallies: dict[str, list[Tally]] = {profile: [] for profile in _PROFILES}
    with ExitStack() as stack:
        beside = stack.enter_context(agents.upstreams(bench.directory, "--fault", fault))
        env = agents.OPEN | {"AGENT_ENGINE": "assistants", "AGENT_ANSWER_WITHIN_S": "20"}
        running = {
            profile: stack.enter_context(agents.agent(bench.directory / profile, beside, profile, env))
            for profile in _PROFILES
        }
        for turn, (profile, agent) in itertools.product(range(turns + 1), running.items()):
            talks = [_talk(f"caller_{caller}", turn) for caller in range(_CALLERS)]
            tally = uvloop.run(play(agent.port, talks))
            if turn:  # the first one opens conversations and connections
                tallies[profile].append(tally)
    return Figure(
        question="from sending the message to the first byte of audio, and to the last (ms)",
        columns=("agent", "first p50", "first p95", "last p50", "last p95"),
        rows=tuple(_row(profile, tallies[profile]) for profile in _PROFILES),
        notes=(
            f"{_CALLERS} callers at once, {turns} turns each. The speech server sends {_BYTES_PER_S / 1000:g} KB/s to "
            "each (fault `bandwidth`); model and tools at their fast latencies.",
            "All on the assistants engine. Documented and proposed look once a second whether the run is over, so part "
            "of the difference is that; the distance from first to last is the audio's own.",
        ),
    )


def _row(profile: str, tallies: list[Tally]) -> Row:
    first = [1e3 * one for tally in tallies for one in tally.first_byte_s]
    last = [1e3 * one for tally in tallies for one in tally.whole_s]
    return (profile, *(percentile(those, share) for those in (first, last) for share in (50.0, 95.0)))


def _talk(user: str, turn: int) -> Talk:
    yield post("/chat-agent", json.dumps({"user_id": user, "message": f"{_SAID} {turn}"}, ensure_ascii=False).encode())
