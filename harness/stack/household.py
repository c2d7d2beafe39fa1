"""How is a process started so that it cannot outlive the supervisor?

Three strings are tied to it, because each can break: the kernel kills it when the supervisor's main thread ends (Linux;
only it, not its children), the warden kills its process group, and a mark in its environment finds what left the group.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

from harness.stack import warden
from harness.stack.child import Child
from harness.stack.errors import StackError

MARK = "HARNESS_STACK"
"""The variable by which everything that a supervisor started is known."""
CHILD_MARK = "HARNESS_STACK_CHILD"
"""The variable that says from which of its children something descends."""
_PASSED_ON = ("PATH", "LANG", "PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS")
"""What of our environment a target sees: where programs are found, and how Python finds its modules."""
_PORTS = range(20000, 32000)
"""Below the ports that systems give to outgoing connections: the load's own sockets never take one of these."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WARDEN_END_S = 5.0

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


_given: deque[int] = deque(maxlen=100)
"""Ports that were given out lately: whoever got one may not listen on it yet."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, never twice in a row the same.

    Raises:
        StackError: none was found.
    """
    for _ in range(200):
        port = random.SystemRandom().choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                _given.append(port)
                return port
    msg = f"No free port on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}: end what occupies them."
    raise StackError(msg)


def _adopt_orphans() -> bool:
    """Have orphans among our descendants handed to us, so that they stay in sight; Linux can."""
    return _libc is not None and _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def _tied_to(parent: int) -> Callable[[], None] | None:
    """Return what the child does between fork and exec."""
    libc = _libc
    if libc is None:
        return None

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the string was tied
            os._exit(1)

    return tie


class Household:
    """Everything that one supervisor starts: its mark, its scratch directory, its warden.

    Must be used from the main thread only: PR_SET_PDEATHSIG fires when the *thread* that forked ends.
    """

    def __init__(self) -> None:
        self.mark = uuid.uuid4().hex
        self._numbers = itertools.count()
        self._adopting = _adopt_orphans()
        try:
            self.scratch = Path(tempfile.mkdtemp(prefix="harness-stack-"))
            self._warden = subprocess.Popen(
                [sys.executable, "-I", "-S", warden.__file__, f"{MARK}={self.mark}", str(self.scratch)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )
        except OSError as error:
            msg = f"The supervisor cannot start its helpers: {error.strerror or error}: {error.filename}."
            raise StackError(msg) from error

    def environment(self, home: Path, variables: Mapping[str, str]) -> dict[str, str]:
        """Return a scrubbed environment: what every program needs, a home of its own, and `variables` over that."""
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {
            "LANG": "C.UTF-8",
            # Lines are to be seen when they are printed, not when a buffer is full or the process is killed.
            "PYTHONUNBUFFERED": "1",
            **passed_on,
            "HOME": str(home),
            "TMPDIR": str(home),
            **variables,
        }

    def home(self) -> Path:
        """Return a new, empty directory below the scratch directory."""
        return Path(tempfile.mkdtemp(prefix="home-", dir=self.scratch))

    def start(self, command: Sequence[str], environment: Mapping[str, str], directory: Path | None = None) -> Child:
        """Start a process in a session and process group of its own, its output in pipes.

        Raises:
            OSError: it cannot be started.
        """
        mark = f"{self.mark}/{next(self._numbers)}"
        out_fd, out_end = os.pipe()
        err_fd, err_end = os.pipe()
        try:
            process = subprocess.Popen(
                list(command),
                env={**environment, MARK: self.mark, CHILD_MARK: mark},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out_end,
                stderr=err_end,
                start_new_session=True,
                preexec_fn=_tied_to(os.getpid()),
            )
        except OSError:
            os.close(out_fd)
            os.close(err_fd)
            raise
        finally:
            os.close(out_end)
            os.close(err_end)
        self._tell(f"+{process.pid}\n")
        with contextlib.suppress(OSError):
            # When the machine runs out of memory, the kernel is to take the target, not its judge. Raising is allowed.
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("800")
        return Child(process, out_fd, err_fd, self._tell, self._adopts(mark))

    def close(self) -> None:
        """Let the warden do its last round, and wait for it."""
        if self._warden.stdin is not None:
            with contextlib.suppress(OSError):
                self._warden.stdin.close()
        try:
            self._warden.wait(_WARDEN_END_S)
        except subprocess.TimeoutExpired:
            self._warden.kill()
            self._warden.wait()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _adopts(self, mark: str) -> Callable[[int, int], bool] | None:
        """Return what recognises an orphan that descends from the child with this mark."""
        if not self._adopting:
            return None
        supervisor = os.getpid()

        def adopts(pid: int, parent: int) -> bool:
            if parent != supervisor:
                return False
            try:
                return psutil.Process(pid).environ().get(CHILD_MARK) == mark
            except (psutil.Error, OSError):
                return False

        return adopts

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._warden.stdin is not None:
                self._warden.stdin.write(line.encode())
                self._warden.stdin.flush()


def program_problem(command: Sequence[str], directory: Path | None) -> str:
    """Return why `command` cannot be a program, in a few words; empty where it can."""
    if directory is not None and not directory.is_dir():
        return f"the directory {directory} does not exist"
    program = command[0]
    if os.sep in program:
        path = Path(directory or ".", program)
        if not path.is_file():
            return f"{path} does not exist"
        return "" if os.access(path, os.X_OK) else f"{path} is not executable"
    return "" if shutil.which(program) else f"there is no program {program!r} in PATH"
