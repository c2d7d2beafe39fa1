"""The six scenarios, played once against both profiles through both doors; every test reads what was recorded."""

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


@pytest.fixture(scope="session")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Campaign]:
    """Play all four campaigns, two at a time: never the same door or the same profile twice at once."""
    base = tmp_path_factory.mktemp("campaigns")

    def play(door: str, variant: str) -> Campaign:
        run_dir = base / f"{door}-{variant}"
        seed = os.environ.get("HARNESS_TEST_SEED", "1")
        if door == "harness":
            command = [*(sys.executable, "-m", "harness.cli", "run"), "--runs", str(run_dir)]
        else:
            command = [*(sys.executable, "-m", "locust", "-f", str(ROOT / "scenarios"), "--headless", "--only-summary")]
            command += ["--run-dir", str(run_dir)]
        command += ["--target", str(TARGET), "--variant", variant, "--seed", seed]
        result = subprocess.run(
            command, cwd=base, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BOUND_S, check=False
        )
        if door == "harness":
            run_dir = next(run_dir.iterdir())
        return Campaign(door, variant, result.returncode, result.stdout + result.stderr, run_dir)

    lanes = [[("harness", "documented"), ("harness", "hardened")], [("locust", "hardened"), ("locust", "documented")]]
    with ThreadPoolExecutor(max_workers=len(lanes)) as pool:
        played = [
            campaign
            for lane in pool.map(lambda lane: [play(door, variant) for door, variant in lane], lanes)
            for campaign in lane
        ]
    return {(campaign.door, campaign.variant): campaign for campaign in played}
