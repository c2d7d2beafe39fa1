"""Is every line of the hardened agent's process one JSON object with nobody's words in it, whoever wrote it?"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

_KEY = "sk-secret-0123456789"
_SAID = "私はタマです。tama@example.com か 090-1234-5678 まで"


class Served:
    """The agent as a process of its own, whose model's upstream is not there."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as unused, socket.socket() as nobody:
            unused.bind(("127.0.0.1", 0))
            nobody.bind(("127.0.0.1", 0))
            self.port, upstream = unused.getsockname()[1], nobody.getsockname()[1]
        env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG") if name in os.environ}
        env |= {
            "HOME": str(home),
            "OPENAI_API_KEY": _KEY,
            "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}/v1",
            "AGENT_PROFILE": "hardened",
            "AGENT_ENGINE": "responses",
            "AGENT_LOG_LEVEL": "debug",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reference_agent", "--port", str(self.port)],
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.early: list[str] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:  # ends when the process does; the test has a time limit of its own
            self.early.append(line)
            if "Application startup complete" in line:
                break
        while self.process.poll() is None:  # in a moment it listens
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                break

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> tuple[int, str | None]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, body.encode(), headers)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response.status, response.headers.get("X-Request-ID")

    def end(self) -> tuple[str, str]:
        self.process.send_signal(signal.SIGTERM)
        return self.process.communicate(timeout=30)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    agent = Served(tmp_path)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.kill()
        agent.process.communicate()


def test_every_line_is_json_and_none_quotes_anybody(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as nonsense:
        nonsense.sendall(b"\x00tama@example.com\r\n\r\n")
        assert nonsense.recv(100)
    said = json.dumps({"user_id": "tama@example.com", "message": _SAID})
    assert served.ask("POST", "/chat-agent", said, **{"X-Request-ID": "mine-1"}) == (503, "mine-1")
    status, made = served.ask("POST", "/chat-agent", "{")
    assert (status, len(made or "")) == (400, 32)
    assert served.ask("DELETE", "/users/tama@example.com")[0] == 200
    assert served.ask("GET", "/tama@example.com")[0] == 404
    handshake = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    handshake["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    assert served.ask("GET", "/jobs/abc/events?user_id=Taro%20Yamada", **handshake)[0] == 404
    out, err = served.end()
    assert out == ""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (*served.early, *err.splitlines())]
    assert {"at", "event", "level"} <= set.intersection(*map(set, lines))
    for secret in ("tama@", "タマ", "090", "5678", "Yamada", "127.0.0.1:", _KEY):
        assert secret not in "".join(served.early) + err
    of_turn = [line["event"] for line in lines if line.get("request_id") == "mine-1"]
    assert of_turn[0] == "heard"
    assert of_turn[-1] == "request"
    assert "upstream_failed" in of_turn, "two levels below the turn, in a task of its own"
    requests = [(line["method"], line["path"], line["status"]) for line in lines if line["event"] == "request"]
    assert requests == [
        ("POST", "/chat-agent", 503),
        ("POST", "/chat-agent", 400),
        ("DELETE", "/users/{user_id:path}", 200),
        ("GET", "(none)", 404),
        ("GET", "(none)", 404),
    ]
    assert {"uvicorn.error"} <= {line.get("logger") for line in lines}
