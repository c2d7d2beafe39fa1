"""Do findings add up to the right judgement, and is a stored run judged the same way every time?"""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from harness import checks, evidence, judge
from harness.catalog import BUNDLED
from harness.evidence import Ended, Evidence, JsonLinesWriter, write_json
from harness.model import (
    Call,
    CheckPlan,
    Durations,
    MachinePoint,
    Outcome,
    PhaseWindow,
    Plan,
    PlannedScenario,
    Sample,
    Scenario,
    Verdict,
)

S = 1_000_000_000
DURATIONS = Durations(warm_up_s=1, steady_s=4, attack_s=6, recovery_s=4, drain_s=2)
PHASES = (
    PhaseWindow(phase="steady", begin_ns=0, end_ns=4 * S),
    PhaseWindow(phase="attack", begin_ns=4 * S, end_ns=10 * S),
)


def check(name, **limits):
    return CheckPlan(name=name, limits=limits, because="so that it is")


CLEAR = check("errors_are_clear")
LEDGER = check("nothing_unexpected")


def scenario(*checks, **fields):
    return Scenario(
        **{
            "title": "Outage",
            "category": "outage",
            "severity": "critical",
            "story": "It breaks.",
            "claim": "Every caller gets a clear answer.",
            "quick": DURATIONS,
            "full": DURATIONS,
            "checks": checks,
            "not_played": "one hour of it",
        }
        | fields
    )


def samples(attack="answered"):
    return tuple(
        Sample(
            callers="RealUsers",
            role="real",
            task="talk",
            ordinal=ordinal,
            phase="steady" if ordinal < 20 else "attack",
            user_id=f"user_{ordinal}",
            intended_ns=ordinal * S // 10 + (0 if ordinal < 20 else 2 * S),
            sent_ns=ordinal * S // 10 + (0 if ordinal < 20 else 2 * S),
            end_ns=(ordinal + 1) * S // 10 + (0 if ordinal < 20 else 2 * S),
            outcome=Outcome.ANSWERED if ordinal < 20 else Outcome(attack),
            status=200,
        )
        for ordinal in range(40)
    )


def recorded(*checks, attack="answered", **fields):
    return Evidence(
        **{
            "name": "outage",
            "scenario": scenario(*checks),
            "size": "quick",
            "seed": 1,
            "deadline_s": 5.0,
            "declared": {},
            "phases": PHASES,
            "samples": samples(attack),
            "ledger": None,
            "telemetry": None,
            "log_lines": None,
            "faults": (),
            "ended": Ended(how="complete", scheduled=40),
        }
        | fields
    )


def test_a_pass_says_the_claim():
    judgement = judge.judge(recorded(CLEAR), "harness run outage")
    assert judgement.verdict is Verdict.PASS
    assert judgement.summary == "Every caller gets a clear answer."
    assert judgement.replay == "harness run outage"
    assert judgement.vantages == ("client",)
    assert [finding.check for finding in judgement.findings] == [
        "something_was_sent",
        "ended_complete",
        "every_caller_is_accounted_for",
        "nothing_was_abandoned",
        "load_kept_schedule",
        "machine_was_left_to_the_run",
        "steady_state_held",
        "faults_fired",
        "upstreams_stayed_up",
        "attack_arrived",
        "errors_are_clear",
    ]


def test_a_fail_says_what_was_observed_and_what_was_expected():
    judgement = judge.judge(recorded(LEDGER, CLEAR, attack="opaque_error"), "")
    assert judgement.verdict is Verdict.FAIL
    assert judgement.summary == (
        "20 of 20 (100.0 %) of the requests that ended during attack."
        " Expected: at most 0 opaque errors or broken connections for real users."
    )


def test_a_missing_vantage_is_inconclusive_and_says_so():
    judgement = judge.judge(recorded(CLEAR, LEDGER), "")
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.summary.startswith(
        "Was every upstream call one that exists? The upstream vantage is missing: it is brought by `--upstreams URL`"
    )


def test_a_run_that_is_not_valid_does_not_pass():
    for fields in ({"samples": ()}, {"ended": Ended(how="interrupted", reason="Ctrl-C")}, {"phases": ()}):
        judgement = judge.judge(recorded(CLEAR, **fields), "")
        assert judgement.verdict is Verdict.INCONCLUSIVE


def test_a_check_that_breaks_is_worse_than_a_fail():
    judgement = judge.judge(recorded(CLEAR, check("no_such_check"), attack="opaque_error"), "")
    assert judgement.verdict is Verdict.ERROR
    assert "There is no check 'no_such_check'" in judgement.summary


def test_a_scenario_that_asks_nothing_does_not_pass():
    judgement = judge.judge(recorded(), "")
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.summary == "The scenario has no check, so nothing was asked."


CROWDED = tuple(
    MachinePoint(at_ns=half * S // 2, cpus=2, busy_s=float(half), own_s=half / 3)  # all busy, two thirds with others
    for half in range(40)
)
BROKEN_GROUND = {
    "steady_state_held": {"steady": "opaque_error"},
    "every_caller_is_accounted_for": {"scheduled": 41},
    "load_kept_schedule": {"lag_s": 1},
    "machine_was_left_to_the_run": {"machine": CROWDED},
}


@pytest.mark.parametrize("ground", BROKEN_GROUND)
def test_a_fail_of_service_on_broken_ground_is_inconclusive(ground):
    given = {"steady": "answered", "scheduled": 40, "lag_s": 0, "machine": None} | BROKEN_GROUND[ground]
    sent = tuple(
        msgspec.structs.replace(
            one,
            sent_ns=one.intended_ns + given["lag_s"] * S,
            end_ns=one.end_ns + given["lag_s"] * S,
            outcome=Outcome(given["steady"]) if one.phase == "steady" else one.outcome,
        )
        for one in samples("opaque_error")
    )
    ended = Ended(how="complete", scheduled=given["scheduled"])
    judgement = judge.judge(recorded(CLEAR, samples=sent, ended=ended, machine=given["machine"]), "")
    assert judgement.verdict is Verdict.INCONCLUSIVE
    finding = judgement.findings[-1]
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert f"this fail is not laid to the target: {ground}: " in finding.reason
    assert finding.observed.startswith("20 of 20")


def test_a_crowded_machine_takes_no_pass_back():
    judgement = judge.judge(recorded(CLEAR, machine=CROWDED), "")
    assert judgement.verdict is Verdict.PASS
    finding = next(one for one in judgement.findings if one.check == "machine_was_left_to_the_run")
    assert finding.verdict is Verdict.PASS
    assert finding.observed == (
        "others took 67 % of all CPUs during steady, 0 % were idle; no fail of the target's hangs on it"
    )


def test_what_is_counted_stays_a_fail_on_broken_ground():
    many = tuple(
        Call(
            seq=seq,
            upstream="openai",
            route="POST /v1/threads",
            path="/v1/threads",
            begin_ns=5 * S,
            end_ns=5 * S,
            status=200,
            conversation=f"t{seq}",
        )
        for seq in range(1, 9)
    )
    plans = (check("live_conversations_bounded", at_most=4), CLEAR)
    broken = recorded(*plans, attack="opaque_error", ledger=many, ended=Ended(how="complete", scheduled=41))
    judgement = judge.judge(broken, "")
    assert [finding.verdict for finding in judgement.findings[-2:]] == [Verdict.FAIL, Verdict.INCONCLUSIVE]
    assert judgement.verdict is Verdict.FAIL
    assert "8" in judgement.summary


def test_the_checks_of_service_are_marked():
    marked = {name for name, one in checks.catalog().items() if one.service}
    assert marked == {
        "real_users_served",
        "heard_something",
        "answered_before_deadline",
        "all_answered",
        "answered_within",
        "recovers",
        "errors_are_clear",
    }
    assert {name for name, one in checks.catalog().items() if one.foundation} == set(BROKEN_GROUND)


@pytest.mark.parametrize(("size", "said"), [("quick", True), ("full", False)])
def test_a_quick_run_says_what_it_left_out(size, said):
    judgement = judge.judge(recorded(CLEAR, size=size), "")
    assert ("; quick size: one hour of it" in judgement.findings[-1].counted) is said
    assert "quick size" not in judgement.findings[0].counted


# --- a stored run


def plan(*checks, **fields):
    planned = PlannedScenario(name="outage", path=str(BUNDLED / "outage.py"), declaration=scenario(*checks), load=())
    return Plan(
        **{
            "run_id": "r1",
            "seed": 7,
            "size": "quick",
            "target_name": "agent",
            "variant": "hardened",
            "host": None,
            "scenarios": (planned,),
            "declared": {},
            "deadline_s": 5.0,
            "expect": None,
            "versions": {},
            "git_revision": None,
            "wall_clock_anchor": "2026-11-22T15:00:00Z",
            "monotonic_anchor_ns": 1,
            "command": ("locust", "-f", "x.py", "--target", "my target.toml", "--set", "A=1"),
        }
        | fields
    )


@pytest.fixture
def run(tmp_path):
    """A stored run of one scenario."""
    write_json(tmp_path / evidence.PLAN, plan(CLEAR))
    directory = evidence.scenario_directory(tmp_path, "outage")
    for name, records in ((evidence.PHASES, PHASES), (evidence.SAMPLES, samples())):
        writer = JsonLinesWriter(directory / name)
        for record in records:
            writer.add(record)
        writer.close()
    write_json(directory / evidence.ENDED, Ended(how="complete", scheduled=40))
    return tmp_path


def test_judging_twice_gives_the_same_bytes(run, capsys):
    path = evidence.scenario_directory(run, "outage") / evidence.JUDGEMENT
    assert judge.main([str(run)]) == 0
    first = path.read_bytes()
    assert judge.main([str(run), "--scenario", "outage"]) == 0
    assert path.read_bytes() == first
    assert capsys.readouterr().out.splitlines() == ["outage: pass: Every caller gets a clear answer."] * 2
    judgement = evidence.read_judgement(run, "outage")
    assert judgement.replay == "harness run outage --target 'my target.toml' --set A=1 --variant hardened --seed 7"


def test_the_exit_code_is_that_of_the_worst_verdict(run):
    (evidence.scenario_directory(run, "outage") / evidence.ENDED).unlink()
    assert judge.main([str(run)]) == 3


def test_a_scenario_that_was_never_played_is_inconclusive(tmp_path):
    write_json(tmp_path / evidence.PLAN, plan(CLEAR))
    assert judge.main([str(tmp_path)]) == 3
    assert "the run was stopped before" in evidence.read_judgement(tmp_path, "outage").findings[1].reason


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / evidence.PLAN).unlink(), "holds no run"),
        (lambda run: (run / evidence.PLAN).write_text("{"), "plan.json: Input data was truncated"),
        (
            lambda run: (evidence.scenario_directory(run, "outage") / evidence.SAMPLES).write_text("{}\n"),
            "samples.jsonl, line 1: Object missing required field",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence_and_exit_code_4(run, spoil, message, capsys):
    spoil(run)
    assert judge.main([str(run)]) == 4
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "\n" not in said
    assert "Traceback" not in said


def test_an_unknown_scenario_is_named(run, capsys):
    assert judge.main([str(run), "--scenario", "bombing"]) == 4
    assert "has no scenario 'bombing'; it has outage." in capsys.readouterr().err


def test_a_mistake_of_ours_shows_its_traceback_and_is_no_fail(run, capsys, monkeypatch):
    monkeypatch.setattr(judge, "judge", lambda recorded, replay: 1 / 0)
    assert judge.main([str(run)]) == 4
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_it_is_a_process_of_its_own(run):
    done = subprocess.run(
        [sys.executable, "-m", "harness.judge", str(run), "--scenario", "outage"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "outage: pass: Every caller gets a clear answer.\n"


def test_the_replay_names_host_and_size():
    stored = msgspec.structs.replace(
        plan(), variant=None, host="http://127.0.0.1:8000", size="full", command=("locust", "--upstreams=http://x")
    )
    assert judge.replay_command(stored, "outage") == (
        "harness run outage --upstreams http://x --host http://127.0.0.1:8000 --seed 7 --full"
    )


def test_the_replay_names_the_directory_of_a_scenario_of_ones_own():
    own = PlannedScenario(name="outage", path="/srv/my scenarios/outage.py", declaration=scenario(), load=())
    stored = plan(scenarios=(own,), command=(), variant=None)
    assert judge.replay_command(stored, "outage") == "harness run outage --scenarios '/srv/my scenarios' --seed 7"
