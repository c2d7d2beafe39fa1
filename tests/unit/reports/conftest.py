"""What do the tests of the reports share? The synthetic runs, and what they were last shown as."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.reports import golden_file, synthetic_runs


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """Return the module that writes synthetic runs."""
    return synthetic_runs


@pytest.fixture(scope="session")
def pair(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two whole runs of two scenarios."""
    return synthetic.write_pair(tmp_path_factory.mktemp("pair"), synthetic.STORIES[:2])


@pytest.fixture(scope="session")
def awkward(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two runs with everything that can be wrong with a run."""
    return synthetic.write_awkward(tmp_path_factory.mktemp("awkward"))


@pytest.fixture(scope="session")
def golden() -> ModuleType:
    """Return the module that compares with stored files."""
    return golden_file
