"""The upstreams as their own process, at free ports, for the real clients."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest


class Stand:
    """A running process of upstreams."""

    def __init__(self, process: subprocess.Popen[str], record: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.record = record
        ready = json.loads(process.stdout.readline())
        self.control: str = ready["control"]
        self.upstreams: dict[str, str] = ready["upstreams"]

    def port(self, upstream: str) -> int:
        return int(self.upstreams[upstream].removesuffix("/v1").rsplit(":", 1)[1])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Call the control API."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.control}/_control{path}", method=method, data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def begin_epoch(self, name: str = "test", **settings: Any) -> None:
        status, body = self.ask("POST", "/epoch", {"name": name, **settings})
        assert status == 200, body

    def arm(self, fault: str, **fields: Any) -> str:
        status, body = self.ask("POST", "/faults", {"fault": fault, **fields})
        assert status == 200, body
        return str(json.loads(body)["id"])

    def lift(self, id_: str) -> None:
        assert self.ask("DELETE", f"/faults/{id_}")[0] == 200

    def lines(self, path: str) -> list[dict[str, Any]]:
        """Return a list of JSON lines, e.g. of "/ledger?after=0" or "/events"."""
        status, body = self.ask("GET", path)
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]

    def calls(self) -> list[dict[str, Any]]:
        return [entry for entry in self.lines("/ledger") if entry["type"] == "call"]

    def openai(self, **options: Any) -> openai.OpenAI:
        given: dict[str, Any] = {"api_key": "sk-test", "max_retries": 0, "timeout": 10.0}
        return openai.OpenAI(base_url=self.upstreams["openai"], _strict_response_validation=True, **(given | options))

    def async_openai(self, **options: Any) -> openai.AsyncOpenAI:
        given: dict[str, Any] = {"api_key": "sk-test", "max_retries": 0, "timeout": 10.0}
        return openai.AsyncOpenAI(
            base_url=self.upstreams["openai"], _strict_response_validation=True, **(given | options)
        )


@pytest.fixture(scope="session")
def start_stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stand]]:
    """Start a process of upstreams with further options; it is ended with the tests."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Stand:
        record = tmp_path_factory.mktemp("record")
        process = subprocess.Popen(
            [sys.executable, "-m", "harness.upstreams", "--record", str(record), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return Stand(process, record)

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="session")
def shared_stand(start_stand: Callable[..., Stand]) -> Stand:
    return start_stand()


@pytest.fixture
def stand(shared_stand: Stand) -> Stand:
    """Upstreams in a fresh epoch, without faults."""
    shared_stand.begin_epoch()
    return shared_stand
