"""Has every check a test that it passes, one that it fails, and one of nothing?

By name: `test_<check>_passes`, `test_<check>_fails` (`test_<check>_is_violated` for those of validity, which never
fail) and `test_<check>_of_nothing`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness import checks

DEFINED = {
    node.name
    for path in Path(__file__).parent.glob("test_*.py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("name", list(checks.catalog()))
def test_every_check_has_its_three_cases(name):
    fails = "is_violated" if checks.catalog()[name].implicit else "fails"
    wanted = {f"test_{name}_{case}" for case in ("passes", fails, "of_nothing")}
    assert wanted <= DEFINED, f"add {', '.join(sorted(wanted - DEFINED))}"


@pytest.mark.parametrize("record", list(checks.catalog().values()), ids=lambda record: record.name)
def test_every_check_is_inconclusive_of_evidence_that_holds_nothing(record, given):
    # The limits that have no default, as a scenario would give them.
    limits = {"at_least_share": 0.9, "upstream": "openai", "fault": "crash_on_emoji", "bait": "say"}
    given_limits = {name: limits.get(name, 1) for name in record.limits if name not in record.defaults}
    evidence = given.evidence(phases=(), planned=[given.fault_plan("hang")])
    finding = record.function(evidence, **given_limits)
    # A scenario without attackers; and what is not known takes no fail back.
    nothing_to_ask = record.name == "attack_arrived" or record.only_takes_back
    assert nothing_to_ask or finding.verdict == "inconclusive"
    assert nothing_to_ask or finding.reason
    assert finding.expected


@pytest.mark.parametrize("record", list(checks.catalog().values()), ids=lambda record: record.name)
def test_every_check_says_what_its_limits_are(record):
    assert record.question.endswith("?")
    assert record.function.__doc__
    missing = [limit for limit in record.limits if f"{limit}:" not in record.function.__doc__]
    assert not missing, f"document {missing} under Args"
    assert set(record.types) == set(record.limits)
