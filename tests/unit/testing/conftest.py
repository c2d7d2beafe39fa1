"""The fixtures that a team gets, as this suite's own."""

from harness.testing import *  # noqa: F403 - as a plug-in, they come the same way
from harness.testing import pytest_configure, pytest_runtest_call  # noqa: F401
