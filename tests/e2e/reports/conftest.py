"""What do the browser tests share? A browser, and pages of synthetic runs."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from reports.html import write


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.stem}_of_the_browser_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def browser(missing: Callable[[str], NoReturn]) -> Iterator[Any]:
    """Return a headless browser."""
    module = _load(Path(__file__).with_name("browser.py"))
    path = module.find_browser()
    if path is None:
        missing(f"no browser: none of {', '.join(module.NAMES)} is on PATH; install Chromium to look at the report")
    with module.Browser(path) as running:
        yield running


@pytest.fixture(scope="session")
def reports_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the addresses of the pages of two whole runs and of two awkward ones."""
    synthetic = _load(Path(__file__).parents[2] / "unit" / "reports" / "synthetic_runs.py")
    directory = tmp_path_factory.mktemp("pages")
    runs = {
        "pair": synthetic.write_pair(directory / "runs", synthetic.STORIES[:2]),
        "awkward": synthetic.write_awkward(directory / "runs"),
    }
    for name, directories in runs.items():
        write(directories, directory / f"{name}.html")
    return {name: (directory / f"{name}.html").as_uri() for name in runs}
