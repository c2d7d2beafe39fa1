"""What does the evidence of a scenario add up to? Pure, and a process of its own: `python -m harness.judge RUN_DIR`."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from harness import catalog, checks, evidence, verdict
from harness.evidence import Evidence, EvidenceError
from harness.model import CheckPlan, Finding, Judgement, Plan, Verdict

# Options of the command that played the run, which the command that plays it again has to repeat.
_REPEATED = ("--target", "--upstreams", "--deadline", "--set", "--replicas", "--pid", "--log-file", "--metrics-url")


def judge(recorded: Evidence, replay: str) -> Judgement:
    """Return the judgement of one scenario: whether the run is valid at all, then its own checks; the worst wins.

    Args:
        recorded: all records of the scenario.
        replay: the command that plays it again.
    """
    validity = [
        checks.run(CheckPlan(name=one.name, limits={}, because=""), recorded) for one in checks.implicit_checks()
    ]
    asked = [checks.run(plan, recorded) for plan in recorded.scenario.checks]
    judged = [_on_broken_ground(finding, validity) for finding in asked]
    if judged == asked:
        validity = [_that_did_no_harm(finding) for finding in validity]
    claimed = [_with_size(finding, recorded) for finding in judged]
    findings = (*validity, *claimed)
    # Of no check at all the worst is inconclusive: a valid run of a scenario that asks nothing is no pass.
    reached = verdict.worst(
        [verdict.worst(finding.verdict for finding in group) for group in (validity, claimed)],
    )
    return Judgement(
        scenario=recorded.name,
        title=recorded.scenario.title,
        verdict=reached,
        summary=_summary(reached, findings, recorded.scenario.claim),
        findings=findings,
        replay=replay,
        vantages=recorded.vantages,
    )


def _on_broken_ground(finding: Finding, validity: Sequence[Finding]) -> Finding:
    """Take back a fail about the quality of service where nothing is left to hold it against.

    What is counted (live conversations, characters, tool calls) must not be, however the target did before, and stays.
    """
    known = checks.catalog()
    if finding.verdict is not Verdict.FAIL or not known[finding.check].service:
        return finding
    broken = [one for one in validity if known[one.check].foundation and one.verdict is not Verdict.PASS]
    if not broken:
        return finding
    why = "; ".join(f"{one.check}: {one.reason}" for one in broken)
    reason = f"this fail is not laid to the target: {why}"
    return msgspec.structs.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _that_did_no_harm(finding: Finding) -> Finding:
    """Let pass what could only have taken back a fail, where there was none to take back."""
    if finding.verdict is not Verdict.INCONCLUSIVE or not checks.catalog()[finding.check].only_takes_back:
        return finding
    observed = f"{finding.observed}; no fail of the target's hangs on it"
    return msgspec.structs.replace(finding, verdict=Verdict.PASS, observed=observed, reason="")


def _with_size(finding: Finding, recorded: Evidence) -> Finding:
    """Say beside a finding of a quick run what the documented size has, and this run has not."""
    if recorded.size == "full" or not recorded.scenario.not_played:
        return finding
    counted = "; ".join(filter(None, (finding.counted, f"quick size: {recorded.scenario.not_played}")))
    return msgspec.structs.replace(finding, counted=counted)


def _summary(reached: Verdict, findings: Sequence[Finding], claim: str) -> str:
    if reached is Verdict.PASS:
        return claim
    # The scenario's author put the claim's own check first; the first of the worst is the one to read.
    worst = next((finding for finding in findings if finding.verdict is reached), None)
    if worst is None:
        return "The scenario has no check, so nothing was asked."
    if reached is Verdict.FAIL:
        return f"{_sentence(worst.observed)} Expected: {worst.expected}."
    return f"{worst.question} {_sentence(worst.reason)}"


def _sentence(text: str) -> str:
    # A name such as crash_on_emoji is spelt as it is written, also at the beginning.
    begin = text[:1] if "_" in text.partition(" ")[0] else text[:1].upper()
    return begin + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def replay_command(plan: Plan, scenario: str) -> str:
    """Return the command that plays one scenario of a run again, with its seed and its target."""
    words = ["harness", "run", scenario, *_own_directory(plan, scenario)]
    given = iter(plan.command)
    for word in given:
        option, equals, value = word.partition("=")
        if option in _REPEATED:
            words += [option, value if equals else next(given, "")]
    words += ["--variant", plan.variant] if plan.variant else []
    words += ["--host", plan.host] if plan.host else []
    words += ["--seed", str(plan.seed)]
    words += ["--full"] if plan.size == "full" else []
    return shlex.join(words)


def _own_directory(plan: Plan, scenario: str) -> list[str]:
    """Return the option that names the directory of a scenario that is not a bundled one."""
    path = next((Path(one.path) for one in plan.scenarios if one.name == scenario and one.path), None)
    # By what the harness ships today: the same scenario of another checkout of it is a team's own.
    if path is None or path.resolve().parent == catalog.BUNDLED.resolve():
        return []
    return ["--scenarios", str(path.parent)]


def judge_stored(run: Path, plan: Plan, scenario: str) -> Judgement:
    """Judge one scenario of a stored run, and store the judgement beside its evidence.

    Raises:
        EvidenceError: the evidence cannot be read, or the judgement not be written.
    """
    judgement = judge(evidence.read_evidence(run, plan, scenario), replay_command(plan, scenario))
    evidence.write_json(evidence.scenario_directory(run, scenario) / evidence.JUDGEMENT, judgement)
    return judgement


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge a stored run; return the exit code of its worst verdict, 4 where it cannot be judged at all."""
    parser = argparse.ArgumentParser(prog="python -m harness.judge", description="Judge a stored run.")
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="a run directory, or one that holds several")
    parser.add_argument("--scenario", metavar="NAME", help="judge only this one (default: all that were planned)")
    given = parser.parse_args(arguments)
    reached: list[Verdict] = []
    try:
        for run in evidence.run_directories(given.run):
            plan = evidence.read_plan(run)
            for name in [given.scenario] if given.scenario else [one.name for one in plan.scenarios]:
                judgement = judge_stored(run, plan, name)
                print(f"{name}: {judgement.verdict}: {judgement.summary}", flush=True)
                reached.append(judgement.verdict)
    except EvidenceError as error:
        print(error, file=sys.stderr)
        return verdict.EXIT_ERROR
    except Exception:
        # A mistake of ours. Python's own exit code for it would say "fail" of the target.
        traceback.print_exc()
        return verdict.EXIT_ERROR
    return verdict.exit_code(verdict.worst(reached))


if __name__ == "__main__":
    sys.exit(main())
