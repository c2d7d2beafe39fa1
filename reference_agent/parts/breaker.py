"""Is it worth calling this upstream at all right now?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from typing import Protocol

from reference_agent.clock import Clock
from reference_agent.errors import Unavailable
from reference_agent.settings import BREAKER_LOOKS_AT, Settings
from reference_agent.trouble import trouble_in


class Breaker(Protocol):
    """Stands before every call to an upstream."""

    def around(self, upstream: str) -> AbstractContextManager[None]:
        """Return the context in which one call is made; what it raises tells how the upstream is.

        Raises:
            Unavailable: the upstream is not called at all now.
        """
        ...

    def states(self) -> dict[str, str]:
        """Return closed, open or half-open, for every upstream that was called."""
        ...


class DocumentedBreaker:
    """None: an upstream that is down is called again and again."""

    @contextmanager
    def around(self, upstream: str) -> Iterator[None]:
        yield

    def states(self) -> dict[str, str]:
        return {}


class ProposedBreaker:
    """Counts to five and opens, for ever; any exception counts, a bug of ours as well."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}

    @contextmanager
    def around(self, upstream: str) -> Iterator[None]:
        if self._failures.get(upstream, 0) >= _PROPOSED_FAILURES:
            raise Unavailable(upstream, "circuit open", never_arrived=True)
        try:
            yield
        except Exception:
            self._failures[upstream] = self._failures.get(upstream, 0) + 1
            raise
        else:
            self._failures[upstream] = 0

    def states(self) -> dict[str, str]:
        return {name: "open" if count >= _PROPOSED_FAILURES else "closed" for name, count in self._failures.items()}


_PROPOSED_FAILURES = 5


class _Circuit:
    """One upstream."""

    __slots__ = ("calls", "open_until", "probes")

    def __init__(self) -> None:
        self.calls: deque[tuple[float, bool]] = deque(maxlen=BREAKER_LOOKS_AT)
        self.open_until: float | None = None
        """None: closed. A moment: open until then, half-open afterwards."""
        self.probes = 0


class HardenedBreaker:
    """Opens on a share of failures, or on several without a success between them, soon lets probes through (spaced, and
    few at once), closes on the first good one.

    The share alone would be slow: what went well within the window has to be outweighed first, which took eight
    seconds of an outage at eight turns a second.

    A call that was cancelled (its caller hung up) says nothing about the upstream and counts for neither side. An
    upstream that answers "not like this" (4xx) is well.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._circuits: dict[str, _Circuit] = {}

    @contextmanager
    def around(self, upstream: str) -> Iterator[None]:
        circuit = self._circuits.setdefault(upstream, _Circuit())
        probe = circuit.open_until is not None
        if probe:
            self._begin_probe(upstream, circuit)
        try:
            yield
        except Exception as failure:
            trouble = trouble_in(failure)
            self._count(circuit, failed=trouble is not None and trouble.upstream_is_down)
            raise
        except BaseException:
            if probe and circuit.open_until is not None:
                circuit.open_until = self._clock.now()  # cancelled: somebody else may look
            raise
        else:
            self._count(circuit, failed=False)
        finally:
            circuit.probes -= probe

    def states(self) -> dict[str, str]:
        now = self._clock.now()
        return {upstream: _state(circuit, now) for upstream, circuit in self._circuits.items()}

    def _begin_probe(self, upstream: str, circuit: _Circuit) -> None:
        assert circuit.open_until is not None
        left_s = circuit.open_until - self._clock.now()
        if left_s > 0 or circuit.probes >= self._settings.breaker_probes:
            wait_s = max(left_s, self._settings.breaker_open_s)
            raise Unavailable(upstream, "given a rest after failures", never_arrived=True, retry_after_s=wait_s)
        circuit.probes += 1
        # A probe that hangs must not keep the next one from finding out that the upstream is back.
        circuit.open_until = self._clock.now() + self._settings.breaker_open_s

    def _count(self, circuit: _Circuit, *, failed: bool) -> None:
        now = self._clock.now()
        if circuit.open_until is not None:
            # A failure says nothing new: calls from before it opened may still come to their ends, and must not keep
            # the next probe from looking.
            if not failed:
                circuit.open_until = None
                circuit.calls.clear()
            return
        calls = circuit.calls
        calls.append((now, failed))
        while calls[0][0] < now - self._settings.breaker_window_s:
            calls.popleft()
        if failed and (self._too_large_a_share(calls) or self._too_many_in_a_row(calls)):
            circuit.open_until = now + self._settings.breaker_open_s

    def _too_large_a_share(self, calls: deque[tuple[float, bool]]) -> bool:
        failures = sum(bad for _, bad in calls)
        return len(calls) >= self._settings.breaker_calls and failures >= self._settings.breaker_failures * len(calls)

    def _too_many_in_a_row(self, calls: deque[tuple[float, bool]]) -> bool:
        most = self._settings.breaker_in_a_row
        return len(calls) >= most and all(bad for _, bad in islice(reversed(calls), most))


def _state(circuit: _Circuit, now: float) -> str:
    if circuit.open_until is None:
        return "closed"
    return "open" if now < circuit.open_until else "half-open"


VARIANTS = {"documented": DocumentedBreaker, "proposed": ProposedBreaker, "hardened": HardenedBreaker}
