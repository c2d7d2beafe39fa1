"""Does a typed expression calculate, and nothing else?"""

from __future__ import annotations

import math

import pytest

from reference_agent.conversation import BadArguments
from reference_agent.parts.expressions import DocumentedExpressions, HardenedExpressions


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
