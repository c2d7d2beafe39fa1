"""How large does a table of sessions get? `python -m tests.bench.sessions VARIANT COUNT ...` prints one JSON line."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
from itertools import count

import psutil

from reference_agent.clock import Deadline, LoopClock
from reference_agent.compose import Composition
from reference_agent.settings import read_settings


class _Engine:
    """Opens conversations that only have an id, as long as the real ones are."""

    def __init__(self) -> None:
        self._numbers = count()

    async def open_conversation(self, deadline: Deadline) -> str:
        return f"thread_{next(self._numbers):024d}"

    async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
        pass


async def main() -> None:
    """Let so many users be seen once each, and say at each count what the process holds (MB)."""
    variant, *counts = sys.argv[1:]
    settings, overrides = read_settings(
        {name: value for name, value in os.environ.items() if name.startswith("AGENT_")}
        | {"OPENAI_API_KEY": "none", "AGENT_PROFILE": "hardened", "AGENT_PART_SESSIONS": variant}
    )
    composition = Composition(settings, overrides)
    composition._built["engine"] = _Engine()
    sessions = composition.get("sessions")
    held = {"0": _rss_mb()}
    users = 0
    for until in counts:
        while users < int(until):
            async with sessions.lease(f"user_{users:06d}", Deadline.after(LoopClock(), 60.0)):
                users += 1
        held[until] = _rss_mb()
    await composition.close()
    print(json.dumps(held), flush=True)


def _rss_mb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    asyncio.run(main())
