"""Does a typed expression calculate, and nothing else?"""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_agent.conversation import BadArguments
from reference_agent.parts.expressions import (
    _FUNCTIONS,
    DocumentedExpressions,
    HardenedExpressions,
    ProposedExpressions,
)


@pytest.mark.parametrize("expressions", [DocumentedExpressions(), HardenedExpressions()])
@pytest.mark.parametrize(
    ("expression", "value"),
    [("1 + 2 * 3", "7"), ("(1 + 2) * 3", "9"), ("math.sqrt(16)", "4.0"), ("-7 // 2", "-4"), ("2 ** 10", "1024")],
)
def test_calculates(expressions: DocumentedExpressions | HardenedExpressions, expression: str, value: str) -> None:
    assert expressions.value(expression) == value


def test_documented_one_really_evaluates() -> None:
    """The hole: attribute access walks out of the missing builtins, to every class there is."""
    assert "Popen" in DocumentedExpressions().value("[c.__name__ for c in ().__class__.__base__.__subclasses__()]")


@pytest.mark.parametrize(
    "expression",
    [
        "10**10**10",
        "[0] * 10**9",
        "().__class__.__base__.__subclasses__()",
        "__import__('os').system('true')",
        "math.__class__",
        "'a' * 10**9",
        "(lambda: 1)()",
        "9" * 5000,
        "1" + "+1" * 99,
        "(" * 50 + "1" + ")" * 50 + "+" + "-" * 60 + "1",
        "2**4096 * 2**4096",
        "-1 ** 0.5 if True else 2",
        "(-8) ** 0.5",
        "1/0",
        "math.sqrt(-1)",
        "math.exp(10**10)",
        "",
        "1 +",
        "True + 1",
        "\x00",
        "round(1e300 * 1e300)",
        "round(5, -999999999)",
        "round(5, 2**4000)",
        "round(5, 1.5)",
        "1e400",
        "min(1)",
        "max()",
        "__import__",
        "pi()",
        "1 if 2 else 3",
        "1 < 2",
        "~1",
        "1 << 10**9",
        "f'{1}'",
        "sqrt(x=1)",
        "max(*[1])",
    ],
)
def test_hardened_one_says_no_to_bombs_and_escapes(expression: str) -> None:
    with pytest.raises(BadArguments):
        HardenedExpressions().value(expression)


def test_hardened_one_reads_what_people_type() -> None:
    assert HardenedExpressions().value("3×4÷2^2") == "3.0"
    assert HardenedExpressions().value("max(1, 2) + math.pi") == str(2 + math.pi)
    assert HardenedExpressions().value("1**999999999") == "1"
    assert HardenedExpressions().value("１＋２×３ = ?") == "7"
    assert HardenedExpressions().value("1,234,567 − 567") == "1234000"
    assert HardenedExpressions().value("max(1,200)") == "200"
    assert HardenedExpressions().value("round(2.5678, 2) + round(1234, -2)") == "1202.57"


_numbers = st.one_of(
    st.integers(0, 12).map(str), st.integers(0, 10**12).map(str), st.sampled_from(["0.5", "1e308", "pi", "9" * 60])
)
_expressions = st.recursive(
    _numbers,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner).map(
            lambda three: f"({three[0]} {three[1]} {three[2]})"
        ),
        inner.map(lambda one: f"(-{one})"),
        st.tuples(st.sampled_from(sorted(_FUNCTIONS)), st.lists(inner, min_size=1, max_size=3)).map(
            lambda two: f"{two[0]}({', '.join(two[1])})"
        ),
    ),
    max_leaves=12,
)


@given(_expressions)
@hypothesis.settings(max_examples=500, deadline=None)
def test_whatever_is_calculated_is_over_at_once(expression: str) -> None:
    """A bomb among them would hang, and be named by the test's own time limit."""
    begin = time.thread_time()
    try:
        value = HardenedExpressions().value(expression)
    except BadArguments:
        value = ""
    assert len(value) < 60
    assert time.thread_time() - begin < 0.5, "CPU of this thread; measured below 1 ms"


def test_hardened_one_shortens_what_nobody_could_read() -> None:
    assert HardenedExpressions().value("2**1000").endswith("…（302桁）")


def test_proposed_one_bounds_what_is_written_and_not_what_it_comes_to() -> None:
    """The hole: it does hang on `10**10**10` (for over nine minutes, elsewhere) until its process is killed."""
    proposed = ProposedExpressions()
    assert proposed.value("(1 + 2) * -3") == "-9"
    for lost in ("99999999999 + 1", "math.sqrt(16)", "().__class__", "__import__('os')", "[0] * 10**9"):
        with pytest.raises(BadArguments, match="計算できませんでした"):
            proposed.value(lost)


@pytest.mark.parametrize("variant", ["Documented", "Proposed"])
def test_documented_and_proposed_one_hang_until_their_process_is_killed(variant: str) -> None:
    hang = f"from reference_agent.parts.expressions import {variant}Expressions; print('begun', flush=True)\n"
    hang += f"{variant}Expressions().value('10**10**10')"
    with subprocess.Popen([sys.executable, "-c", hang], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL
