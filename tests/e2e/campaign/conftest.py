"""The six scenarios, played once against both profiles through both doors, and what else takes a whole agent; every
test reads what was recorded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "reference_agent" / "target.toml"
BOUND_S = 400
"""A campaign takes about two minutes; one that takes three times as long has lost its way."""


@dataclass(frozen=True)
class Campaign:
    """What one command left behind."""

    door: str
    variant: str
    exit_code: int
    output: str
    run_dir: Path


@dataclass(frozen=True)
class Order:
    """One command to play; `name` is unique, and is the variant where nothing else is told apart."""

    door: str
    variant: str
    name: str = ""
    scenarios: tuple[str, ...] = ()
    """None named: all."""
    settings: tuple[str, ...] = ()


# Two at a time, never the same door or the same profile twice at once. Between them, the hardened profile is played on
# every engine: on its own (responses) through one door, on assistants through the other, and on chat where that differs
# most: what is remembered, what is left open, how tools are asked for.
_LANES = (
    (
        Order("harness", "documented"),
        Order("harness", "hardened"),
        Order(
            "harness",
            "hardened",
            "chat",
            scenarios=("thread_bombing", "tool_loop", "upstream_outage"),
            settings=("AGENT_ENGINE=chat",),
        ),
    ),
    (
        Order("locust", "hardened", settings=("AGENT_ENGINE=assistants",)),
        Order("locust", "documented"),
        Order(
            "harness",
            "hardened",
            "retries as documented",
            scenarios=("upstream_outage",),
            settings=("AGENT_ENGINE=assistants", "AGENT_PART_RETRIES=documented"),
        ),
    ),
)


@pytest.fixture(scope="session")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Campaign]:
    """Play all of them; by door and name."""
    base = tmp_path_factory.mktemp("campaigns")

    def play(order: Order) -> Campaign:
        door, variant = order.door, order.variant
        run_dir = base / f"{door}-{order.name or variant}"
        seed = os.environ.get("HARNESS_TEST_SEED", "1")
        if door == "harness":
            command = [*(sys.executable, "-m", "harness.cli", "run"), *order.scenarios, "--runs", str(run_dir)]
        else:
            command = [*(sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios"), "--headless", "--only-summary")]
            command += ["--run-dir", str(run_dir)]
        command += ["--target", str(TARGET), "--variant", variant, "--seed", seed]
        command += [word for setting in order.settings for word in ("--set", setting)]
        result = subprocess.run(
            command, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        if door == "harness":
            run_dir = next(run_dir.iterdir())
        return Campaign(door, variant, result.returncode, result.stdout + result.stderr, run_dir)

    with ThreadPoolExecutor(max_workers=len(_LANES)) as pool:
        lanes = pool.map(lambda lane: [((one.door, one.name or one.variant), play(one)) for one in lane], _LANES)
        return dict(played for lane in lanes for played in lane)
