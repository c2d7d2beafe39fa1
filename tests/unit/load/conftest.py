"""Lets these tests import Locust without having it patch the sockets of every other test in this process."""

import os

os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import harness.load  # noqa: F401  # imported for what it does with that variable set

# Not left in the environment: a Locust that a test starts as a child must patch its sockets.
del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
