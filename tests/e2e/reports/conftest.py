"""What do the browser tests share? A browser, and pages of synthetic runs."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from reports.html import write
from tests.e2e.reports.browser import NAMES, Browser, find_browser
from tests.unit.reports import synthetic_runs


@pytest.fixture(scope="session")
def browser(missing: Callable[[str], NoReturn]) -> Iterator[Any]:
    """Return a headless browser."""
    path = find_browser()
    if path is None:
        missing(f"no browser: none of {', '.join(NAMES)} is on PATH; install Chromium to look at the report")
    with Browser(path) as running:
        yield running


@pytest.fixture(scope="session")
def reports_of(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the addresses of the pages of two whole runs and of two awkward ones."""
    directory = tmp_path_factory.mktemp("pages")
    runs = {
        "pair": synthetic_runs.write_pair(directory / "runs", synthetic_runs.STORIES[:2]),
        "awkward": synthetic_runs.write_awkward(directory / "runs"),
    }
    for name, directories in runs.items():
        write(directories, directory / f"{name}.html")
    return {name: (directory / f"{name}.html").as_uri() for name in runs}
