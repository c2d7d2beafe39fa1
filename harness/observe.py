"""What becomes of a target that somebody else started? Watches its process, log file or metrics: a process of its own.

`python -m harness.observe [--pid N | --metrics-url URL] [--log-file FILE] --directory DIR` writes telemetry, log lines
and the end of the process into DIR until its standard input ends; it prints a line when it has begun. With `--check`
instead of `--directory` it only looks whether all of that can be read. A mistake is one sentence on standard error, and
exit code 2.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import select
import stat
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import psutil

from harness.evidence import EVENTS, TARGET_LOG, TELEMETRY, EvidenceError, JsonLinesWriter
from harness.model import FaultEvent, TelemetryPoint
from harness.telemetry import LineSplitter, ProcessTree

_BEAT_S: Final = 0.1
"""How often a process and its log file are looked at: as often as one that the harness started."""
_BEATS_PER_LISTING: Final = 2
_BEATS_PER_SCRAPE: Final = 10
"""Of metrics once a second: asking is work for the target."""
_SCRAPE_WITHIN_S: Final = 2.0
_BEATS_PER_FLUSH: Final = 4
"""What is recorded is readable by others within 0.4 s, as what the supervisor records."""
_READ_BYTES: Final = 1 << 20
_MISSED_SCRAPES: Final = 3
"""So many refused connections in a row, and the process is taken to have ended."""
_YOUNG_S: Final = 2.0
"""A process that began so much later than it was first seen is another one."""
_RSS, _CPU = "process_resident_memory_bytes", "process_cpu_seconds_total"
_FILES, _BEGAN = "process_open_fds", "process_start_time_seconds"


class ObserveError(Exception):
    """What is to be watched cannot be; the message says why, and what to do."""


class Watch(Protocol):
    """One thing that is looked at."""

    def look(self, beat: int) -> TelemetryPoint | str | None:
        """Look, for the `beat`-th time; return what was measured, how the process ended, or None."""

    def close(self) -> None:
        """Look no more."""


class ProcessWatch:
    """A process and all that it started.

    Raises:
        ObserveError: there is no such process, or it cannot be read.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._process = psutil.Process(pid)
        except (psutil.NoSuchProcess, ValueError, OverflowError) as error:
            msg = f"There is no process {pid} on this machine: is the agent started, and is --pid right?"
            raise ObserveError(msg) from error
        self._tree = ProcessTree(pid)
        self._ended = False
        if self._tree.read(time.monotonic_ns()) is None:
            msg = f"The process {pid} cannot be read: it has ended, or belongs to somebody else."
            raise ObserveError(msg)

    def look(self, beat: int) -> TelemetryPoint | str | None:
        if self._ended:
            return None
        if not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE:
            self._ended = True
            return f"the process {self._process.pid} has ended"
        if beat % _BEATS_PER_LISTING == 0:
            self._tree.relist()
        return self._tree.read(time.monotonic_ns())

    def close(self) -> None:
        self._tree.close()


class MetricsWatch:
    """What a process says of itself at a URL, in Prometheus's text format.

    Raises:
        ObserveError: nothing answers there, or something else than metrics of a process.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._refused = 0
        self._ended = False
        try:
            kind, figures = self._scrape()
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            msg = f"Nothing can be read at --metrics-url {url} ({reason}): expected metrics as Prometheus reads them."
            raise ObserveError(msg) from error
        missing = [name for name in (_RSS, _CPU) if name not in figures]
        if missing:
            answers = f"answers with {kind}" if not figures else f"has no {' and no '.join(missing)}"
            msg = (
                f"--metrics-url {url} {answers}: expected metrics as Prometheus reads them, among them {_RSS} and "
                f"{_CPU}, as the usual client libraries give them."
            )
            raise ObserveError(msg)
        self._seen_from = time.time()

    def look(self, beat: int) -> TelemetryPoint | str | None:
        if self._ended or beat % _BEATS_PER_SCRAPE:
            return None
        try:
            _, figures = self._scrape()
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Only a refusal says that nobody is there; an answer that is late or broken may be due to the attack.
            refused = isinstance(getattr(error, "reason", error), ConnectionRefusedError)
            self._refused = self._refused + 1 if refused else 0
            self._ended = self._refused >= _MISSED_SCRAPES
            return f"nobody listens at {self._url} any more" if self._ended else None
        self._refused = 0
        if figures.get(_BEGAN, 0.0) > self._seen_from + _YOUNG_S:
            self._seen_from = figures[_BEGAN]
            return f"the process at {self._url} is another one than before: it has been started again"
        if _RSS not in figures or _CPU not in figures:
            return None
        files = figures.get(_FILES)
        return TelemetryPoint(
            at_ns=time.monotonic_ns(),
            rss_bytes=round(figures[_RSS]),
            cpu_s=figures[_CPU],
            open_files=None if files is None else round(files),
        )

    def close(self) -> None:
        pass

    def _scrape(self) -> tuple[str, dict[str, float]]:
        request = urllib.request.Request(self._url, headers={"Accept": "text/plain"})
        with urllib.request.urlopen(request, timeout=_SCRAPE_WITHIN_S) as answer:
            kind = answer.headers.get_content_type()
            return kind, figures_in(answer.read(_READ_BYTES).decode("utf-8", "replace"))


def figures_in(text: str) -> dict[str, float]:
    """Return the figures of the process itself in a text in Prometheus's format; of several equal names the sum.

    Args:
        text: lines such as `process_open_fds 12`, with labels where several processes answer as one.
    """
    figures: dict[str, float] = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name not in (_RSS, _CPU, _FILES, _BEGAN):
            continue
        with contextlib.suppress(ValueError, IndexError):
            value = float(line[len(name) :].rpartition("}")[2].split()[0])
            figures[name] = max(figures.get(name, 0.0), value) if name == _BEGAN else figures.get(name, 0.0) + value
    return figures


class LogWatch:
    """The lines that are added to a file from now on, also when it is cut or another takes its place.

    Raises:
        ObserveError: it is no file that can be read.
    """

    def __init__(self, path: Path, writer: JsonLinesWriter | None = None) -> None:
        self._path = path
        self._writer = writer
        self._splitter = LineSplitter("stdout")
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            msg = f"--log-file {path} cannot be read: {error.strerror or error}. Expected the file the agent logs to."
            raise ObserveError(msg) from error
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            os.close(self._fd)
            msg = f"--log-file {path} is no file: expected the file the agent logs to."
            raise ObserveError(msg)
        os.lseek(self._fd, 0, os.SEEK_END)

    def look(self, beat: int) -> None:
        del beat
        self._take()
        with contextlib.suppress(OSError):  # between the old file and the new one there may be none
            now, ours = os.stat(self._path), os.fstat(self._fd)
            if now.st_ino != ours.st_ino or now.st_dev != ours.st_dev:
                self._take()
                fresh = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
                os.close(self._fd)
                self._fd = fresh
            elif ours.st_size < os.lseek(self._fd, 0, os.SEEK_CUR):
                os.lseek(self._fd, 0, os.SEEK_SET)

    def close(self) -> None:
        self._take()
        if self._writer is not None:
            for line in self._splitter.end(time.monotonic_ns()):
                self._writer.add(line)
        os.close(self._fd)

    def _take(self) -> None:
        data = os.read(self._fd, _READ_BYTES)
        if data and self._writer is not None:
            for line in self._splitter.feed(data, time.monotonic_ns()):
                self._writer.add(line)


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until standard input ends; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.observe", description=__doc__, allow_abbrev=False)
    parser.add_argument("--pid", type=int, help="process id of the target on this machine")
    parser.add_argument("--metrics-url", metavar="URL", help="where the target gives its metrics")
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="where the target logs to")
    parser.add_argument("--directory", type=Path, metavar="DIR", help="where records are written")
    parser.add_argument("--check", action="store_true", help="only look whether it can be read")
    options = parser.parse_args(arguments)
    try:
        if options.pid is not None and options.metrics_url:
            msg = "--pid and --metrics-url both tell how much memory the target takes: give the nearer one, --pid."
            raise ObserveError(msg)
        _watch(options.pid, options.metrics_url, options.log_file, None if options.check else options.directory)
    except (ObserveError, EvidenceError) as error:
        print(error, file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _watch(pid: int | None, metrics_url: str | None, log_file: Path | None, directory: Path | None) -> None:
    writers: list[JsonLinesWriter] = []
    with contextlib.ExitStack() as left:

        def writer(name: str) -> JsonLinesWriter | None:
            if directory is None:
                return None
            writers.append(JsonLinesWriter(directory / name))
            left.callback(writers[-1].close)
            return writers[-1]

        def watched(watch: Watch) -> Watch:
            left.callback(watch.close)
            return watch

        # The vantage is there when something is measured: of a log file alone nobody can tell that the target lived.
        process: Watch | None = None
        telemetry: JsonLinesWriter | None = None
        if pid is not None or metrics_url:
            process = watched(ProcessWatch(pid) if pid is not None else MetricsWatch(metrics_url or ""))
            telemetry = writer(TELEMETRY)
        log = None if log_file is None else watched(LogWatch(log_file, writer(TARGET_LOG)))
        if directory is None:
            return
        events = JsonLinesWriter(directory / EVENTS)
        left.callback(events.close)
        print("ready", flush=True)
        beat = 0
        next_s = time.monotonic()
        while not _told_to_end(next_s):
            next_s = max(next_s + _BEAT_S, time.monotonic())
            seen = None if process is None else process.look(beat)
            if isinstance(seen, TelemetryPoint) and telemetry is not None:
                telemetry.add(seen)
            elif isinstance(seen, str):
                events.add(_end(seen))
                events.flush()
            if log is not None:
                log.look(beat)
            beat += 1
            if beat % _BEATS_PER_FLUSH == 0:
                for one in writers:
                    one.flush()


def _told_to_end(until_s: float) -> bool:
    """Wait until then, or until standard input ends: nothing is ever said there."""
    ready, _, _ = select.select([0], [], [], max(0.0, until_s - time.monotonic()))
    return bool(ready)


def _end(how: str) -> FaultEvent:
    return FaultEvent(
        at_ns=time.monotonic_ns(),
        fault="target",
        id="target-0",
        event="exited",
        family="process",
        where="replica 0",
        detail=how,
        must_fire=False,
    )


if __name__ == "__main__":
    sys.exit(main())
