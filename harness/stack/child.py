"""One process of the supervisor: is it alive, what does it say, how is it ended with all that it started?"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Literal

import psutil

from harness.model import LogLine
from harness.telemetry import LineReader, LineSplitter, ProcessTree

GRACE_S = 2.0
"""Between SIGTERM and SIGKILL."""
_POLL_S = 0.01
_REAP_S = 5.0
_FLOOD_PAUSE_S = 0.01
_ROUNDS = 20


class Child:
    """A process in a process group of its own.

    Args:
        process: the process; it leads its group.
        out_fd: the reading end of its standard output.
        err_fd: the reading end of its standard error.
        tell_warden: is told when the group is gone.
        adopts: recognises orphans that descend from it.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        out_fd: int,
        err_fd: int,
        tell_warden: Callable[[str], None],
        adopts: Callable[[int, int], bool] | None = None,
    ) -> None:
        self.pid = process.pid
        self.tree = ProcessTree(process.pid, adopts)
        self._process = process
        self._pipes: dict[Literal["stdout", "stderr"], int] = {"stdout": out_fd, "stderr": err_fd}
        self._readers: list[LineReader] = []
        self._tell_warden = tell_warden
        self._gone = False

    def exit_code(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def listen(self, sink: Callable[[LogLine], None], replica: int = 0) -> None:
        """Hand every line that it writes to `sink`, from the running event loop."""
        loop = asyncio.get_running_loop()
        for stream, fd in self._pipes.items():
            reader = LineReader(fd, LineSplitter(stream, replica), sink)
            self._readers.append(reader)
            loop.add_reader(fd, self._read, loop, reader)

    def _read(self, loop: asyncio.AbstractEventLoop, reader: LineReader) -> None:
        if not reader.read():
            loop.remove_reader(reader.fd)
        elif reader.flooded:
            # Read in large pieces, at 6 MB/s: else a target that prints without end takes a CPU away from the load.
            loop.remove_reader(reader.fd)
            loop.call_later(_FLOOD_PAUSE_S, self._read_on, loop, reader)

    def _read_on(self, loop: asyncio.AbstractEventLoop, reader: LineReader) -> None:
        if not self._gone:
            loop.add_reader(reader.fd, self._read, loop, reader)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """SIGKILL to the group, and to what it started and what left the group. Does not wait."""
        if self._gone:
            return
        self.signal(signal.SIGKILL)
        for _ in range(_ROUNDS):  # something may fork while it is being looked for
            self.tree.relist()
            if not [pid for pid in self.tree.pids() if pid != self.pid and _killed(pid)]:
                break

    async def end(self, grace_s: float = GRACE_S) -> str:
        """End it: SIGTERM, some time of grace, SIGKILL to all that is left; wait until it is gone.

        Returns:
            How it ended, in words.
        """
        how = "had ended already"
        if self.exit_code() is None:
            self.tree.relist()
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)  # a stopped process does not see SIGTERM before it goes on
            how = "ended on SIGTERM"
            if not await self._ended_within(grace_s):
                how = f"killed: still running {grace_s:g} s after SIGTERM"
        self.kill()
        await self._ended_within(_REAP_S)
        self.bury()
        return how

    async def _ended_within(self, limit_s: float) -> bool:
        until = time.monotonic() + limit_s
        while self.exit_code() is None:
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    def bury(self) -> None:
        """Take its last words, close the pipes, and forget its group. Doing it twice is fine."""
        if self._gone:
            return
        self._gone = True
        with contextlib.suppress(RuntimeError):  # without a loop nobody is listening
            loop = asyncio.get_running_loop()
            for reader in self._readers:
                loop.remove_reader(reader.fd)
        for reader in self._readers:
            reader.close()
        if not self._readers:
            for fd in self._pipes.values():
                os.close(fd)
        self.reap_orphans()
        self.tree.close()
        self._tell_warden(f"-{self.pid}\n")

    def reap_orphans(self) -> None:
        """Wait for those of its orphans that were handed to the supervisor and have ended."""
        for pid in self.tree.pids():
            if pid != self.pid:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def how_it_ended(exit_code: int) -> str:
    """Return an exit code in words."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return f"killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"killed by signal {-exit_code}"


def _killed(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.kill()
    except psutil.Error:
        return False
    return True
