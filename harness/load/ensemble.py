"""The conducting half of the load: gives every player its share, and gathers what they report."""

from __future__ import annotations

from typing import Any, Final

import gevent
import msgspec
from locust.env import Environment
from locust.runners import MasterRunner

from harness.evidence import EvidenceError, JsonLinesWriter
from harness.load.player import PLAY, REHEARSE, REHEARSED, REPORT, STOP, PlayOrder, Rehearsal, Report

_LEAVE_S: Final = 5.0
"""How long a worker may take to hand over its last samples; it has nothing else to do then."""


class Ensemble:
    """The players: one, in this process, or Locust's workers. The same messages reach both.

    Args:
        environment: Locust's.
    """

    def __init__(self, environment: Environment) -> None:
        self.failure: EvidenceError | None = None
        """Why samples cannot be written any more; the campaign looks here and stops."""
        runner = environment.runner
        assert runner is not None
        self._runner = runner
        self._latest: dict[int, Report] = {}
        self._count = 0
        self._lost = 0
        self._scenario = ""
        self._writer: JsonLinesWriter | None = None
        self._fault_writer: JsonLinesWriter | None = None
        self._rehearsing = ""
        self._unrehearsed = 0
        runner.register_message(REPORT, self._on_report)
        runner.register_message(REHEARSED, self._on_rehearsed)

    @property
    def sent(self) -> int:
        """Requests that have ended, however."""
        return sum(report.sent for report in self._latest.values())

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(report.answered for report in self._latest.values())

    @property
    def scheduled(self) -> int:
        """Callers that were to arrive, in all."""
        return sum(report.scheduled for report in self._latest.values())

    @property
    def trouble(self) -> str:
        """What went wrong on the load's own side, empty if nothing did: then samples may be missing."""
        troubles = [report.trouble for report in self._latest.values() if report.trouble]
        if self._lost:
            troubles.append(f"{self._lost} load processes did not hand over their last samples")
        return "; ".join(troubles)

    @property
    def in_flight(self) -> int:
        """Requests under way, by the latest reports; never 0 before every player has reported."""
        silent = max(0, self._count - len(self._latest))
        return silent + sum(report.in_flight for report in self._latest.values())

    def rehearse(self, scenario: str, seed: int) -> None:
        """Forget the scenario before, and have the players do beforehand what would make the first arrivals late."""
        self._latest = {}
        self._lost = 0
        self._rehearsing = scenario
        self._unrehearsed = len(self._workers()) if isinstance(self._runner, MasterRunner) else 1
        self._runner.send_message(REHEARSE, msgspec.json.encode(Rehearsal(scenario=scenario, seed=seed)))

    @property
    def rehearsed(self) -> bool:
        """Whether every player has done so."""
        return self._unrehearsed <= 0

    def play(self, order: PlayOrder, writer: JsonLinesWriter, fault_writer: JsonLinesWriter) -> None:
        """Have a scenario played.

        Args:
            order: what to play; `index` and `count` are filled in here.
            writer: where samples go.
            fault_writer: where it is written what callers did wrong.
        """
        self._latest = {}
        self._scenario = order.scenario
        self._writer, self._fault_writer = writer, fault_writer
        if isinstance(self._runner, MasterRunner):
            workers = self._workers()
            self._count = len(workers)
            for index, worker in enumerate(workers):
                self._send(PLAY, msgspec.structs.replace(order, index=index, count=len(workers)), worker)
        else:
            self._count = 1
            self._send(PLAY, order)

    def stop(self) -> None:
        """Send nothing more, and gather the last samples."""
        if self._writer is None or self._fault_writer is None:
            return
        self._runner.send_message(STOP)
        with gevent.Timeout(_LEAVE_S, False):
            while sum(report.stopped for report in self._latest.values()) < self._count:
                gevent.sleep(0.01)
        self._lost = self._count - sum(report.stopped for report in self._latest.values())
        try:
            self._writer.close()
            self._fault_writer.close()
        except EvidenceError as error:
            self.failure = error
        self._writer = self._fault_writer = None
        self._count = 0

    def _workers(self) -> list[str]:
        assert isinstance(self._runner, MasterRunner)
        clients = self._runner.clients
        # Spawning, too: Locust's users are only place-holders, and what is played does not wait for them.
        return sorted(client.id for client in (*clients.ready, *clients.spawning, *clients.running))

    def _on_rehearsed(self, msg: Any, **_: Any) -> None:
        self._unrehearsed -= msg.data == self._rehearsing

    def _send(self, kind: str, order: PlayOrder, client: str | None = None) -> None:
        self._runner.send_message(kind, msgspec.json.encode(order), client)

    def _on_report(self, msg: Any, **_: Any) -> None:
        report = msgspec.msgpack.decode(msg.data, type=Report)
        if report.scenario != self._scenario or self._writer is None or self._fault_writer is None:
            return
        self._latest[report.index] = msgspec.structs.replace(report, lines=b"", fault_lines=b"")
        try:
            for writer, lines in ((self._writer, report.lines), (self._fault_writer, report.fault_lines)):
                if lines:
                    writer.add_lines(lines)
                    writer.flush()
        except EvidenceError as error:
            self.failure = error
