"""What does the supervisor leave in the run directory? Telemetry, process events and log lines of one scenario."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from harness.evidence import EVENTS, MACHINE, TARGET_LOG, TELEMETRY, EvidenceError, JsonLinesWriter
from harness.model import FaultEvent, LogLine, MachinePoint, TelemetryPoint


class Records:
    """The files of one scenario. Opening them can fail; a disk that fills up later is said once and loses records.

    Raises:
        EvidenceError: the directory cannot be written.
    """

    def __init__(self, directory: Path) -> None:
        self._telemetry = JsonLinesWriter(directory / TELEMETRY)
        self._events = JsonLinesWriter(directory / EVENTS)
        self._lines = JsonLinesWriter(directory / TARGET_LOG)
        self._machine = JsonLinesWriter(directory / MACHINE)
        self._writers = (self._telemetry, self._events, self._lines, self._machine)

    def point(self, point: TelemetryPoint) -> None:
        """Keep a point."""
        self._safely(lambda: self._telemetry.add(point))

    def event(self, event: FaultEvent) -> None:
        """Keep an event, on disk at once: it is what explains a sudden end."""
        self._safely(lambda: self._events.add(event))
        self._safely(self._events.flush)

    def line(self, line: LogLine) -> None:
        """Keep a log line."""
        self._safely(lambda: self._lines.add(line))

    def machine(self, point: MachinePoint) -> None:
        """Keep what the machine was busy with."""
        self._safely(lambda: self._machine.add(point))

    def flush(self) -> None:
        """Make everything so far readable by others."""
        for writer in self._writers:
            self._safely(writer.flush)

    def close(self) -> None:
        """Flush and close."""
        for writer in self._writers:
            self._safely(writer.close)

    def _safely(self, deed: Callable[[], None]) -> None:
        try:
            deed()
        except EvidenceError as error:
            print(error, file=sys.stderr, flush=True)
