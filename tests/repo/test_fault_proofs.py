"""Is there a proof of every fault, each from both sides? A new fault without one fails here."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.faults import Family, catalogue
from harness.proxy import LINE_FAULTS
from tests.contract.test_every_fault import ON_SOCKET, THROUGH_CLIENT

TESTS = Path(__file__).resolve().parents[1]


def of(*families: Family) -> set[str]:
    return {name for name, fault in catalogue().items() if fault.family in families}


@pytest.mark.parametrize("proven", [ON_SOCKET, THROUGH_CLIENT], ids=["on a socket", "through the client"])
def test_every_fault_of_an_upstream_is_proven(proven: dict[str, object]) -> None:
    assert set(proven) == of("upstream", "network", "model")


def named_in(*directories: str) -> str:
    files = [file for directory in directories for file in sorted((TESTS / directory).rglob("*.py"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_every_fault_of_a_process_is_done_to_a_real_one() -> None:
    said = named_in("e2e/stack")
    assert {name for name in of("process") if f'"{name}"' not in said} == set()


def test_every_fault_of_a_caller_is_played_against_a_real_server() -> None:
    said = named_in("unit/load", "contract", "e2e")
    assert {name for name in of("caller") if f'"{name}"' not in said} == set()


def test_every_fault_of_the_line_is_done_to_real_connections() -> None:
    said = named_in("contract/proxy")
    assert {name for name in LINE_FAULTS if f'"{name}"' not in said} == set()
