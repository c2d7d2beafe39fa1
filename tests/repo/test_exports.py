"""What the packages export: a name that appears or disappears is a decision."""

import subprocess
import sys

import harness


def test_the_names_that_scenario_files_import() -> None:
    assert harness.__all__ == ["ConstantRate", "Durations", "Poisson", "Scenario", "check", "fault"]


def test_importing_the_harness_is_light() -> None:
    """No Locust (it patches sockets), no pandas, no matplotlib: in a process of its own, as others have them loaded."""
    code = "import sys, harness.cli; print(*sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert {"locust", "gevent", "pandas", "matplotlib", "numpy"}.isdisjoint(loaded)
