"""What do the tests of the reports share? The synthetic runs, read by path: tests are no package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    path = Path(__file__).with_name(name)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_of_the_reports", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """Return the module that writes synthetic runs."""
    return _load("synthetic_runs.py")


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
    return _load("golden_file.py")
