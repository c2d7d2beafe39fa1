"""Is a check found, refused and asked as its plan says, and is what cannot be judged never a pass?"""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from harness import checks
from harness.checks import CheckError, collect, run, validate
from harness.model import CheckPlan, Verdict


def plan(name, because="so that it is", **limits):
    return CheckPlan(name=name, limits=limits, because=because)


def module(name, **functions):
    made = ModuleType(name)
    for attribute, (question, verdict) in functions.items():

        def function(evidence, *, question=question, verdict=verdict):
            return verdict(expected="", observed=question)

        function.__name__, function.__module__ = attribute, name
        setattr(made, attribute, checks.check(vantages=("client",), question=question)(function))
    return made


# --- finding them


def test_checks_are_found_in_all_files():
    subjects = {record.function.__module__ for record in checks.catalog().values()}
    assert {f"harness.checks.{name}" for name in ("client", "upstream", "tools", "process", "validity")} <= subjects


def test_two_checks_of_one_name_are_refused():
    ones = [module(name, heard=("Heard?", checks.passed)) for name in ("first", "second")]
    with pytest.raises(CheckError, match="Two checks are called 'heard', in first and second: rename one of them"):
        collect(ones)


def test_a_check_that_a_module_only_imports_is_not_its_own():
    first, second = module("first", heard=("Heard?", checks.passed)), ModuleType("second")
    second.heard = first.heard
    assert list(collect([first, second])) == ["heard"]


def test_reading_scenarios_stays_light():
    program = (
        "import sys, harness.checks; harness.checks.catalog();"
        "print(*{'numpy', 'pandas', 'locust', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# --- refusing plans


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (plan("real_user_served"), "There is no check 'real_user_served'; did you mean 'real_users_served'?"),
        (
            plan("recovers", within=3),
            "The check 'recovers' has no limit 'within'; did you mean 'within_s'?",
        ),
        (plan("target_survived", at_most=1), "The check 'target_survived' has no limit 'at_most'; it takes none."),
        (plan("recovers", zzz=3), "The check 'recovers' has no limit 'zzz'; its limits are within_s, minimum."),
        (plan("recovers"), "The check 'recovers' needs within_s: add within_s=... to harness.check(...)."),
        (
            plan("recovers", within_s="soon"),
            "The limit 'within_s' of the check 'recovers' cannot be 'soon': Expected `float`, got `str`.",
        ),
        (
            plan("real_users_served", at_least_share=80),
            "The limit 'at_least_share' of the check 'real_users_served' cannot be 80: Expected `float` <= 1.0.",
        ),
        (
            plan("errors_are_clear", during=("atack",)),
            "The limit 'during' of the check 'errors_are_clear' cannot be ('atack',): Invalid enum value 'atack' - at"
            " `$[0]`; it is made of warm_up, steady, attack, recovery, drain.",
        ),
        (
            plan("characters_bounded", upstream="declared:upstream", at_most=3),
            "The limit 'upstream' of the check 'characters_bounded' cannot be 1: Expected `str`, got `int`.",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused_in_one_sentence(wrong, message):
    with pytest.raises(CheckError) as refused:
        validate(wrong)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "right",
    [
        plan("live_conversations_bounded", at_most="declared:anything"),
        plan("live_conversations_bounded", at_most=40),
        plan("answered_within", at_most_s=1, ended_as=["answered", "refused"], during=["attack"]),
        plan("real_users_served", at_least_share="declared:availability"),
    ],
)
def test_a_plan_that_can_be_run_is_accepted(right):
    validate(right)


# --- asking


def test_a_finding_says_who_asked_what_and_why(given):
    finding = run(plan("errors_are_clear", because="people read them"), given.evidence(samples=given.many(3)))
    assert finding.check == "errors_are_clear"
    assert finding.verdict is Verdict.PASS
    assert finding.because == "people read them"
    assert finding.vantages == ("client",)
    assert finding.question == "Were errors clear ones?"
    assert finding.limits == {"during": ("attack",), "roles": ("real",), "at_most": 0, "minimum": 1}


def test_limits_that_were_stored_as_lists_are_read_again(given):
    finding = run(plan("errors_are_clear", roles=["real", "attacker"]), given.evidence(samples=given.many(3)))
    assert finding.verdict is Verdict.PASS
    assert finding.limits["roles"] == ("real", "attacker")


def test_what_the_target_declares_is_the_limit(given):
    ledger = [given.call(conversation=f"t{index}") for index in range(41)]
    evidence = given.evidence(samples=given.many(99, role="attacker"), ledger=ledger)
    finding = run(plan("live_conversations_bounded", at_most="declared:live_conversations"), evidence)
    assert finding.verdict is Verdict.FAIL
    assert finding.limits == {"at_most": 40.0}
    assert finding.expected == "at most 40 conversations alive at once (the target declares live_conversations)"


def test_a_figure_that_is_not_declared_is_asked_for(given):
    finding = run(plan("live_conversations_bounded", at_most="declared:sessions"), given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == (
        "the target does not declare sessions: add `sessions = <number>` under [declares] in its target.toml,"
        " and give that file with --target"
    )


def test_a_declared_figure_of_the_wrong_kind_is_an_error(given):
    evidence = given.evidence(declared={"availability": 99.0})
    finding = run(plan("real_users_served", at_least_share="declared:availability"), evidence)
    assert finding.verdict is Verdict.ERROR
    assert "cannot be 99: Expected `float` <= 1.0" in finding.reason


@pytest.mark.parametrize(
    ("asked", "missing", "option"),
    [
        (
            plan("nothing_unexpected"),
            {"ledger": None},
            "the upstream vantage is missing: it is brought by `--upstreams",
        ),
        (
            plan("target_survived"),
            {"telemetry": None},
            "the process vantage is missing: the harness has to start the target itself: `--target` with",
        ),
    ],
)
def test_a_missing_vantage_says_what_brings_it(given, asked, missing, option):
    finding = run(asked, given.evidence(**missing))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert option in finding.reason
    assert finding.question


def test_a_check_that_breaks_is_an_error_with_its_traceback(given, monkeypatch):
    def breaks(evidence):
        raise ZeroDivisionError("division by zero")

    record = checks.Check(name="nothing_unexpected", vantages=(), question="?", implicit=False, function=breaks)
    monkeypatch.setattr(checks, "catalog", lambda: {"nothing_unexpected": record})
    finding = run(plan("nothing_unexpected"), given.evidence())
    assert finding.verdict is Verdict.ERROR
    assert "nothing_unexpected broke with ZeroDivisionError: division by zero" in finding.reason
    assert "in breaks" in finding.traceback


def test_a_stored_plan_with_an_unknown_check_is_an_error(given):
    finding = run(plan("was_renamed_since"), given.evidence())
    assert finding.verdict is Verdict.ERROR
    assert finding.reason.endswith("Was the run recorded by another version?")
