"""The repository's own shape: what lies at the top, what is pinned, what the README promises."""

import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from harness.cli import main

ROOT = Path(__file__).resolve().parents[2]

TOP_LEVEL = {
    ".ci", ".gitattributes", ".github", ".gitignore", "CHANGELOG.md", "Makefile", "README.md",
    "harness", "pyproject.toml", "reference_agent", "reports", "scenarios", "tests",
}  # fmt: skip


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


def test_the_top_level_is_what_was_agreed_on() -> None:
    assert {name.split("/")[0] for name in tracked()} <= TOP_LEVEL


def test_run_output_is_never_committed() -> None:
    assert not [name for name in tracked() if name.startswith("runs/") or name.endswith(".jsonl")]


def test_constraints_pin_every_dependency_and_name_no_index() -> None:
    constraints = (ROOT / ".ci/constraints.txt").read_text(encoding="utf-8")
    assert "://" not in constraints
    assert "index" not in constraints
    pinned = {re.split(r"[=<>]", line)[0].lower().replace("_", "-") for line in constraints.splitlines() if line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[=<>;\[ ]", requirement)[0].lower().replace("_", "-") for requirement in wanted}
    assert names <= pinned, f"not pinned: {sorted(names - pinned)}"


def test_every_runtime_dependency_has_its_reason_beside_it() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("]\n", text.index("dependencies = ["))]
    lines = [line.strip() for line in block.splitlines()[1:] if line.strip().startswith('"')]
    assert lines
    assert [line for line in lines if "#" not in line] == []


def shell_lines() -> list[str]:
    """Return the commands of the README's shell blocks."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", readme, flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def test_the_readme_names_its_two_commands_and_make_has_them() -> None:
    assert {"make demo", "make test"} <= set(shell_lines())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {line.split()[1] for line in shell_lines() if line.startswith("make ")} <= targets


@pytest.mark.parametrize("line", [line for line in shell_lines() if line.startswith("harness ")])
def test_every_harness_command_of_the_readme_exists_with_its_options(line: str) -> None:
    words = line.split()
    assert isinstance(main, click.Group)
    command = main.commands[words[1]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.split("=")[0] for word in words[2:] if word.startswith("-")} <= known


def test_ci_calls_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert re.search(r"^make test$", script, flags=re.MULTILINE)
