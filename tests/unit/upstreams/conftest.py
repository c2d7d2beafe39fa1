"""Upstreams without sockets and without waiting: a caller whose clock jumps over every wait."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.upstreams import wire
from harness.upstreams.epoch import Epoch, EpochSettings

FUNCTIONS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }
    for name, description, properties in (
        ("get_time", "Current time in Tokyo", {}),
        ("get_weather", "Weather of a city", {"location": {"type": "string"}}),
        ("get_fortune", "Fortune of a sign", {"sign": {"type": "string"}}),
        ("get_news", "Headlines", {}),
        ("analyze_emotion", "Emotion of a text", {"text": {"type": "string"}}),
        ("calculate", "Evaluates an expression", {"expression": {"type": "string"}}),
    )
]


class Answer:
    """What came back: status, body, the steps as they were, and when it was over."""

    def __init__(self, steps: list[wire.Step]) -> None:
        self.steps = steps
        head = next((step for step in steps if isinstance(step, wire.Head)), None)
        self.status = head.status if head else None
        self.headers = dict(head.headers) if head else {}
        self.length = head.length if head else None
        self.body = b"".join(step.body for step in steps if isinstance(step, wire.Data))
        self.waited_s = sum(step.seconds for step in steps if isinstance(step, wire.Wait))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """Calls upstreams; time passes only by their waits and by `sleep`."""

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch
        self.now_ns = 1_000_000_000

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.epoch.advance(self.now_ns)

    def call(
        self,
        upstream: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        patience_s: float = math.inf,
    ) -> Answer:
        """Make one call; who has no patience leaves when so many seconds have passed or the answer hangs."""
        request = wire.Request(
            method=method,
            path=path,
            query=query,
            headers={"authorization": "Bearer sk-test", "openai-beta": "assistants=v2"} if headers is None else headers,
            body=b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode(),
        )
        exchange = self.epoch.begin(upstream, request, self.now_ns)
        assert exchange.reply is not None
        steps: list[wire.Step] = []
        client_gone = False
        for step in exchange.reply.steps():
            steps.append(step)
            if isinstance(step, wire.Work):
                step.do(lambda: False)
            seconds = math.inf if isinstance(step, wire.Hang) else step.seconds if isinstance(step, wire.Wait) else 0.0
            client_gone = patience_s < math.inf and seconds > patience_s
            if client_gone:
                self.sleep(patience_s)
                break
            if isinstance(step, wire.Wait):
                patience_s -= seconds
                self.sleep(seconds)
        answer = Answer(steps)
        self.epoch.finish(
            exchange, self.now_ns, status=answer.status, response_bytes=len(answer.body), client_gone=client_gone
        )
        return answer

    def openai(self, method: str, path: str, body: Any = None, *, query: str = "") -> Any:
        answer = self.call("openai", method, f"/v1{path}", body, query=query)
        assert answer.status == 200, answer.body
        return answer.json

    def refused(self, method: str, path: str, body: Any = None, *, query: str = "") -> tuple[int | None, str]:
        answer = self.call("openai", method, f"/v1{path}", body, query=query)
        return answer.status, answer.json["error"]["message"]

    def assistant(self, instructions: str = "") -> str:
        made = self.openai("POST", "/assistants", {"model": "gpt-4o", "tools": FUNCTIONS, "instructions": instructions})
        return str(made["id"])

    def begin_run(self, text: str, *, assistant: str | None = None, thread: str | None = None) -> tuple[str, str]:
        """Say something in a (new) thread and start a run; returns (path of the thread, path of the run)."""
        assistant = assistant or self.assistant()
        thread = thread or f"/threads/{self.openai('POST', '/threads')['id']}"
        self.openai("POST", f"{thread}/messages", {"role": "user", "content": text})
        run = self.openai("POST", f"{thread}/runs", {"assistant_id": assistant})
        return thread, f"{thread}/runs/{run['id']}"

    def settled(self, run: str) -> Any:
        """Return the run once it waits for nothing but the caller."""
        for _ in range(100):
            found = self.openai("GET", run)
            if found["status"] not in ("queued", "in_progress", "cancelling"):
                return found
            self.sleep(0.02)
        return found

    def reply(self, thread: str) -> str:
        """Return the latest message of a thread."""
        return str(self.openai("GET", f"{thread}/messages", query="limit=1")["data"][0]["content"][0]["text"]["value"])


@pytest.fixture
def epoch() -> Epoch:
    return Epoch(EpochSettings(name="test", seed=1))


@pytest.fixture
def caller(epoch: Epoch) -> Caller:
    return Caller(epoch)
