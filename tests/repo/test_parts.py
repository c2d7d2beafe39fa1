"""Has every part of the reference agent its three variants, and is every hole in a weak one pinned by a test?

So that nobody "fixes" by accident what the harness is to find.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from reference_agent.compose import PROFILES, variants

ROOT = Path(__file__).resolve().parents[2]
_PART_FILES = sorted(path.stem for path in (ROOT / "reference_agent/parts").glob("[a-z]*.py"))

# A variant that is the documented one has no hole of its own; the hardened one is tested for what it does.
_WEAK = [
    (part, variant)
    for part, classes in variants().items()
    for variant in PROFILES[:-1]
    if variant == "documented" or classes[variant] is not classes["documented"]
]


def test_every_file_is_a_part_with_its_three_variants() -> None:
    assert sorted(variants()) == _PART_FILES
    assert PROFILES == ("documented", "proposed", "hardened")
    for part, classes in variants().items():
        assert set(PROFILES) <= set(classes), part
        assert classes["hardened"] not in (classes["documented"], classes["proposed"]), part
        for cls in classes.values():
            assert cls.__module__ == f"reference_agent.parts.{part}", "side by side, in one file"


@pytest.mark.parametrize(("part", "variant"), _WEAK, ids=lambda value: str(value))
def test_every_weak_variant_is_pinned(part: str, variant: str) -> None:
    """A test named `test_<variant>_...` in the part's own test file makes one, itself or through what it calls."""
    path = ROOT / "tests/unit/agent" / f"test_{part}.py"
    assert path.exists(), f"there is no {path.relative_to(ROOT)}"
    defined = {
        node.name: node
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    pins = [name for name in defined if name.startswith(f"test_{variant}_")]
    assert pins, f"{path.name} has no test_{variant}_..."
    cls = variants()[part][variant].__name__
    idle = [name for name in pins if cls not in _names_within(name, defined)]
    assert len(idle) < len(pins), f"none of {pins} has anything to do with {cls}"
    for name in pins:
        assert any(isinstance(node, ast.Assert | ast.With | ast.AsyncWith) for node in ast.walk(defined[name])), name


def _names_within(name: str, defined: dict[str, ast.stmt]) -> set[str]:
    """Return all names that a definition uses, and those that what it uses uses, within its file."""
    found: set[str] = set()
    to_see = [name]
    while to_see:
        node = defined.get(to_see.pop())
        if node is None:
            continue
        used = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
        used |= {one.arg for one in ast.walk(node) if isinstance(one, ast.arg)}  # fixtures
        to_see += used - found
        found |= used
    return found
