"""Is the worst of some verdicts well defined, and is nothing at all never a pass?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.model import Verdict
from harness.verdict import exit_code, worst

VERDICTS = st.sampled_from(Verdict)


def test_of_nothing_it_is_inconclusive():
    assert worst([]) is Verdict.INCONCLUSIVE
    assert worst(iter(())) is Verdict.INCONCLUSIVE


def test_error_over_fail_over_inconclusive_over_pass():
    order = [Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.FAIL, Verdict.ERROR]
    for rank, verdict in enumerate(order):
        assert worst(order[: rank + 1]) is verdict


@given(VERDICTS)
def test_idempotent(verdict):
    assert worst([verdict]) is verdict
    assert worst([verdict, verdict]) is verdict


@given(VERDICTS, VERDICTS)
def test_commutative(one, other):
    assert worst([one, other]) is worst([other, one])


@given(st.lists(VERDICTS, min_size=1), st.lists(VERDICTS, min_size=1))
def test_associative(some, others):
    assert worst([worst(some), worst(others)]) is worst([*some, *others])


@given(st.lists(VERDICTS, min_size=1))
def test_only_passes_pass(verdicts):
    assert (worst(verdicts) is Verdict.PASS) == all(verdict is Verdict.PASS for verdict in verdicts)


def test_every_verdict_has_an_exit_code_of_its_own():
    assert {verdict: exit_code(verdict) for verdict in Verdict} == {
        Verdict.PASS: 0,
        Verdict.FAIL: 1,
        Verdict.INCONCLUSIVE: 3,
        Verdict.ERROR: 4,
    }
