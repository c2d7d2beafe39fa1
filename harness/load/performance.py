"""Playing one scenario's load: callers arrive when they are due, however the ones before them fare."""

from __future__ import annotations

import heapq
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Final

import gevent
from gevent.pool import Group
from locust.env import Environment

from harness.campaign import durations_of, phase_offsets
from harness.load.arrivals import Arrival, schedule
from harness.load.callers import Callers
from harness.load.misconduct import misconduct
from harness.load.transport import Transport
from harness.model import FaultEvent, PlannedScenario, Sample, Size

# How many overdue callers may set out before the others get a turn: enough to catch up quickly, few enough that answers
# that are waiting to be read are not timed late.
_BATCH: Final = 16


class Performance:
    """One scenario's load in one process.

    Args:
        environment: Locust's.
        planned: the scenario.
        callers: its classes.
        size: quick or full.
        seed: the run's seed.
        begin_ns: the start of the scenario's schedule, monotonic.
        transport: how requests are sent.
        record: what is done with every sample.
        record_fault: what is done with every event of a caller's fault.
        share: (index, count): this process plays every count-th arrival, from the index-th on.
    """

    def __init__(
        self,
        environment: Environment,
        planned: PlannedScenario,
        callers: Sequence[type[Callers]],
        *,
        size: Size,
        seed: int,
        begin_ns: int,
        transport: Transport,
        record: Callable[[Sample], None],
        record_fault: Callable[[FaultEvent], None],
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.scenario = planned.name
        self.size = size
        self.seed = seed
        self.transport = transport
        self.record = record
        self.record_fault = record_fault
        self.now_ns = time.monotonic_ns
        self._environment = environment
        self._begin_ns = begin_ns
        self._max_in_flight = max(1, planned.declaration.max_in_flight // share[1])
        self._callers = {one.__name__: one for one in callers}
        declaration = planned.declaration
        offsets = phase_offsets(durations_of(declaration.quick, declaration.full, size))
        index, count = share
        schedules = {
            load.callers: schedule(
                load.arrivals, offsets, size, random.Random(f"{seed}/{planned.name}/{load.callers}/arrivals")
            )
            for load in planned.load
        }
        self.misconduct = misconduct(planned, schedules, offsets, size, seed)
        """What callers do wrong on purpose, by class and ordinal."""
        self._schedules = {
            name: [arrival for arrival in arrivals if arrival.ordinal % count == index]
            for name, arrivals in schedules.items()
        }
        self._under_way = Group()
        self.trouble = ""
        """What went wrong on the harness's own side: then the samples are not to be trusted."""
        self._dispatcher: gevent.Greenlet | None = None

    @property
    def in_flight(self) -> int:
        """Requests under way; never 0 before the last arrival has set out."""
        waiting = self._dispatcher is not None and not self._dispatcher.dead
        return len(self._under_way) + waiting

    @property
    def scheduled(self) -> int:
        """How many callers are going to arrive."""
        return sum(len(arrivals) for arrivals in self._schedules.values())

    def due_ns(self, arrival: Arrival) -> int:
        """Return when an arrival is due, monotonic."""
        return self._begin_ns + round(arrival.offset_s * 1e9)

    def start(self) -> None:
        """Begin to send. Returns at once."""
        self._dispatcher = gevent.spawn(self._guarded, "the dispatcher", self._dispatch)

    def stop(self) -> None:
        """Send nothing more; what is under way is recorded as abandoned."""
        if self._dispatcher is not None:
            self._dispatcher.kill(block=True, timeout=1)
        self._under_way.kill(block=True, timeout=2)

    def besides(self, who: str, deed: Callable[[], None]) -> bool:
        """Do something beside what is under way; return False, and leave it, where the cap of requests is reached."""
        if len(self._under_way) >= self._max_in_flight:
            return False
        self._under_way.spawn(self._guarded, who, deed)
        return True

    def _guarded(self, who: str, deed: Callable[[], None]) -> None:
        """Do something of a scenario or of ours, whose mistakes must not vanish with their greenlet."""
        try:
            deed()
        except Exception as error:
            self.trouble = self.trouble or f"{who} broke with {type(error).__name__}: {error}"
            logging.getLogger(__name__).exception("%s broke", who)

    def _dispatch(self) -> None:
        due = heapq.merge(
            *([(arrival, name) for arrival in arrivals] for name, arrivals in self._schedules.items()),
            key=lambda entry: entry[0].offset_s,
        )
        overdue = 0
        for arrival, name in due:
            wait_s = (self.due_ns(arrival) - time.monotonic_ns()) / 1e9
            if wait_s > 0:
                overdue = 0
                gevent.sleep(wait_s)
            else:
                overdue += 1
                if overdue % _BATCH == 0:
                    gevent.sleep(0)
            caller = self._callers[name].arrive(self._environment, self, arrival)
            if not self.besides(f"a task of {name}", caller.live):
                caller.unserved()
