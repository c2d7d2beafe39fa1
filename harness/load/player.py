"""The playing half of the load: every process that sends, alone or as one of Locust's workers, has one."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any, Final

import gevent
import msgspec
from locust.env import Environment

from harness.load.declared import played
from harness.load.people import population
from harness.load.performance import Performance
from harness.load.recorder import Recorder
from harness.load.transport import Transport
from harness.model import Record, Size
from harness.target import Target

REHEARSE: Final = "harness-rehearse"
REHEARSED: Final = "harness-rehearsed"
PLAY: Final = "harness-play"
STOP: Final = "harness-stop"
REPORT: Final = "harness-report"

_REPORT_S: Final = 0.1
"""How often samples are handed over: a drain is noticed that much late at most."""


class Rehearsal(Record, frozen=True, kw_only=True):
    """What is going to be played next."""

    scenario: str
    seed: int


class Clock(Record, frozen=True, kw_only=True):
    """Whose monotonic clock a time was read from, and how far the wall clock is ahead of it."""

    boot: str
    wall_ahead_ns: int


class PlayOrder(Record, frozen=True, kw_only=True):
    """What the conductor asks every player to play."""

    scenario: str
    size: Size
    seed: int
    begin_ns: int
    clock: Clock
    host: str
    target: Target
    deadline_s: float
    index: int
    count: int


class Report(Record, frozen=True, kw_only=True):
    """What a player has done since its last report."""

    index: int
    scenario: str
    lines: bytes
    fault_lines: bytes
    sent: int
    answered: int
    in_flight: int
    scheduled: int
    stopped: bool
    trouble: str
    """What went wrong on this player's own side."""


class Player:
    """Plays its share of a scenario when the conductor says so, and reports what was recorded.

    Args:
        environment: Locust's. Its runner carries the messages; alone, it hands them to this same process.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._order: PlayOrder | None = None
        self._performance: Performance | None = None
        self._recorder: Recorder | None = None
        self._transport: Transport | None = None
        self._reporting: gevent.Greenlet | None = None
        runner = environment.runner
        assert runner is not None
        runner.register_message(REHEARSE, self._on_rehearse)
        runner.register_message(PLAY, self._on_play)
        runner.register_message(STOP, self._on_stop)

    def _on_rehearse(self, msg: Any, **_: Any) -> None:
        rehearsal = msgspec.json.decode(msg.data, type=Rehearsal)
        for one in played(self._environment.user_classes)[rehearsal.scenario][1]:
            # Making up the people costs a tenth of a second, and the first time what it takes to load their names.
            population(rehearsal.seed, rehearsal.scenario, one.people)
        assert self._environment.runner is not None
        self._environment.runner.send_message(REHEARSED, rehearsal.scenario)

    def _on_play(self, msg: Any, **_: Any) -> None:
        order = msgspec.json.decode(msg.data, type=PlayOrder)
        self._stop()
        own = own_clock()
        # Processes of one machine share the clock; another machine's is reached over both wall clocks.
        ahead_ns = 0 if order.clock.boot == own.boot else order.clock.wall_ahead_ns - own.wall_ahead_ns
        planned, classes = played(self._environment.user_classes)[order.scenario]
        self._order = order
        self._recorder = Recorder(self._environment, shift_ns=-ahead_ns)
        self._transport = Transport(order.target, order.host, order.deadline_s)
        self._performance = Performance(
            self._environment,
            planned,
            classes,
            size=order.size,
            seed=order.seed,
            begin_ns=order.begin_ns + ahead_ns,
            transport=self._transport,
            record=self._recorder,
            record_fault=self._recorder.fault,
            share=(order.index, order.count),
        )
        self._performance.start()
        self._reporting = gevent.spawn(self._keep_reporting)

    def _on_stop(self, **_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._performance is None:
            return
        self._performance.stop()
        if self._reporting is not None:
            self._reporting.kill()
        self._report(stopped=True)
        self._performance = None
        if self._transport is not None:
            self._transport.close()

    def _keep_reporting(self) -> None:
        while True:
            gevent.sleep(_REPORT_S)
            self._report(stopped=False)

    def _report(self, *, stopped: bool) -> None:
        assert self._order is not None
        assert self._performance is not None
        assert self._recorder is not None
        assert self._environment.runner is not None
        lines, fault_lines = self._recorder.take()
        report = Report(
            index=self._order.index,
            scenario=self._order.scenario,
            lines=lines,
            fault_lines=fault_lines,
            sent=self._recorder.sent,
            answered=self._recorder.answered,
            in_flight=self._performance.in_flight,
            scheduled=self._performance.scheduled,
            stopped=stopped,
            trouble=self._performance.trouble,
        )
        self._environment.runner.send_message(REPORT, msgspec.msgpack.encode(report))


@cache
def own_clock() -> Clock:
    """Return this machine's clock, as it was when first asked: it must not jump while samples are taken."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = f"unknown-{time.time_ns()}"  # no such thing here: every process is treated as another machine
    return Clock(boot=boot, wall_ahead_ns=time.time_ns() - time.monotonic_ns())
