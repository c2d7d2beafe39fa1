"""Which scenarios there are: the files of a directory, read in a process of its own and remembered until they change.

A scenario file imports Locust, which patches the sockets of the process that does so; hence the child.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import msgspec

from harness.model import PlannedScenario

BUNDLED = Path(__file__).resolve().parent.parent / "scenarios"
"""The scenarios that come with the harness."""

_READING_TIMEOUT_S = 60


class CatalogError(Exception):
    """A scenario is unknown, or its file cannot be read; the message says which and what to do."""


def scenario_files(directory: Path) -> list[Path]:
    """Return the scenario files of a directory: every `*.py` directly in it whose name has no leading underscore."""
    if not directory.is_dir():
        msg = f"{directory} is no directory of scenarios. Give one with --scenarios."
        raise CatalogError(msg)
    files = sorted(path for path in directory.glob("*.py") if not path.name.startswith("_"))
    if not files:
        msg = f"{directory} holds no scenario: no *.py file directly in it."
        raise CatalogError(msg)
    return files


def read(directory: Path = BUNDLED) -> tuple[PlannedScenario, ...]:
    """Return the scenarios of a directory, by name.

    Raises:
        CatalogError: a file cannot be read or does not keep the rules.
    """
    files = scenario_files(directory)
    cached = _cache_file(files)
    if cached is not None and cached.exists():
        try:
            return msgspec.json.decode(cached.read_bytes(), type=tuple[PlannedScenario, ...])
        except (msgspec.DecodeError, OSError):
            cached.unlink(missing_ok=True)
    result = subprocess.run(
        [sys.executable, "-m", "harness.load", *map(str, files)],
        capture_output=True,
        timeout=_READING_TIMEOUT_S,
        check=False,
        env=os.environ | {"LOCUST_SKIP_MONKEY_PATCH": "1"},
    )
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise CatalogError(lines[-1] if lines else f"The scenarios of {directory} cannot be read.")
    scenarios = msgspec.json.decode(result.stdout, type=tuple[PlannedScenario, ...])
    if cached is not None:
        _remember(cached, result.stdout)
    return scenarios


def select(scenarios: Sequence[PlannedScenario], names: Sequence[str]) -> tuple[PlannedScenario, ...]:
    """Return the named scenarios, all of them where no name is given.

    Raises:
        CatalogError: a name is unknown; the message suggests the nearest.
    """
    known = {scenario.name: scenario for scenario in scenarios}
    for name in names:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known)}."
            msg = f"There is no scenario {name!r}. {hint}"
            raise CatalogError(msg)
    return tuple(known[name] for name in dict.fromkeys(names)) if names else tuple(scenarios)


def _cache_file(files: Sequence[Path]) -> Path | None:
    """Name the cache after everything that decides what reading would give: the files, and the harness's own code."""
    own = Path(__file__).resolve().parent
    digest = hashlib.blake2b(sys.version.encode(), digest_size=12)
    for path in [*files, *sorted(own.rglob("*.py"))]:
        stat = path.stat()
        digest.update(f"{path}:{stat.st_mtime_ns}:{stat.st_size}\n".encode())
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home directory: nothing is remembered
        return None
    return home / "agent-harness" / f"catalog-{digest.hexdigest()}.json"


def _remember(cached: Path, content: bytes) -> None:
    scratch = cached.with_name(f"{cached.name}.{os.getpid()}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        for old in cached.parent.glob("catalog-*.json"):
            old.unlink(missing_ok=True)
        scratch.write_bytes(content)
        scratch.replace(cached)
    except OSError:
        scratch.unlink(missing_ok=True)  # a cache that cannot be written costs a second, nothing else
