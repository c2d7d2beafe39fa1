"""What does a user cost the agent in memory? Growth per new user id of both profiles, beside what turns alone cost."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

from tests.bench import agent as agents
from tests.bench.agent import OPEN
from tests.bench.figure import Bench, BenchError, Figure, Row

_PROFILES = ("documented", "hardened")
_AT_ONCE = 40
"""As many as the documented agent has threads; each of its turns takes a second, because it looks once a second."""
_TURN_S = 20.0
_CLAIM_KB = 10.0
"""Documented: about 10 MB at 1,000 users, 100 MB at 10,000, 1 GB at 100,000."""
_ENV = OPEN | {"AGENT_ANSWER_WITHIN_S": str(_TURN_S), "AGENT_ENGINE": "assistants"}


def measure(bench: Bench) -> Figure:
    """Let known users talk, then as many new ones, by turns; the first say how far the second can be trusted."""
    steps = [int(bench.pick(count, count / 10)) for count in (500, 1000)]
    rows: list[Row] = [("claimed (spec)", None, None, None, None, None, _CLAIM_KB, None)]
    for profile in _PROFILES:
        rows += _profile(profile, bench.directory / profile, steps)
    return Figure(
        question="resident memory per user id (KB), growth over new ids beside growth over as many turns of known ones",
        columns=("agent", "ids", "held upstream", "turns/s", "MB before", "MB after", "KB per new id", "noise KB"),
        rows=tuple(rows),
        notes=(
            "Ids: new user ids since the start (40 known ones talked before). Held upstream: live conversations in the "
            "stand-ins' own count. Noise: KB per turn over as many turns of the known ids, just before; a KB per new "
            "id that is not well above it says nothing. An id and a thread id in a dict are 0.2 to 0.45 KB.",
            "Upstreams: python -m harness.upstreams, fast latencies. Limits on newcomers opened, "
            "AGENT_MAX_CONVERSATIONS as it is by default (1,000).",
        ),
    )


def _profile(profile: str, directory: Path, steps: list[int]) -> list[Row]:
    rows: list[Row] = []
    with agents.upstreams(directory) as beside, agents.agent(directory, beside, profile, _ENV) as agent:
        known = [f"known_{number}" for number in range(_AT_ONCE)]
        _talk(agent, known * 10)
        ids = 0
        for count in steps:
            noise_kb, _ = _growth_kb(agent, [known[turn % len(known)] for turn in range(count)])
            before_mb = agent.child.rss_bytes() / 1e6
            grown_kb, turns_per_s = _growth_kb(agent, [f"new_{ids + number}" for number in range(count)])
            ids += count
            live = agents.get_json(beside.control, "/_control/summary")["live_conversations"]
            after_mb = agent.child.rss_bytes() / 1e6
            rows.append((profile, ids, live, turns_per_s, before_mb, after_mb, grown_kb / count, noise_kb / count))
    return rows


def _growth_kb(agent: agents.Agent, users: list[str]) -> tuple[float, float]:
    """Return by how much the agent has grown over one turn of each (KB), and the turns a second."""
    before = agent.child.rss_bytes()
    began_s = time.monotonic()
    _talk(agent, users)
    took_s = time.monotonic() - began_s
    return (agent.child.rss_bytes() - before) / 1e3, len(users) / took_s


def _talk(agent: agents.Agent, users: list[str]) -> None:
    """Have every one of them say something. Raises BenchError where not all but a few are answered."""
    kept = local()

    def turn(user: str) -> int:
        try:
            connection = kept.connection = getattr(kept, "connection", None) or http.client.HTTPConnection(
                "127.0.0.1", agent.port, timeout=_TURN_S
            )
            body = json.dumps({"user_id": user, "message": "hi"})
            connection.request("POST", "/chat-agent", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            kept.connection = None
            return 0

    with ThreadPoolExecutor(_AT_ONCE) as callers:
        statuses = list(callers.map(turn, users))
    answered = statuses.count(200)
    if answered < 0.98 * len(users):
        counts = {status: statuses.count(status) for status in set(statuses)}
        raise BenchError(f"Only {answered} of {len(users)} turns were answered ({counts}). {agent.child.last_words()}")
