"""A campaign believes the judge's judgement only where the judge ended as one who came to it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.evidence import JUDGEMENT, scenario_directory, write_json
from harness.load.driver import judged
from harness.model import Judgement, Verdict

PASSED = Judgement(scenario="some", title="Some", verdict=Verdict.PASS, summary="All is well.", findings=(), replay="")


def judge(tmp_path: Path, deeds: str, writes: Judgement | None = None) -> tuple[Verdict, str]:
    """Have a stand-in judge: it writes a judgement, or none, and then does something."""
    ready = tmp_path / "ready.json"
    if writes is not None:
        write_json(ready, writes)
    place = scenario_directory(tmp_path, "some") / JUDGEMENT
    moves = f"pathlib.Path({str(ready)!r}).replace({str(place)!r});" if writes else ""
    return judged(tmp_path, "some", [sys.executable, "-c", f"import os, pathlib, sys; {moves} {deeds}"])


@pytest.fixture(autouse=True)
def stale(tmp_path: Path) -> None:
    """A judgement of an earlier run lies there."""
    write_json(scenario_directory(tmp_path, "some") / JUDGEMENT, PASSED)


def test_a_judgement_and_the_exit_code_that_belongs_to_it(tmp_path: Path) -> None:
    assert judge(tmp_path, "sys.exit(0)", PASSED) == (Verdict.PASS, "All is well.")


@pytest.mark.parametrize(
    ("deeds", "says"),
    [
        ("sys.exit('it broke')", "it could not be judged: it broke"),
        ("sys.exit(0)", "it could not be judged: the judge ended with exit code 0"),
        ("os.kill(os.getpid(), 9)", "it could not be judged: the judge ended with exit code -9"),
    ],
)
def test_an_old_judgement_does_not_stand_in_for_one_that_was_not_made(tmp_path: Path, deeds: str, says: str) -> None:
    assert judge(tmp_path, deeds) == (Verdict.ERROR, says)


def test_a_judge_that_ended_otherwise_than_it_judged_is_not_believed(tmp_path: Path) -> None:
    reached, text = judge(tmp_path, "sys.exit(4)", PASSED)

    assert reached is Verdict.ERROR
    assert text == "it could not be judged: the judge ended with exit code 4"
