"""Red on the documented agent for the true reason, green on the hardened one, through both doors alike."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.evidence import read_evidence, read_judgement, read_plan
from harness.model import Finding, Judgement, Verdict

pytestmark = pytest.mark.timeout(900)  # the first test that runs waits for all four campaigns

DOORS = ["harness", "locust"]

Campaigns = dict[tuple[str, str], Any]
"""By door and variant; see conftest."""


def numbers(text: str) -> list[int]:
    return [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", text)]


# The check that has to be red, and what it has to have counted.
TRUE_REASON: dict[str, tuple[str, Callable[[Finding], bool]]] = {
    "thread_bombing": ("live_conversations_bounded", lambda f: numbers(f.observed)[0] > 40),
    "emotion_dos": ("characters_bounded", lambda f: numbers(f.observed)[0] == 10_000),
    "emoji_tts": ("hazard_never_fired", lambda f: numbers(f.observed)[0] >= 1),
    "tool_loop": ("tool_calls_per_turn", lambda f: numbers(f.observed)[0] > 6 and "still going on" in f.observed),
    "upstream_outage": ("answered_before_deadline", lambda f: numbers(f.observed)[0] >= 10),
    "sequential_tools": ("tools_overlap", lambda f: f.observed.startswith("0 of ") and "one tool after" in f.observed),
}


def judgement(campaign: Any, scenario: str) -> Judgement:
    found = read_judgement(campaign.run_dir, scenario)
    assert found is not None, campaign.output
    return found


def finding(found: Judgement, check: str) -> Finding:
    return next(one for one in found.findings if one.check == check)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scenario", TRUE_REASON)
def test_the_documented_agent_is_red_for_the_true_reason(campaigns: Campaigns, door: str, scenario: str) -> None:
    found = judgement(campaigns[door, "documented"], scenario)
    check, is_true = TRUE_REASON[scenario]
    reason = finding(found, check)

    assert found.verdict is Verdict.FAIL, found.summary
    assert reason.verdict is Verdict.FAIL, reason
    assert is_true(reason), reason
    assert reason.evidence, "a finding shows what proves it"
    assert reason.observed.removesuffix(".").lower() in found.summary.lower(), "the summary leads with the true reason"


@pytest.mark.parametrize("door", DOORS)
def test_the_outage_is_also_told_by_opaque_errors_and_runs_left_open(campaigns: Campaigns, door: str) -> None:
    found = judgement(campaigns[door, "documented"], "upstream_outage")

    assert finding(found, "errors_are_clear").verdict is Verdict.FAIL
    assert finding(found, "no_open_generations").verdict is Verdict.FAIL


@pytest.mark.parametrize("door", DOORS)
def test_retries_as_documented_multiply_what_fails(campaigns: Campaigns, door: str) -> None:
    """The client's own two repeats of everything, and no budget."""
    storm = finding(judgement(campaigns[door, "documented"], "upstream_outage"), "retries_bounded")

    assert storm.verdict is Verdict.FAIL, storm
    assert numbers(storm.observed)[0] > 20, storm
    assert len(storm.evidence) == 3, "the call that was made most often: once, and twice again"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("scenario", TRUE_REASON)
def test_the_hardened_agent_is_green(campaigns: Campaigns, door: str, scenario: str) -> None:
    found = judgement(campaigns[door, "hardened"], scenario)

    assert found.verdict is Verdict.PASS, found.summary
    assert found.vantages == ("client", "upstream", "process")


@pytest.mark.parametrize(("door", "scenario"), [("harness", "thread_bombing"), ("locust", "upstream_outage")])
def test_the_hardened_agent_is_green_on_chat_completions(campaigns: Campaigns, door: str, scenario: str) -> None:
    found = judgement(campaigns[door, f"chat {scenario}"], scenario)

    assert found.verdict is Verdict.PASS, found.summary


@pytest.mark.parametrize(
    ("door", "name", "route"),
    [
        ("harness", "documented", "POST /v1/threads/{thread_id}/runs"),
        ("harness", "hardened", "POST /v1/responses"),
        ("locust", "hardened", "POST /v1/threads/{thread_id}/runs"),
        ("harness", "chat thread_bombing", "POST /v1/chat/completions"),
        ("locust", "chat upstream_outage", "POST /v1/chat/completions"),
    ],
)
def test_every_engine_was_played(campaigns: Campaigns, door: str, name: str, route: str) -> None:
    """Documented and hardened on the engine of their profile, and hardened on the two others."""
    run_dir = campaigns[door, name].run_dir
    makers = {"POST /v1/threads/{thread_id}/runs", "POST /v1/responses", "POST /v1/chat/completions"}

    for scenario in (planned.name for planned in read_plan(run_dir).scenarios):
        calls = read_evidence(run_dir, read_plan(run_dir), scenario).calls
        assert {call.route for call in calls} & makers == {route}, scenario


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("variant", ["documented", "hardened"])
@pytest.mark.parametrize("scenario", TRUE_REASON)
def test_the_steady_state_was_good_and_the_load_kept_its_schedule(
    campaigns: Campaigns, door: str, variant: str, scenario: str
) -> None:
    found = judgement(campaigns[door, variant], scenario)

    for check in ("steady_state_held", "load_kept_schedule", "faults_fired", "ended_complete", "something_was_sent"):
        assert finding(found, check).verdict is Verdict.PASS, finding(found, check)


@pytest.mark.parametrize("door", DOORS)
def test_exit_codes_say_the_verdict(campaigns: Campaigns, door: str) -> None:
    assert campaigns[door, "documented"].exit_code == 1, campaigns[door, "documented"].output
    assert campaigns[door, "hardened"].exit_code == 0, campaigns[door, "hardened"].output


@pytest.mark.parametrize("variant", ["documented", "hardened"])
@pytest.mark.parametrize("scenario", TRUE_REASON)
def test_both_doors_make_the_same_choices(campaigns: Campaigns, variant: str, scenario: str) -> None:
    """One seed: the same callers arrive at the same time, as the same people, and say the same.

    What an arrival goes on to say after its first answer depends on that answer.
    """

    def choices(run_dir: Path) -> set[tuple[object, ...]]:
        samples = read_evidence(run_dir, read_plan(run_dir), scenario).samples
        first = min(sample.intended_ns for sample in samples)
        return {
            (one.callers, one.ordinal, one.user_id, one.mark, one.message, (one.intended_ns - first) // 1000)
            for one in samples
            if one.turn == 0
        }

    assert choices(campaigns["harness", variant].run_dir) == choices(campaigns["locust", variant].run_dir)


@pytest.mark.parametrize("variant", ["documented", "hardened"])
def test_a_stored_run_is_judged_again_to_the_letter(campaigns: Campaigns, variant: str) -> None:

    run_dir = campaigns["harness", variant].run_dir
    paths = sorted(run_dir.glob("scenarios/*/judgement.json"))
    before = [path.read_bytes() for path in paths]

    result = subprocess.run(
        [sys.executable, "-m", "harness.cli", "judge", str(run_dir)], capture_output=True, text=True, check=False
    )

    assert result.returncode == campaigns["harness", variant].exit_code, result.stderr
    assert [path.read_bytes() for path in paths] == before


def test_the_report_shows_both_variants(campaigns: Campaigns, tmp_path: Path) -> None:

    runs = [str(campaigns["harness", variant].run_dir) for variant in ("documented", "hardened")]
    report = tmp_path / "report.html"
    result = subprocess.run(
        [sys.executable, "-m", "harness.cli", "report", *runs, "-o", str(report)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    page = report.read_text(encoding="utf-8")
    assert "Ship hardened" in page
    assert "http://" not in re.sub(r"http://(127\.0\.0\.1|www\.w3\.org|purl\.org|creativecommons\.org)", "", page)
