"""What does a process look like from outside? Memory, CPU, files and threads of its tree, its lines, its health.

Nothing here decides anything: the supervisor (`harness.stack`) samples, and kills what grows too large. What is kept
is bounded, whatever the process does: lines are cut, floods of lines are counted instead of stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import time
from collections.abc import Callable, Iterator
from typing import Literal

import httptools
import msgspec
import psutil

from harness.model import LogLine, MachinePoint, TelemetryPoint

LINE_CHARS = 4000
"""Longer lines are cut: a stack trace in one line fits, an audio body that was printed does not."""
LINES_PER_S = 5000
"""More lines in a second are counted, not stored: a target that prints in a loop would fill the disk."""
_PAGE_BYTES = resource.getpagesize()
_READ_BYTES = 1 << 16
_ANSWER_BYTES = 1 << 20
"""What is kept of an answer to `ask`; the rest is read and forgotten."""


class ProcessTree:
    """A process and all that it started, also what outlived the one that started it.

    `rss_bytes` is cheap (a few microseconds a process on Linux): it reads the processes that are known, through files
    that stay open until `close`. `relist` looks for new ones; it reads only process ids that it has not seen before,
    so that a crowded machine costs little.

    Args:
        pid: the root of the tree.
        adopts: is asked with the process id and the parent's of what appears later and is not below a member; says
            whether it is an orphan of this tree.
    """

    def __init__(self, pid: int, adopts: Callable[[int, int], bool] | None = None) -> None:
        self.root = pid
        self._adopts = adopts
        self._members: dict[int, _Member] = {}
        self._strangers: set[int] = set()
        self._cpu_seen_s = 0.0
        self._cpu_lost_s = 0.0
        self._join(pid)
        if self._members:
            self.relist()

    def pids(self) -> tuple[int, ...]:
        """Return the members that were alive when last listed, the root first."""
        return tuple(self._members)

    def relist(self) -> None:
        """Find members that are new, forget those that have ended."""
        present = set(psutil.pids())
        self._strangers &= present
        new = sorted(present - self._strangers - self._members.keys())
        parents = dict(_parents(new))
        joined = True
        while joined:
            joined = False
            for pid, parent in list(parents.items()):
                if parent in self._members or (self._adopts is not None and self._adopts(pid, parent)):
                    joined = True
                    del parents[pid]
                    self._join(pid, self._members.get(parent))
        self._strangers.update(parents)
        for pid in [pid for pid in self._members if pid not in present]:
            self._members.pop(pid).close()

    def rss_bytes(self) -> int:
        """Return the resident memory of the known members.

        Pages that two programs share, such as those of a library, count for each. Who was forked and still runs its
        parent's program counts with what it has beyond its parent: before it starts a program of its own it has the
        very same pages (a target that only started `uname` was once seen with twice its memory).
        """
        return sum(member.rss_bytes() for member in self._members.values())

    def read(
        self, at_ns: int, *, replica: int = 0, health_ms: float | None = None, health_status: int | None = None
    ) -> TelemetryPoint | None:
        """Read everything of the known members.

        `cpu_s` never falls: the time of children that ended is what their parent was credited with, and where nobody
        waited for them, what they had used when last seen.

        Args:
            at_ns: the moment, in `time.monotonic_ns()`.
            replica: which one it is.
            health_ms: what `ask` last measured.
            health_status: what it answered; 0 where it was asked and did not answer.

        Returns:
            One point, None when no member can be read any more.
        """
        rss_bytes = threads = open_files = processes = 0
        cpu_s = 0.0
        for member in tuple(self._members.values()):
            process = member.process
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    cpu_s += times.user + times.system
                    # Linux only; elsewhere children that ended are covered by what was last seen of them.
                    cpu_s += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
                    if process.status() == psutil.STATUS_ZOMBIE:
                        continue
                    rss_bytes += member.rss_bytes()
                    threads += process.num_threads()
                    processes += 1
                    open_files += process.num_fds()
            except psutil.Error:
                continue
        if not processes:
            return None
        if cpu_s < self._cpu_seen_s:
            self._cpu_lost_s += self._cpu_seen_s - cpu_s
        self._cpu_seen_s = cpu_s
        return TelemetryPoint(
            at_ns=at_ns,
            replica=replica,
            rss_bytes=rss_bytes,
            cpu_s=round(cpu_s + self._cpu_lost_s, 3),
            threads=threads,
            open_files=open_files,
            processes=processes,
            health_ms=health_ms,
            health_status=health_status,
        )

    def close(self) -> None:
        """Close what is open; the tree is empty from then on."""
        for member in self._members.values():
            member.close()
        self._members.clear()

    def _join(self, pid: int, parent: _Member | None = None) -> None:
        with contextlib.suppress(psutil.Error):
            self._members[pid] = _Member(psutil.Process(pid), parent)


class Machine:
    """The CPUs of this machine: how busy everybody keeps them, and how busy one run does.

    Args:
        pid: the root of the tree of all processes that belong to the run.
    """

    def __init__(self, pid: int) -> None:
        self._own = ProcessTree(pid)

    def read(self, at_ns: int) -> MachinePoint | None:
        """Return what was used until now, None where the run's own processes cannot be read.

        Args:
            at_ns: the moment, in `time.monotonic_ns()`.
        """
        self._own.relist()
        own = self._own.read(at_ns)
        if own is None:
            return None
        times = psutil.cpu_times()
        # Who waits for a disk leaves the CPU to others. Who is nice may do so within its session only: it counts.
        # Guests are counted as user already.
        left = sum(getattr(times, name, 0.0) for name in ("idle", "iowait"))
        counted_twice = sum(getattr(times, name, 0.0) for name in ("guest", "guest_nice"))
        return MachinePoint(
            at_ns=at_ns,
            cpus=psutil.cpu_count() or 1,
            busy_s=round(sum(times) - left - counted_twice, 3),
            own_s=own.cpu_s,
        )

    def close(self) -> None:
        """Close what is open."""
        self._own.close()


class _Member:
    """One process of a tree, and where there is /proc the open file that says how much memory it has.

    Args:
        process: the process.
        parent: the member that started it, None where that is no member.
    """

    def __init__(self, process: psutil.Process, parent: _Member | None) -> None:
        self.process = process
        self._forked_from = parent
        self._statm_fd: int | None = None
        with contextlib.suppress(OSError):
            self._statm_fd = os.open(f"/proc/{process.pid}/statm", os.O_RDONLY)

    def rss_bytes(self) -> int:
        """Return its resident memory, as long as it runs its parent's program what it has beyond; 0 once it ended."""
        parent = self._forked_from
        if parent is None:
            return self._resident_bytes()
        stack = _stack_address(self.process.pid)
        if stack is not None and stack == _stack_address(parent.process.pid):
            return max(self._resident_bytes() - parent._resident_bytes(), 0)
        self._forked_from = None
        return self._resident_bytes()

    def _resident_bytes(self) -> int:
        try:
            if self._statm_fd is None:
                return int(self.process.memory_info().rss)
            # Always about the process that was opened: the kernel gives nothing once it has ended, its number reused
            # or not.
            return int(os.pread(self._statm_fd, 128, 0).split()[1]) * _PAGE_BYTES
        except (psutil.Error, OSError, IndexError):
            return 0

    def close(self) -> None:
        """Close the open file."""
        if self._statm_fd is not None:
            os.close(self._statm_fd)
            self._statm_fd = None


def _stack_address(pid: int) -> int | None:
    """Return where the stack of a process begins: chosen anew with every program that is started, kept by a fork.

    None where the kernel does not tell.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in brackets, may hold anything; the address is the 28th field, the first behind it the 3rd.
            return int(file.read().rpartition(b")")[2].split()[25]) or None
    except (OSError, IndexError):
        return None


def _parents(pids: list[int]) -> Iterator[tuple[int, int]]:
    for pid in pids:
        try:
            yield pid, psutil.Process(pid).ppid()
        except psutil.Error:
            continue


# --- health ---------------------------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back from one HTTP exchange."""

    status: int | None
    """None when no whole answer came."""
    body: bytes = b""
    ms: float
    """From the first attempt to connect to the last byte, or to giving up."""
    error: str = ""


class _AnswerParser:
    """Collects one HTTP answer; called by httptools."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False
        self.ends_with_connection = False
        self._measured = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._measured |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.ends_with_connection = not self._measured

    def on_body(self, body: bytes) -> None:
        self.body += body[: _ANSWER_BYTES - len(self.body)]

    def on_message_complete(self) -> None:
        self.complete = True


async def ask(host: str, port: int, path: str, *, within_s: float, method: str = "GET", body: bytes = b"") -> Answer:
    """Ask over a connection of its own, as a load balancer's probe does. Never raises.

    Args:
        host: an address (a name would be looked up in a thread).
        port: its port.
        path: the path, percent-encoded.
        within_s: the limit for everything from connecting to the last byte, in seconds.
        method: the method.
        body: sent as JSON where there is one.

    Returns:
        The status, the body (1 MiB of it at most) and how long it took; the status is None where no whole answer came.
    """
    began_ns = time.monotonic_ns()
    error = ""
    parser = _AnswerParser()
    protocol = httptools.HttpResponseParser(parser)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port)
            head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\nAccept: */*\r\n"
            if body or method != "GET":
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode() + b"\r\n" + body)
            while not parser.complete:
                data = await reader.read(_READ_BYTES)
                if not data:
                    parser.complete = parser.ends_with_connection
                    error = "" if parser.complete else "the connection was closed before the answer was whole"
                    break
                protocol.feed_data(data)
    except TimeoutError:
        error = f"no answer within {within_s:g} s"
    except ConnectionRefusedError:
        error = "connection refused"
    except OSError as failure:
        error = failure.strerror or str(failure)
    except httptools.HttpParserError as failure:
        error = f"the answer is no HTTP: {failure}"
    finally:
        if writer is not None:
            writer.transport.abort()
    ms = (time.monotonic_ns() - began_ns) / 1e6
    if not parser.complete:
        return Answer(status=None, ms=ms, error=error)
    return Answer(status=protocol.get_status_code(), body=bytes(parser.body), ms=ms)


# --- log lines ------------------------------------------------------------------------------------------------------


class LineSplitter:
    """Makes log lines of what comes out of a pipe, in bounded memory.

    Args:
        stream: which pipe it is.
        replica: whose it is.
        lines_per_s: lines beyond this in a second are counted and reported in a line of our own.
    """

    def __init__(self, stream: Literal["stdout", "stderr"], replica: int = 0, lines_per_s: int = LINES_PER_S) -> None:
        self.stream = stream
        self.replica = replica
        self._lines_per_s = lines_per_s
        self._pending = b""
        self._skipping = False
        self._second = -1
        self._in_second = 0
        self._uncounted = 0

    @property
    def flooded(self) -> bool:
        """Whether this second has had more lines than are stored."""
        return self._uncounted > 0

    def feed(self, data: bytes, at_ns: int) -> list[LogLine]:
        """Take what was read at `at_ns`; return the lines that it completes."""
        head, newline, rest = (self._pending + data).rpartition(b"\n")
        lines: list[LogLine] = []
        if newline:
            whole = head
            if self._skipping:  # the rest of a line that was cut
                _, more, whole = head.partition(b"\n")
                newline = more
                self._skipping = False
            if newline and at_ns // 1_000_000_000 == self._second and self._in_second >= self._lines_per_s:
                # In a flood lines are not even told apart: counting their ends is all that it gets.
                self._uncounted += whole.count(b"\n") + 1
            elif newline:
                for line in whole.split(b"\n"):
                    lines.extend(self._line(line, at_ns))
        self._pending = b"" if self._skipping else rest
        # Four bytes is the longest a character gets in UTF-8.
        if len(self._pending) > 4 * LINE_CHARS:
            lines.extend(self._line(self._pending, at_ns))
            self._pending, self._skipping = b"", True
        return lines

    def end(self, at_ns: int) -> list[LogLine]:
        """Return what is left when the pipe has ended: a last line without its end, and the count of lost lines."""
        lines = list(self._line(self._pending, at_ns)) if self._pending else []
        self._pending = b""
        lines.extend(self._lost(at_ns))
        return lines

    def _line(self, line: bytes, at_ns: int) -> Iterator[LogLine]:
        second = at_ns // 1_000_000_000
        if second != self._second:
            yield from self._lost(at_ns)
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second > self._lines_per_s:
            self._uncounted += 1
            return
        text = line.decode("utf-8", "replace").rstrip("\r")
        if len(text) > LINE_CHARS:
            text = f"{text[:LINE_CHARS]}… [cut by the harness]"
        yield self._record(text, at_ns)

    def _lost(self, at_ns: int) -> Iterator[LogLine]:
        if self._uncounted:
            yield self._record(
                f"[the harness did not store {self._uncounted} lines: over {self._lines_per_s} a second]", at_ns
            )
            self._uncounted = 0

    def _record(self, text: str, at_ns: int) -> LogLine:
        return LogLine(at_ns=at_ns, replica=self.replica, stream=self.stream, text=text)


class LineReader:
    """Reads a pipe without ever waiting for it; the owner calls `read` when it is readable, and once at the end.

    Args:
        fd: the reading end; it is made non-blocking, and closed by `close`.
        splitter: makes lines of it.
        sink: is given every line.
    """

    def __init__(self, fd: int, splitter: LineSplitter, sink: Callable[[LogLine], None]) -> None:
        self.fd = fd
        self._splitter = splitter
        self._sink = sink
        self._open = True
        os.set_blocking(fd, False)

    @property
    def flooded(self) -> bool:
        """Whether there is so much that most of it is not stored: no hurry to read on."""
        return self._splitter.flooded

    def read(self) -> bool:
        """Read what is there, 64 KiB at most, so that a flood starves nobody; return False when the pipe has ended."""
        return self._take() != b""

    def close(self) -> None:
        """Take what is left (1 MiB at most), hand over the last line, close the pipe. Closing twice is fine."""
        if not self._open:
            return
        for _ in range(16):
            if not self._take():
                break
        for line in self._splitter.end(time.monotonic_ns()):
            self._sink(line)
        self._open = False
        os.close(self.fd)

    def _take(self) -> bytes | None:
        """Read once; return nothing (b"") at the end of the pipe, None where there is nothing at the moment."""
        if not self._open:
            return b""
        try:
            data = os.read(self.fd, _READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if data:
            for line in self._splitter.feed(data, time.monotonic_ns()):
                self._sink(line)
        return data
