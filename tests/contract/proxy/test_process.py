"""The fault proxy as a process of its own, told what to do over its control API."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.contract.proxy.conftest import Upstream, exactly, is_silent

Dial = Callable[[int], socket.socket]


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "harness.proxy", *options]


class Process:
    """A running proxy."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.ready = json.loads(process.stdout.readline())
        self.port = int(self.ready["listen"].rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.ready['control']}/_control{path}", method=method, data=data)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@pytest.fixture
def start(upstream: Upstream) -> Iterator[Callable[..., Process]]:
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> Process:
        process = subprocess.Popen(
            command("--listen", "0", "--upstream", upstream.address, *options), stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return Process(process)

    yield start
    for process in running:
        process.kill()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def test_faults_are_armed_listed_and_lifted(start: Callable[..., Process], upstream: Upstream, dial: Dial) -> None:
    proxy = start()
    caller = dial(proxy.port)
    host = upstream.take()
    status, answer = proxy.ask("POST", "/faults", {"fault": "blackhole"})
    assert (status, answer) == (200, {"id": "f1"})
    caller.sendall(b"hello")
    assert is_silent(host)
    assert [(one["id"], one["fault"], one["fired"]) for one in proxy.ask("GET", "/faults")[1]] == [
        ("f1", "blackhole", 1)
    ]
    about = proxy.ask("GET", "")[1]
    assert (about["accepted"], about["open_connections"], about["upstream"]) == (1, 1, upstream.address)
    assert proxy.ask("DELETE", "/faults/f1")[0] == 200
    assert exactly(host, 5) == b"hello"
    later = proxy.ask("POST", "/faults", {"fault": "reset", "from_s": 1000})[1]["id"]
    assert proxy.ask("DELETE", f"/faults/{later}")[0] == 200
    with urllib.request.urlopen(f"{proxy.ready['control']}/_control/events", timeout=10) as events:
        ended = [one for one in map(json.loads, events) if one["event"] == "lifted"]
    assert [(one["id"], one.get("detail", "")) for one in ended] == [("f1", ""), (later, "never fired")]
    assert proxy.ask("DELETE", "/faults/f1") == (404, {"error": "There is no fault 'f1' in force. In force: none."})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"fault": "latncy"}, "Did you mean `latency`"),
        ({"fault": "latency"}, "delay_s"),
        ({"delay_s": 1}, 'expected "fault": one of bandwidth'),
        ([], 'A fault is described by an object such as {"fault": "latency"'),
    ],
)
def test_nonsense_is_refused(start: Callable[..., Process], body: Any, said: str) -> None:
    proxy = start()
    status, answer = proxy.ask("POST", "/faults", body)
    assert status == 400
    assert said in answer["error"]
    assert proxy.ask("GET", "/nowhere")[0] == 404


def test_a_fault_from_the_start_is_a_true_rst_under_uvloop_too(start: Callable[..., Process], dial: Dial) -> None:
    proxy = start("--fault", '{"fault": "reset"}')
    with pytest.raises(ConnectionResetError):
        dial(proxy.port).recv(1)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_once_with_connections_open(
    start: Callable[..., Process], upstream: Upstream, dial: Dial, how: signal.Signals
) -> None:
    proxy = start()
    caller = dial(proxy.port)
    caller.sendall(b"x")
    exactly(upstream.take(), 1)
    begin_s = time.monotonic()
    proxy.process.send_signal(how)
    assert proxy.process.wait(10) == 0
    assert time.monotonic() - begin_s < 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--listen", "0", "--upstream", "somewhere"), "expected HOST:PORT, e.g. 127.0.0.1:6379"),
        (("--listen", "0"), "Missing option '--upstream'"),
        (("--listen", "99999", "--upstream", "x:1"), "99999 is not in the range"),
        (("--listen", "45454", "--upstream", "127.0.0.1:45454"), "would lead to itself"),
        (("--listen", "0", "--upstream", "x:1", "--fault", "reset"), "is no JSON"),
        (("--listen", "0", "--upstream", "x:1", "--fault", '{"fault": "rest"}'), "Did you mean `reset`?"),
    ],
)
def test_mistakes_are_told_in_one_sentence(options: tuple[str, ...], said: str) -> None:
    ended = subprocess.run(command(*options), capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("option", ["--listen", "--control"])
def test_a_port_that_is_taken(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1])
        others = () if option == "--listen" else ("--listen", "0")
        ended = subprocess.run(
            command(*others, option, number, "--upstream", "x:1"),
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert ended.returncode == 2
    assert f"127.0.0.1:{number}: Address already in use" in ended.stderr
    assert f"Choose another {option}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_faults_come_later_go_by_themselves_and_are_told_as_they_do(
    start: Callable[..., Process], upstream: Upstream, dial: Dial
) -> None:
    proxy = start("--name", "db", "--events", "--fault", '{"fault": "latency", "delay_s": 0.001, "for_s": 0.1}')
    told = proxy.process.stdout
    assert told is not None

    def next_event() -> tuple[str, str, str]:
        event = json.loads(told.readline())
        return event["id"], event["event"], event["where"]

    where = f"db ({upstream.address})"
    assert next_event() == ("db-f1", "armed", where)
    assert next_event() == ("db-f1", "lifted", where)
    later = {"fault": "blackhole", "from_s": 0.3, "for_s": 0.2}
    assert proxy.ask("POST", "/faults", later) == (200, {"id": "db-f2"})
    assert [(one["id"], one["in_force"]) for one in proxy.ask("GET", "/faults")[1]] == [("db-f2", False)]
    caller = dial(proxy.port)
    caller.sendall(b"before")
    assert exactly(upstream.take(), 6) == b"before"
    assert [next_event()[1] for _ in range(2)] == ["planned", "armed"]
    caller.sendall(b"after")
    assert [next_event()[1] for _ in range(2)] == ["fired", "lifted"]
    assert proxy.ask("POST", "/faults", {"fault": "reset", "from_s": 60}) == (200, {"id": "db-f3"})
    assert proxy.ask("DELETE", "/faults/db-f3")[0] == 200
    assert [next_event()[1] for _ in range(2)] == ["planned", "lifted"]
    assert proxy.ask("POST", "/faults", {"fault": "reset", "from_s": "soon"})[0] == 400
