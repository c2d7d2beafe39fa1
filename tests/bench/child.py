"""How is a process of a benchmark started, watched and ended? One at a time, by its own id."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.bench.figure import BenchError

ROOT = Path(__file__).resolve().parents[2]
_GRACE_S = 40.0
"""A campaign that is interrupted stops its target and judges what there is, in 30 s at most."""


class Child:
    """A process that ends with its `with` block.

    Args:
        command: what is run, from the root of the repository.
        log: where it prints; standard output too, unless `says_ready`.
        env: variables beside those of this process.
        says_ready: it prints one JSON line when it is ready; see `ready`.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None, *, says_ready: bool = False
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self.began_ns = time.monotonic_ns()
        with log.open("ab") as output:
            # A session of its own: Ctrl-C comes to the benchmark, which ends its children in order. Standard input is
            # the string that some of them hang on: it is cut when the benchmark dies.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(env or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if says_ready else output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.usage: resource.struct_rusage | None = None
        """What it used, with the children that it waited for; known when it has ended."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    @property
    def running(self) -> bool:
        """Whether it still runs; a process that has ended is reaped."""
        if self._process.returncode is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._process.returncode, self.usage = os.waitstatus_to_exitcode(status), usage
        return self._process.returncode is None

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process itself has used so far, user and system; without its children."""
        # What /proc/PID/stat rounds to 10 ms, see clock_getcpuclockid(3): CPUCLOCK_SCHED of that process.
        return time.clock_gettime((~self.pid << 3) | 2)

    def rss_bytes(self) -> int:
        """Return its resident memory."""
        return psutil.Process(self.pid).memory_info().rss

    def ready(self, within_s: float = 30.0) -> Any:
        """Return the JSON line by which it says that it is ready. Raises BenchError."""
        output = self._process.stdout
        assert output is not None
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            line = output.readline() if selector.select(within_s) else b""
        if not line:
            self.end()
            raise BenchError(f"{self._process.args!r} did not get ready. {self.last_words()}")
        return json.loads(line)

    def wait(self, within_s: float) -> int:
        """Return its exit code when it has ended by itself. Raises BenchError where it does not in `within_s`."""
        deadline = time.monotonic() + within_s
        while self.running:
            if time.monotonic() > deadline:
                self.end()
                raise BenchError(f"{self._process.args!r} was not over after {within_s:g} s. {self.last_words()}")
            time.sleep(0.02)
        assert self._process.returncode is not None
        return self._process.returncode

    def end(self) -> None:
        """End it: SIGINT, on which all of them leave in order, and SIGKILL for one that does not."""
        for name in (signal.SIGINT, signal.SIGKILL):
            if not self.running:
                break
            self._process.send_signal(name)
            deadline = time.monotonic() + _GRACE_S
            while self.running and time.monotonic() < deadline:
                time.sleep(0.02)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def last_words(self) -> str:
        """Return where its log is, and the end of it."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{self._log} ends with: {' / '.join(lines[-3:]) or '(nothing)'}"
