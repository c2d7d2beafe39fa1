"""Starting a campaign from the command line: Locust as a child process, and what it says while it plays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from harness.evidence import CAMPAIGN, EvidenceError
from harness.model import Moment, Verdict
from harness.verdict import EXIT_ERROR, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_USAGE, exit_code

COMPLAINT: Final = "harness: "
"""How a line on standard error begins that says, to a person, why a campaign could not be played."""

_POLL_S: Final = 0.1
_LEAVE_IN_ORDER_S: Final = 30.0
"""After Ctrl-C: stopping the target takes 2 s at most, judging about one."""

_OF_A_VERDICT: Final = frozenset(exit_code(verdict) for verdict in Verdict)
_WITHOUT_A_VERDICT: Final = frozenset({EXIT_USAGE, EXIT_INCONCLUSIVE, EXIT_ERROR, EXIT_INTERRUPTED})
"""What a campaign that never came to a verdict may say by its exit code. Not 1: that is also Python's for a crash."""


@dataclass(frozen=True)
class Order:
    """What one campaign is to play."""

    run_dir: Path
    scenario_files: Sequence[Path]
    target: Path | None = None
    variant: str | None = None
    host: str | None = None
    upstreams: str | None = None
    full: bool = False
    seed: int = 1
    deadline_s: float | None = None
    replicas: int | None = None
    pid: int | None = None
    log_file: Path | None = None
    metrics_url: str | None = None
    settings: Sequence[str] = field(default=())

    def command(self) -> list[str]:
        """Return the command line of Locust."""
        command = [
            *(sys.executable, "-m", "locust", "-f", ",".join(map(str, self.scenario_files))),
            *("--headless", "--only-summary", "--logfile", str(self.run_dir / "locust.log")),
            *("--run-dir", str(self.run_dir), "--seed", str(self.seed), "--parent", str(os.getpid())),
        ]
        for option, value in (
            ("--target", self.target),
            ("--variant", self.variant),
            ("--host", self.host),
            ("--upstreams", self.upstreams),
            ("--deadline", self.deadline_s),
            ("--replicas", self.replicas),
            ("--pid", self.pid),
            ("--log-file", self.log_file),
            ("--metrics-url", self.metrics_url),
        ):
            command += [option, str(value)] if value is not None else []
        command += ["--full"] if self.full else []
        for setting in self.settings:
            command += ["--set", setting]
        return command


@dataclass(frozen=True)
class Played:
    """How a campaign ended: the exit code, and the sentence that explains one that could not be played.

    The exit code is always one that `harness.verdict` knows, whatever that of the child was.
    """

    exit_code: int
    trouble: str = ""


def play(order: Order, follow: Callable[[Moment], None]) -> Played:
    """Play a campaign to its end.

    Args:
        order: what to play.
        follow: called with every moment of the campaign, in order.

    Returns:
        How it ended. Ctrl-C ends it in order: what was recorded is judged, no process is left behind.

    Raises:
        KeyboardInterrupt: a second Ctrl-C, while the first was being carried out; the campaign has been killed.
        EvidenceError: the run directory cannot be made or written.
    """
    try:
        order.run_dir.mkdir(parents=True, exist_ok=True)
        output = (order.run_dir / "locust.out").open("wb")
        errors = (order.run_dir / "locust.err").open("wb")
    except OSError as error:
        msg = f"Cannot write {order.run_dir}: {error.strerror or error}. Choose another place with --runs."
        raise EvidenceError(msg) from error
    with output, errors:
        # In a session of its own: the terminal's Ctrl-C comes here, and is passed on once.
        child = subprocess.Popen(
            order.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
    moments = _Follower(order.run_dir / CAMPAIGN, follow)
    interrupted = False
    try:
        while child.poll() is None:
            moments.catch_up()
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        interrupted = True
        _end(child)
    moments.catch_up()
    code = child.returncode
    if interrupted:
        return Played(EXIT_INTERRUPTED)
    if moments.finished:
        if code in _OF_A_VERDICT or code in _WITHOUT_A_VERDICT:
            return Played(code, moments.trouble)
        return Played(EXIT_ERROR, f"Locust {_how_it_ended(code)}, though the campaign was over.")
    # It never came to a verdict: its last words say why.
    lines = (order.run_dir / "locust.err").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    complaints = [line.removeprefix(COMPLAINT) for line in lines if line.startswith(COMPLAINT)]
    trouble = (complaints or lines or [f"Locust {_how_it_ended(code)} and said nothing."])[-1]
    return Played(code if code in _WITHOUT_A_VERDICT else EXIT_ERROR, trouble)


def _how_it_ended(code: int) -> str:
    return f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGINT)
    try:
        child.wait(timeout=_LEAVE_IN_ORDER_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        # It hangs, or a second Ctrl-C. The supervisor notices that its string is cut, and stops everything it started.
        child.kill()
        child.wait()
        if isinstance(error, KeyboardInterrupt):
            raise


class _Follower:
    """Reads the moments that have been added to a campaign's log."""

    def __init__(self, path: Path, follow: Callable[[Moment], None]) -> None:
        self.finished = False
        self.trouble = ""
        """Why the campaign was given up, by its own account."""
        self._path = path
        self._follow = follow
        self._offset = 0
        self._decoder = msgspec.json.Decoder(Moment)

    def catch_up(self) -> None:
        try:
            with self._path.open("rb") as log:
                log.seek(self._offset)
                for line in log:
                    if not line.endswith(b"\n"):
                        break  # still being written
                    self._offset += len(line)
                    moment = self._decoder.decode(line)
                    if moment.what == "finished":
                        self.finished, self.trouble = True, moment.text
                    self._follow(moment)
        except FileNotFoundError:
            return  # it has not begun
