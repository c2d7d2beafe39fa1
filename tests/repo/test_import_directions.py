"""Which way imports run: who may lean on whom, and which packages stay pure."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("harness", "reports", "scenarios", "reference_agent", "tests")

CLOCK_NETWORK_AND_LOAD = {
    "asyncio", "gevent", "http", "httpx", "locust", "random", "requests", "socket", "subprocess", "time",
    "urllib.request",
}  # fmt: skip


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, path) of every module of the packages."""
    for package in packages:
        place = ROOT / package.replace(".", "/")
        paths = [place.with_suffix(".py")] if place.with_suffix(".py").exists() else sorted(place.rglob("*.py"))
        assert paths, f"{package} has no modules: was it renamed?"
        for path in paths:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield name, path


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports, `from a import b` as both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: name the module in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def violations(importers: tuple[str, ...], forbidden: set[str], allowed: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    return [
        f"{name} imports {imported}"
        for name, path in modules(*importers)
        for imported in imports(path)
        if within(imported, forbidden) and not within(imported, allowed)
    ]


def test_the_model_imports_nothing_of_ours() -> None:
    assert violations(("harness.model",), set(OURS)) == []


@pytest.mark.parametrize("package", ["harness.checks", "harness.verdict", "harness.campaign", "reports"])
def test_what_judges_and_shows_is_pure(package: str) -> None:
    assert violations((package,), CLOCK_NETWORK_AND_LOAD) == []


def test_reports_read_evidence_and_verdicts_and_nothing_else() -> None:
    allowed = {"harness.model", "harness.evidence", "harness.verdict"}
    bare = [v for v in violations(("reports",), {"harness"}, allowed) if not v.endswith(" imports harness")]
    assert bare == []


def test_upstreams_and_faults_know_nothing_of_who_uses_them() -> None:
    users = {"harness.checks", "harness.load", "harness.campaign", "harness.target", "harness.stack", "harness.cli"}
    assert violations(("harness.upstreams", "harness.faults"), users) == []


def test_load_reaches_upstreams_and_supervisor_only_over_their_apis() -> None:
    assert violations(("harness.load",), {"harness.upstreams", "harness.stack", "harness.checks", "reports"}) == []


def test_only_the_load_imports_locust() -> None:
    importers = {
        name for name, path in modules("harness", "reports", "reference_agent")
        for imported in imports(path) if within(imported, {"locust", "gevent", "geventhttpclient"})
    }  # fmt: skip
    assert importers
    assert all(within(name, {"harness.load"}) for name in importers), sorted(importers)


def test_the_harness_itself_imports_no_pandas_and_no_matplotlib() -> None:
    assert violations(("harness",), {"pandas", "matplotlib", "numpy"}) == []


def test_harness_and_reference_agent_meet_only_over_http() -> None:
    assert violations(("harness", "scenarios", "reports"), {"reference_agent"}) == []
    assert violations(("reference_agent",), {"harness", "scenarios", "reports"}) == []


def test_the_harness_does_not_know_the_reference_agent_by_name() -> None:
    told = [
        str(path.relative_to(ROOT))
        for _, path in modules("harness", "reports")
        if "reference_agent" in path.read_text(encoding="utf-8")
    ]
    assert told == []


def test_scenarios_import_the_public_names_and_nothing_else_of_ours() -> None:
    import harness

    public = {f"harness.{name}" for name in harness.__all__} | {
        "harness", "harness.load", *(f"harness.load.{name}" for name in ("Attackers", "Probes", "RealUsers")),
    }  # fmt: skip
    foreign = [
        f"{name} imports {imported}"
        for name, path in modules("scenarios")
        for imported in imports(path)
        if within(imported, set(OURS)) and imported not in public
    ]
    assert foreign == []
