"""Which scenarios there are: the files of a directory, read in a process of its own and remembered until they change.

A scenario file imports Locust, which patches the sockets of the process that does so; hence the child.
"""

from __future__ import annotations

import contextlib
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
_REMEMBERED = 8
"""Catalogues that are kept: those of other checkouts and other directories too."""


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
        CatalogError: a file cannot be read, does not keep the rules, or does not come to an end.
    """
    files = scenario_files(directory)
    cached = _cache_file(directory)
    if cached is not None:
        # Missing, unreadable or spoilt: then it is read anew, and written over.
        with contextlib.suppress(OSError, msgspec.DecodeError):
            return msgspec.json.decode(cached.read_bytes(), type=tuple[PlannedScenario, ...])
    try:
        result = subprocess.run(
            [sys.executable, "-m", "harness.load", *map(str, files)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_READING_TIMEOUT_S,
            check=False,
            env=os.environ | {"LOCUST_SKIP_MONKEY_PATCH": "1"},
        )
    except subprocess.TimeoutExpired as error:
        msg = (
            f"The scenarios of {directory} could not be read within {_READING_TIMEOUT_S} s. "
            "Does one of its files wait for something, or send something, while it is imported?"
        )
        raise CatalogError(msg) from error
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        raise CatalogError(lines[-1] if lines else f"The scenarios of {directory} cannot be read.")
    try:
        scenarios = msgspec.json.decode(result.stdout, type=tuple[PlannedScenario, ...])
    except msgspec.DecodeError as error:
        msg = (
            f"What the scenarios of {directory} declare cannot be told from what they print while they are imported. "
            "Take the print calls out of their files."
        )
        raise CatalogError(msg) from error
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


def _cache_file(directory: Path) -> Path | None:
    """Name the cache after everything that decides what reading would give: the files, and the harness's own code.

    The files of the directory include those with a leading underscore, which scenarios import.
    """
    own = Path(__file__).resolve().parent
    digest = hashlib.blake2b(sys.version.encode(), digest_size=12)
    for path in [*sorted(directory.glob("*.py")), *sorted(own.rglob("*.py"))]:
        stat = path.stat()
        digest.update(f"{path}:{path.absolute()}:{stat.st_mtime_ns}:{stat.st_size}\n".encode())
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # no home directory: nothing is remembered
        return None
    return home / "agent-harness" / f"catalog-{digest.hexdigest()}.json"


def _remember(cached: Path, content: bytes) -> None:
    scratch = cached.with_name(f"{cached.name}.{os.getpid()}")
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(content)
        scratch.replace(cached)
        kept = sorted(cached.parent.glob("catalog-*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in kept[:-_REMEMBERED]:
            old.unlink(missing_ok=True)
    except OSError:  # a cache that cannot be written costs a second, nothing else
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
