"""How does a test start the agent as its own process, in a home of its own, in front of the served stand-ins?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from harness.stack.household import free_port
from tests.agent_variables import agent_environment
from tests.forked_agent import ForkedAgent
from tests.waiting import listens, until

WITHIN_S = 60.0  # for anything to come true: a busy machine takes its time


class Agent:
    """A process of the agent.

    Args:
        home: a directory of its own.
        stand: its upstreams.
        environ: further variables.
    """

    def __init__(self, home: Path, stand: Any, **environ: str) -> None:
        self.home = home
        self.stand = stand
        self.port = free_port()
        self.log = home / "agent.log"
        patient = {"AGENT_ANSWER_WITHIN_S": "60", "AGENT_OPENAI_CALL_S": "20"}
        self._environ = agent_environment(home, stand.upstreams, **patient | environ)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=WITHIN_S, trust_env=False)
        self.restart()

    def restart(self, **environ: str) -> None:
        """Start it (again, with what it has left behind, and other variables), and wait until it is ready."""
        self._environ |= environ
        self.process = ForkedAgent(["--port", str(self.port)], self._environ, self.log)
        until(self.is_ready, self.log.read_text, WITHIN_S)

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        if not listens(self.port):
            return False
        try:
            return self.client.get("/status").status_code == 200
        except httpx.TransportError:
            return False

    def chat(self, user: str, message: str) -> httpx.Response:
        return self.client.post("/chat-agent", json={"user_id": user, "message": message})

    @contextmanager
    def asking(self, user: str, message: str, path: str = "/chat-agent") -> Iterator[None]:
        """Return the context in which somebody waits for an answer; they hang up when it is left."""
        with closing(HTTPConnection("127.0.0.1", self.port)) as line:
            body = json.dumps({"user_id": user, "message": message})
            line.request("POST", path, body, {"Content-Type": "application/json"})
            yield

    def reading(self, user: str, message: str) -> Any:
        """Return the context of a stream that is read along."""
        return self.client.stream("POST", "/chat-agent/stream", json={"user_id": user, "message": message})

    def read(self, user: str, message: str) -> list[tuple[str, Any]]:
        """Return all events of a stream."""
        with self.reading(user, message) as response:
            assert response.status_code == 200, response.read()
            return list(events_of(response))

    def open_upstream(self) -> list[Any]:
        """Return the generations that the model's upstream still works on."""
        return list(json.loads(self.stand.ask("GET", "/open")[1]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.client.close()
        self.kill()


def events_of(response: httpx.Response) -> Iterator[tuple[str, Any]]:
    """Yield name and data of each server-sent event, and (":", text) for a comment."""
    name = ""
    for line in response.iter_lines():
        if line.startswith(":"):
            yield ":", line[1:].strip()
        elif line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
