"""What stands around the target: how it is made ready, what can be broken, and where its ledger comes from.

Three stages, by what is there: `Supervised` (the harness starts target and upstreams), `WithUpstreams` (somebody else
started them, the upstreams are the bundled ones) and `Bare` (only a URL). The latter two can be `Observed`: whoever
started the target said where it can be watched. What a stage cannot do is a missing vantage, and later said to be.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import gevent

from harness.evidence import FAULTS, LEDGER, scenario_directory
from harness.faults import parse as parse_fault
from harness.model import PlannedScenario
from harness.verdict import EXIT_ERROR, EXIT_INCONCLUSIVE, EXIT_USAGE

_LOG = logging.getLogger("harness")

_QUICK_S: Final = 5.0
"""A control call answers in milliseconds; one that takes this long is never going to."""
_START_S: Final = 60.0
"""Starting a target is bounded by its own `ready.within_s`; this only bounds a supervisor that hangs."""


class StageError(Exception):
    """Something around the target is not there; the message says what, and what to do.

    `exit_code` is what it means to a shell where nothing could be played at all.
    """

    def __init__(self, message: str, exit_code: int = EXIT_INCONCLUSIVE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Stage(Protocol):
    """What the campaign asks of its surroundings."""

    def prepare(self, planned: PlannedScenario) -> str:
        """Make the target ready for a scenario and return its base URL. Raises StageError."""

    def arm(self, spec: dict[str, Any]) -> str | None:
        """Break something; return the id under which it can be lifted, None where nothing here can be broken."""

    def lift(self, armed: str) -> None:
        """Mend what was armed."""

    def end(self, planned: PlannedScenario) -> None:
        """Bring to disk what was recorded around the target."""

    def close(self) -> None:
        """Leave nothing behind."""


class Bare:
    """Only a URL: no upstreams, no process."""

    def __init__(self, host: str) -> None:
        self._host = host

    def prepare(self, planned: PlannedScenario) -> str:
        del planned
        check_reachable(self._host)
        return self._host

    def arm(self, spec: dict[str, Any]) -> str | None:
        del spec
        return None

    def lift(self, armed: str) -> None:
        del armed

    def end(self, planned: PlannedScenario) -> None:
        del planned

    def close(self) -> None:
        pass


class WithUpstreams:
    """A URL and the control API of the bundled upstreams that the target calls.

    The upstreams' state is left alone: the target holds ids of theirs.
    """

    def __init__(self, host: str, control: str, run: Path) -> None:
        self._host = host
        self._control = control.rstrip("/").removesuffix("/_control")  # as `harness upstreams` prints it
        self._run = run
        self._seen_seq = 0
        self._since_ns = 0
        try:
            call(self._control, "GET", "/_control")
        except StageError as error:
            msg = (
                f"The upstreams do not answer at {control} ({error}). Start them with `harness upstreams` and give the "
                "control URL that it prints with --upstreams."
            )
            raise StageError(msg) from error

    def prepare(self, planned: PlannedScenario) -> str:
        del planned
        check_reachable(self._host)
        for left in call(self._control, "GET", "/_control/faults"):
            # A campaign that was killed could not lift what it had armed; what it left would be judged as ours.
            self.lift(left["id"])
            _LOG.warning("Lifted the fault %s, which was armed before this scenario began.", left.get("fault", left))
        self._since_ns = time.monotonic_ns()
        return self._host

    def arm(self, spec: dict[str, Any]) -> str | None:
        if parse_fault(spec).family == "process" or "proxy" in spec:
            return None
        return str(call(self._control, "POST", "/_control/faults", spec)["id"])

    def lift(self, armed: str) -> None:
        call(self._control, "DELETE", f"/_control/faults/{armed}")

    def end(self, planned: PlannedScenario) -> None:
        call(self._control, "POST", "/_control/flush", {})
        directory = scenario_directory(self._run, planned.name)
        directory.mkdir(parents=True, exist_ok=True)
        for path, name, at in (
            (f"/_control/ledger?after={self._seen_seq}", LEDGER, ("begin_ns", "at_ns")),
            ("/_control/events", FAULTS, ("at_ns",)),
        ):
            lines = call_text(self._control, "GET", path).splitlines(keepends=True)
            kept = []
            for line in lines:
                entry = json.loads(line)
                if next(entry[key] for key in at if key in entry) >= self._since_ns:
                    kept.append(line)
                self._seen_seq = max(self._seen_seq, entry.get("seq", 0))
            (directory / name).write_text("".join(kept), encoding="utf-8")

    def close(self) -> None:
        pass


class Supervised:
    """Target and upstreams belong to a supervisor process, which ends with this one.

    Args:
        run: the run directory.
        arguments: what `python -m harness.stack` is given beside it.

    Raises:
        StageError: it does not start; the message is the supervisor's own.
    """

    def __init__(self, run: Path, arguments: Sequence[str]) -> None:
        log = (run / "supervisor.log").open("ab")
        # Its standard input is the string that ties it to this process: when it closes, however, everything stops.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.stack", "--run-dir", str(run), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is for the campaign, which then ends the supervisor in order
        )
        log.close()
        assert self._process.stdout is not None
        line = b""
        with gevent.Timeout(_START_S, False):
            line = self._process.stdout.readline()
        if not line:
            self.close()
            reason = _last_line(run / "supervisor.log") or "The supervisor did not start and said nothing."
            raise StageError(reason, self._process.returncode if self._process.returncode > 0 else EXIT_ERROR)
        addresses = json.loads(line)
        self._url = addresses["url"]
        self._control = addresses["upstreams"]
        self._by_supervisor: set[str] = set()

    def prepare(self, planned: PlannedScenario) -> str:
        return str(call(self._url, "POST", "/scenario", {"name": planned.name}, timeout_s=_START_S)["host"])

    def arm(self, spec: dict[str, Any]) -> str | None:
        if parse_fault(spec).family == "process" or "proxy" in spec:
            armed = str(call(self._url, "POST", "/fault", spec, timeout_s=_START_S)["id"])
            self._by_supervisor.add(armed)
            return armed
        return str(call(self._control, "POST", "/_control/faults", spec)["id"])

    def lift(self, armed: str) -> None:
        if armed in self._by_supervisor:
            call(self._url, "DELETE", f"/fault/{armed}", timeout_s=_START_S)
        else:
            call(self._control, "DELETE", f"/_control/faults/{armed}")

    def end(self, planned: PlannedScenario) -> None:
        del planned
        call(self._url, "POST", "/scenario/end", {}, timeout_s=_START_S)

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children die with it
            self._process.wait()


class Observed:
    """Another stage, whose target somebody else started and said where it can be watched.

    Args:
        stage: the rest of it.
        run: the run directory.
        arguments: what `python -m harness.observe` is given: where to look.

    Raises:
        StageError: there is nothing to be seen there.
    """

    def __init__(self, stage: Stage, run: Path, arguments: Sequence[str]) -> None:
        self._stage = stage
        self._run = run
        self._arguments = arguments
        self._watcher: subprocess.Popen[bytes] | None = None
        checked = subprocess.run(
            [*self._command, "--check"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_S,
            check=False,
        )
        if checked.returncode:
            raise StageError(_last_words(checked.stderr), EXIT_USAGE)

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", "harness.observe", *self._arguments]

    def prepare(self, planned: PlannedScenario) -> str:
        host = self._stage.prepare(planned)
        directory = scenario_directory(self._run, planned.name)
        with (self._run / "observer.log").open("ab") as log:
            # As with the supervisor: when its standard input closes, however, it ends.
            self._watcher = subprocess.Popen(
                [*self._command, "--directory", str(directory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self._watcher.stdout is not None
        line = b""
        with gevent.Timeout(_START_S, False):
            line = self._watcher.stdout.readline()
        if not line:
            self._unwatch()
            raise StageError(_last_line(self._run / "observer.log") or "The target cannot be watched any more.")
        return host

    def arm(self, spec: dict[str, Any]) -> str | None:
        return self._stage.arm(spec)

    def lift(self, armed: str) -> None:
        self._stage.lift(armed)

    def end(self, planned: PlannedScenario) -> None:
        self._unwatch()
        self._stage.end(planned)

    def close(self) -> None:
        self._unwatch()
        self._stage.close()

    def _unwatch(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is None:
            return
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        watcher.stdin.close()
        try:
            watcher.wait(timeout=10)
        except subprocess.TimeoutExpired:
            watcher.kill()
            watcher.wait()
        watcher.stdout.close()


def call(base: str, method: str, path: str, body: Any = None, timeout_s: float = _QUICK_S) -> Any:
    """Make one control call and return its JSON answer. Raises StageError with the other side's own sentence."""
    text = call_text(base, method, path, body, timeout_s)
    return json.loads(text) if text else {}


def call_text(base: str, method: str, path: str, body: Any = None, timeout_s: float = _QUICK_S) -> str:
    """Make one control call and return its answer as text. Raises StageError."""
    hostname, port = _address(base)
    connection = http.client.HTTPConnection(hostname, port, timeout=timeout_s)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, body=payload, headers={"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read().decode("utf-8", errors="replace")
    except (OSError, http.client.HTTPException) as error:
        msg = f"{method} {base}{path}: {error or type(error).__name__}"
        raise StageError(msg) from error
    finally:
        connection.close()
    if response.status >= 400:
        try:
            reason = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            reason = f"{method} {base}{path} was answered with {response.status}: {text[:200]}"
        raise StageError(str(reason))
    return text


def check_reachable(host: str) -> None:
    """Raise StageError unless something accepts connections at the URL `host`."""
    hostname, port = _address(host)
    try:
        socket.create_connection((hostname, port), timeout=_QUICK_S).close()
    except OSError as error:
        msg = f"Nothing answers at {host} ({error}). Is the agent started, and is the port right?"
        raise StageError(msg) from error


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:  # not a number, or beyond 65535
        port = 0
    if parts.scheme not in ("http", "https") or parts.hostname is None or not port:
        msg = f"{url!r} is no URL of a target or of upstreams; expected something like http://127.0.0.1:8000"
        raise StageError(msg, EXIT_USAGE)
    return parts.hostname, port


def _last_line(path: Path) -> str:
    try:
        return _last_words(path.read_bytes())
    except OSError:
        return ""


def _last_words(said: bytes) -> str:
    lines = said.decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
