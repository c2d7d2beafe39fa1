"""How does a test wait for something to come true? Asking again and again, with a bound."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

Came = TypeVar("Came")


def until(what: Callable[[], Came], said: Callable[[], object] = str, within_s: float = 60.0) -> Came:
    """Return what comes true, as soon as it does.

    Args:
        what: is asked again and again.
        said: what to say when it does not come true.
        within_s: a bound for a busy machine, which takes its time.

    Raises:
        AssertionError: it does not come true.
    """
    give_up_at = time.monotonic() + within_s
    while not (came := what()):
        assert time.monotonic() < give_up_at, f"it did not come true within {within_s:g} s: {said()}"
        time.sleep(0.02)
    return came


def listens(port: int) -> bool:
    """Return whether something on this machine accepts connections at a port.

    What waits for a process asks this before it asks a client of HTTP, which takes milliseconds of CPU to find out.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
