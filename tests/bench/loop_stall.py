"""How late is the loop while tools run? `python -m tests.bench.loop_stall VARIANT ROUNDS` prints one JSON line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

from reference_agent.clock import Deadline
from reference_agent.compose import Composition
from reference_agent.conversation import ToolCall
from reference_agent.settings import read_settings
from reference_agent.wire import run_without_loop

_EVERY_S = 0.001
_CALLS = (
    ToolCall("call_1", "get_time", "{}"),
    ToolCall("call_2", "get_weather", '{"location": "Tokyo"}'),
    ToolCall("call_3", "get_fortune", "{}"),
)


async def main() -> None:
    """Run three tools at once, some rounds of it; print the longest stall and how long a round took, in ms."""
    variant, rounds = sys.argv[1], int(sys.argv[2])
    # As documented, a turn has a thread of its own; the other two share the event loop with everybody.
    profile = "documented" if variant == "documented" else "hardened"
    settings, overrides = read_settings(os.environ, profile=profile)
    composition = Composition(settings, overrides | {"tool_running": variant})
    running = composition.get("tool_running")
    clock = composition.get("clock")
    stalls_ms: list[float] = []
    took_ms: list[float] = []
    for number in range(rounds + 1):
        over = asyncio.Event()
        watching = asyncio.create_task(_watch(over))
        await asyncio.sleep(10 * _EVERY_S)
        began_s = time.perf_counter()
        work = running.run(_CALLS, Deadline.after(clock, 30.0))
        outputs = await (asyncio.to_thread(run_without_loop, work) if profile == "documented" else work)
        took_s = time.perf_counter() - began_s
        over.set()
        longest_s = await watching
        if len(outputs) != len(_CALLS):
            raise SystemExit(f"{outputs!r}")
        if number:  # the first round opens connections
            stalls_ms.append(1e3 * longest_s)
            took_ms.append(1e3 * took_s)
    await composition.close()
    print(json.dumps({"stalls_ms": stalls_ms, "took_ms": took_ms}), flush=True)


async def _watch(over: asyncio.Event) -> float:
    """Return how much later than it wanted to the loop came back, at worst (s)."""
    longest_s = 0.0
    while not over.is_set():
        due_s = time.perf_counter() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        longest_s = max(longest_s, time.perf_counter() - due_s)
    return longest_s


if __name__ == "__main__":
    asyncio.run(main())
