"""Plain Locust as a door: what a bare URL can tell, what the ledger adds, its web page, workers, and being stopped."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from harness.evidence import read_evidence, read_judgement, read_plan
from harness.model import Outcome, Verdict

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "reference_agent" / "target.toml"
SCENARIO = str(ROOT / "scenarios" / "emotion_dos.py")
PATIENCE_S = 60.0


def test_a_bare_url_is_judged_by_what_a_client_can_see(place: Any, plain_agent: str) -> None:
    result = place.locust("-f", SCENARIO, "--host", plain_agent, "--run-dir", "run")

    assert result.returncode == 3, result.stdout
    # Locust may end the test before it has begun: then there is not even a campaign.
    found = read_judgement(place.path / "run", "emotion_dos") if (place.path / "run").exists() else None
    assert found is None or found.verdict is Verdict.INCONCLUSIVE
    assert found.vantages == ("client",)
    by_check = {finding.check: finding for finding in found.findings}
    assert by_check["real_users_served"].verdict is Verdict.PASS
    assert by_check["characters_bounded"].verdict is Verdict.INCONCLUSIVE
    assert "--upstreams" in by_check["characters_bounded"].reason
    assert "--target" in by_check["target_survived"].reason


def test_the_upstreams_of_a_running_agent_join_their_ledger(place: Any, play_on_a_running_agent: Any) -> None:
    """The hardened one is in `campaign`: whether it holds takes a machine to itself."""
    result, verdicts = play_on_a_running_agent(place, "documented")

    assert verdicts["characters_bounded"] is Verdict.FAIL
    assert verdicts["target_survived"] is Verdict.INCONCLUSIVE  # nobody watches a process that somebody else started
    assert result.returncode == 1, result.stdout


def test_workers_share_the_load_and_lose_nothing(place: Any, plain_agent: str, workers_port: Any) -> None:
    result = place.locust(
        "-f", SCENARIO, "--host", plain_agent, "--processes", "2", *workers_port(), "--run-dir", "run"
    )

    assert result.returncode == 3, result.stdout
    evidence = read_evidence(place.path / "run", read_plan(place.path / "run"), "emotion_dos")
    ordinals = [(sample.callers, sample.ordinal) for sample in evidence.samples]
    assert len(ordinals) == len(set(ordinals)) == evidence.ended.scheduled
    assert all(sample.outcome is Outcome.ANSWERED for sample in evidence.samples)


def fetch(url: str, form: dict[str, str] | None = None) -> Any:
    data = urllib.parse.urlencode(form).encode() if form else None
    with urllib.request.urlopen(url, data=data, timeout=5) as answer:
        return json.loads(answer.read())


def test_the_web_page_starts_a_campaign_and_shows_its_verdicts(
    place: Any, plain_agent: str, free_port: int, wait_until: Any, answers: Any
) -> None:
    page = f"http://127.0.0.1:{free_port}"
    process = place.start(
        *(sys.executable, "-m", "locust", "-f", SCENARIO, "--web-host", "127.0.0.1", "--web-port", str(free_port)),
        *("--runs", str(place.path / "runs")),
    )
    try:
        wait_until(lambda: answers(free_port), "the page is served", PATIENCE_S)
        started = fetch(f"{page}/swarm", {"user_count": "1", "spawn_rate": "1", "host": plain_agent, "seed": "3"})
        assert started["success"], started

        def rows() -> list[dict[str, str]]:
            return [
                row
                for table in fetch(f"{page}/stats/requests").get("extended_stats", [])
                if table["key"] == "verdicts"
                for row in table["data"]
            ]

        wait_until(lambda: any(row["verdict"] == "inconclusive" for row in rows()), "a verdict is shown", PATIENCE_S)
        assert rows()[0]["scenario"] == "emotion_dos"
        wait_until(lambda: fetch(f"{page}/stats/requests")["state"] == "stopped", "the test has stopped", PATIENCE_S)
        run_dir = next((place.path / "runs").iterdir())
        assert read_plan(run_dir).seed == 3
        found = read_judgement(run_dir, "emotion_dos")
        assert found is not None
        assert found.verdict is Verdict.INCONCLUSIVE
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)


def test_ctrl_c_leaves_a_run_that_can_be_judged_and_no_process(place: Any, wait_until: Any) -> None:
    process = place.start(
        *(sys.executable, "-m", "harness.cli", "run", "tool_loop", "emotion_dos"),
        *("--target", str(TARGET), "--variant", "hardened", "--runs", "runs"),
    )

    def in_the_middle() -> bool:
        logs = list(place.path.glob("runs/*/campaign.jsonl"))
        return bool(logs) and '"phase":"attack"' in logs[0].read_text(encoding="utf-8")

    wait_until(in_the_middle, "the attack has begun", PATIENCE_S)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, output
    assert "Traceback" not in output
    run_dir = next((place.path / "runs").iterdir())
    told = run_dir.relative_to(place.path)
    assert output.count("Interrupted") == 1, output
    sentence = f"Interrupted; what was recorded is in {told}, judge it again with `harness judge {told}`."
    assert output.strip().splitlines()[-1] == sentence
    found = read_judgement(run_dir, "emotion_dos")
    assert found is not None
    assert found.verdict is Verdict.INCONCLUSIVE, "what was interrupted is never a pass"
    assert not (run_dir / "scenarios" / "tool_loop").exists(), "the next scenario was not begun"
    assert (run_dir / "report.html").exists()
    again = place.harness("judge", str(run_dir))
    assert again.returncode == 3, again.stdout


def test_a_harness_that_is_killed_takes_everything_with_it(place: Any, wait_until: Any) -> None:
    process = place.start(
        *(sys.executable, "-m", "harness.cli", "run", "emotion_dos"),
        *("--target", str(TARGET), "--variant", "hardened", "--runs", "runs"),
    )
    wait_until(lambda: list(place.path.glob("runs/*/scenarios/*/samples.jsonl")), "callers arrive", PATIENCE_S)
    assert len(place.left_behind()) > 3, "the target, the upstreams and the supervisor are running"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()

    wait_until(lambda: not place.left_behind(), "everything has ended", PATIENCE_S)
    result = place.harness("judge", "runs/" + next((place.path / "runs").iterdir()).name)
    assert result.returncode == 3, result.stdout


def test_a_run_in_which_nothing_was_sent_never_passes(place: Any, plain_agent: str) -> None:
    result = place.locust("-f", SCENARIO, "--host", plain_agent, "--run-dir", "run", "--run-time", "1s")

    assert result.returncode in (3, 130), result.stdout
    # Locust may end the test before it has begun: then there is not even a campaign.
    found = read_judgement(place.path / "run", "emotion_dos") if (place.path / "run").exists() else None
    assert found is None or found.verdict is Verdict.INCONCLUSIVE
