"""How is aimock, which is nothing that this repository needs, put beside the stand-ins? From npm, on loopback."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.bench.child import Child
from tests.bench.figure import BenchError

PACKAGE = "@copilotkit/aimock@1.43.0"
_INSTALLED_WITHIN_S = 60.0
_READY_WITHIN_S = 20.0


def install(directory: Path) -> Path:
    """Install it below a directory and return the script that `npx` would run.

    Raises:
        BenchError: it cannot be installed within a minute; the message says why.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise BenchError(f"{PACKAGE} was not measured: there is no npm here.")
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "npm.log"
    with log.open("wb") as output:
        # A session of its own, since npm has children, which a kill of npm alone would leave behind.
        installing = subprocess.Popen(
            [npm, "install", "--prefix", str(directory), "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            installing.wait(_INSTALLED_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(installing.pid, signal.SIGKILL)
            installing.wait()
            raise BenchError(f"{PACKAGE} was not measured: no install within {_INSTALLED_WITHIN_S:g} s.") from None
    script = directory / "node_modules" / ".bin" / "llmock"
    if installing.returncode or not script.exists():
        raise BenchError(f"{PACKAGE} was not measured: npm failed, see {log}.")
    return script


def write_fixtures(path: Path, said: dict[str, str], spoken: str, audio: bytes) -> None:
    """Write what it answers: `said` to what is said, and a speech of the same size as that of the stand-in."""
    fixtures: list[dict[str, object]] = [
        {"match": {"userMessage": spoken}, "response": {"audio": base64.b64encode(audio).decode(), "format": "wav"}}
    ]
    fixtures += [{"match": {"userMessage": word}, "response": {"content": text}} for word, text in said.items()]
    path.write_text(json.dumps({"fixtures": fixtures}), encoding="utf-8")


def start(script: Path, fixtures: Path, log: Path, *, latency_ms: int = 0, letters_a_chunk: int) -> tuple[Child, int]:
    """Start it and return it with its port.

    Args:
        script: see `install`.
        fixtures: see `write_fixtures`.
        log: where it prints.
        latency_ms: between two chunks of a stream.
        letters_a_chunk: of a stream.

    Raises:
        BenchError: it does not listen.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    child = Child(
        [
            *("node", str(script), "--host", "127.0.0.1", "--port", str(port), "--fixtures", str(fixtures)),
            *("--log-level", "silent", "--latency", str(latency_ms), "--chunk-size", str(letters_a_chunk)),
        ],
        log,
    )
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline_s and child.running:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return child, port
        time.sleep(0.02)
    child.end()
    raise BenchError(f"{PACKAGE} was not measured: it does not listen. {child.last_words()}")
