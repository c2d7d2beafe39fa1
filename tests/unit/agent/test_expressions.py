"""Does a typed expression calculate, and nothing else?"""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from reference_agent.conversation import BadArguments
from reference_agent.parts.expressions import DocumentedExpressions, HardenedExpressions, ProposedExpressions


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
    ],
)
def test_hardened_one_says_no_to_bombs_and_escapes(expression: str) -> None:
    with pytest.raises(BadArguments):
        HardenedExpressions().value(expression)


def test_hardened_one_reads_what_people_type() -> None:
    assert HardenedExpressions().value("3×4÷2^2") == "3.0"
    assert HardenedExpressions().value("max(1, 2) + math.pi") == str(2 + math.pi)
    assert HardenedExpressions().value("1**999999999") == "1"


def test_hardened_one_shortens_what_nobody_could_read() -> None:
    assert HardenedExpressions().value("2**1000").endswith("…（302桁）")


def test_proposed_one_bounds_what_is_written_and_not_what_it_comes_to() -> None:
    """The hole: it does hang on `10**10**10` (for over nine minutes, elsewhere) until its process is killed."""
    proposed = ProposedExpressions()
    assert proposed.value("(1 + 2) * -3") == "-9"
    for lost in ("99999999999 + 1", "math.sqrt(16)", "().__class__", "__import__('os')", "[0] * 10**9"):
        with pytest.raises(BadArguments, match="計算できませんでした"):
            proposed.value(lost)
    hang = "from reference_agent.parts.expressions import ProposedExpressions; print('begun', flush=True)\n"
    hang += "ProposedExpressions().value('10**10**10')"
    with pytest.raises(subprocess.TimeoutExpired) as killed:
        subprocess.run([sys.executable, "-c", hang], timeout=4, capture_output=True, check=False)
    assert killed.value.stdout == b"begun\n"
