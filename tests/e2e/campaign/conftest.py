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
    """One command to play."""

    door: str
    variant: str
    engine: str = ""
    """Another than the variant's own."""
    only: str = ""
    """A scenario; empty: all six."""

    @property
    def name(self) -> str:
        """What the campaign is known by, beside its door."""
        return f"{self.engine} {self.only}" if self.only else self.variant


# Two at a time, never the same door or the same profile twice at once. Between them the hardened profile is played on
# every engine: on its own (responses) through one door, on assistants through the other, and on chat completions where
# those differ most, in what is remembered and in what is left open.
_LANES = (
    (
        Order("harness", "documented"),
        Order("harness", "hardened"),
        Order("harness", "hardened", engine="chat", only="thread_bombing"),
    ),
    (
        Order("locust", "hardened", engine="assistants"),
        Order("locust", "documented"),
        Order("locust", "hardened", engine="chat", only="upstream_outage"),
    ),
)


@pytest.fixture(scope="session")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Campaign]:
    """Play all of them; by door and name."""
    base = tmp_path_factory.mktemp("campaigns")

    def play(order: Order) -> Campaign:
        door, variant = order.door, order.variant
        run_dir = base / f"{door}-{order.name}"
        seed = os.environ.get("HARNESS_TEST_SEED", "1")
        if door == "harness":
            command = [*(sys.executable, "-m", "harness.cli", "run"), *filter(None, [order.only])]
            command += ["--runs", str(run_dir)]
        else:
            files = ROOT / "scenarios" / (f"{order.only}.py" if order.only else "")
            command = [*(sys.executable, "-m", "locust", "-f", str(files), "--headless", "--only-summary")]
            command += ["--run-dir", str(run_dir)]
        command += ["--target", str(TARGET), "--variant", variant, "--seed", seed]
        command += ["--set", f"AGENT_ENGINE={order.engine}"] if order.engine else []
        result = subprocess.run(
            command, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        if door == "harness":
            run_dir = next(run_dir.iterdir())
        return Campaign(door, variant, result.returncode, result.stdout + result.stderr, run_dir)

    with ThreadPoolExecutor(max_workers=len(_LANES)) as pool:
        lanes = pool.map(lambda lane: [((one.door, one.name), play(one)) for one in lane], _LANES)
        return dict(played for lane in lanes for played in lane)
