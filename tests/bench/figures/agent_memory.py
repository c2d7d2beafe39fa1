"""What does a user cost the agent in memory? Growth per new user id of both profiles, beside what turns alone cost."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local
from typing import Any
from urllib.parse import urlsplit

from tests.bench.child import Child
from tests.bench.figure import Bench, BenchError, Figure, Row

_PROFILES = ("documented", "hardened")
_AT_ONCE = 40
"""As many as the documented agent has threads; each of its turns takes a second, because it looks once a second."""
_READY_S = 30.0
_TURN_S = 20.0
_CLAIM_KB = 10.0
"""Documented: about 10 MB at 1,000 users, 100 MB at 10,000, 1 GB at 100,000."""
# Everything that would send a new user away is opened: the question is what those who got in cost.
_OPEN = {
    "AGENT_NEWCOMERS_PER_S": "100000",
    "AGENT_NEWCOMER_BURST": "100000",
    "AGENT_NEWCOMER_TURNS": "1000",
    "AGENT_MAX_TURNS": "1000",
    "AGENT_USER_TURNS_PER_S": "100000",
    "AGENT_USER_BURST": "100000",
    "AGENT_ANSWER_WITHIN_S": str(_TURN_S),
}


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
    upstreams_command = [sys.executable, "-m", "harness.upstreams", "--port", "0"]
    with Child(upstreams_command, directory / "upstreams.log", says_ready=True) as upstreams:
        addresses = upstreams.ready()
        port = _free_port()
        env = {f"{name.upper()}_URL": url for name, url in addresses["upstreams"].items()}
        env |= {"OPENAI_BASE_URL": addresses["upstreams"]["openai"], "OPENAI_API_KEY": "sk-stand-in", **_OPEN}
        # A home of its own: sessions that were kept from another run would name conversations that are no more.
        env["HOME"] = str(directory.resolve())
        command = [sys.executable, "-m", "reference_agent", "--port", str(port), "--profile", profile]
        with Child(command, directory / "agent.log", env) as agent:
            _wait_until_healthy(agent, port)
            known = [f"known_{number}" for number in range(_AT_ONCE)]
            _talk(agent, port, known * 10)
            ids = 0
            for count in steps:
                noise_kb, _ = _growth_kb(agent, port, [known[turn % len(known)] for turn in range(count)])
                before_mb = agent.rss_bytes() / 1e6
                grown_kb, turns_per_s = _growth_kb(agent, port, [f"new_{ids + number}" for number in range(count)])
                ids += count
                live = _get(addresses["control"], "/_control/summary")["live_conversations"]
                after_mb = agent.rss_bytes() / 1e6
                rows.append((profile, ids, live, turns_per_s, before_mb, after_mb, grown_kb / count, noise_kb / count))
    return rows


def _growth_kb(agent: Child, port: int, users: list[str]) -> tuple[float, float]:
    """Return by how much the agent has grown over one turn of each (KB), and the turns a second."""
    before = agent.rss_bytes()
    began_s = time.monotonic()
    _talk(agent, port, users)
    took_s = time.monotonic() - began_s
    return (agent.rss_bytes() - before) / 1e3, len(users) / took_s


def _talk(agent: Child, port: int, users: list[str]) -> None:
    """Have every one of them say something. Raises BenchError where not all but a few are answered."""
    kept = local()

    def turn(user: str) -> int:
        try:
            connection = kept.connection = getattr(kept, "connection", None) or http.client.HTTPConnection(
                "127.0.0.1", port, timeout=_TURN_S
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
        raise BenchError(f"Only {answered} of {len(users)} turns were answered ({counts}). {agent.last_words()}")


def _wait_until_healthy(agent: Child, port: int) -> None:
    deadline_s = time.monotonic() + _READY_S
    while True:
        try:
            _get(f"http://127.0.0.1:{port}", "/health")
            return
        except (OSError, http.client.HTTPException, ValueError):
            if not agent.running or time.monotonic() > deadline_s:
                raise BenchError(f"The agent did not get ready. {agent.last_words()}") from None
            time.sleep(0.1)


def _get(base: str, path: str) -> Any:
    connection = http.client.HTTPConnection(urlsplit(base).netloc, timeout=5)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
