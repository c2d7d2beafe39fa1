"""The rules that every scenario file keeps: Locust can load them all together, and a reader knows where to look."""

import ast
import sys
from pathlib import Path

import pytest

import harness.checks
from harness import catalog
from harness.model import PlannedScenario

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "scenarios").glob("*.py"))

THE_SIX = {"thread_bombing", "emotion_dos", "emoji_tts", "tool_loop", "upstream_outage", "sequential_tools"}


@pytest.fixture(scope="module")
def scenarios() -> dict[str, PlannedScenario]:
    return {scenario.name: scenario for scenario in catalog.read()}


def test_the_scenarios_are_there(scenarios: dict[str, PlannedScenario]) -> None:
    assert set(scenarios) >= THE_SIX


def test_the_directory_holds_nothing_that_locust_would_load_by_mistake() -> None:
    others = [path for path in (ROOT / "scenarios").rglob("*.py") if path.parent.name != "scenarios"]
    assert others == []
    shadowing = {path.stem for path in FILES} & set(sys.stdlib_module_names)
    assert shadowing == set(), "Locust imports a scenario by its base name: it would shadow the standard library"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_file_is_a_docstring_a_declaration_and_classes(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in tree.body[1:]:
        assert isinstance(node, ast.ImportFrom | ast.Assign | ast.ClassDef), f"line {node.lineno} is neither"
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            assert ast.get_docstring(node), f"{node.name} does not say who they are"


def test_class_names_are_unique_because_locust_refuses_doubles(scenarios: dict[str, PlannedScenario]) -> None:
    names = [load.callers for scenario in scenarios.values() for load in scenario.load]
    assert len(names) == len(set(names))


def test_every_scenario_judges_from_at_least_two_vantage_points(scenarios: dict[str, PlannedScenario]) -> None:
    checks = harness.checks.catalog()
    for scenario in scenarios.values():
        vantages = {vantage for plan in scenario.declaration.checks for vantage in checks[plan.name].vantages}
        assert len(vantages) >= 2, scenario.name


def test_every_limit_and_every_fault_has_its_reason_beside_it(scenarios: dict[str, PlannedScenario]) -> None:
    for scenario in scenarios.values():
        for plan in (*scenario.declaration.checks, *scenario.declaration.faults):
            assert len(plan.because) > 15, f"{scenario.name}: {plan}"


def test_every_scenario_says_what_its_quick_size_leaves_out(scenarios: dict[str, PlannedScenario]) -> None:
    assert all(scenario.declaration.not_played for scenario in scenarios.values())
