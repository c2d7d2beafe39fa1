"""Is a line of the target that leads through a fault proxy broken and mended as told, on the run's timeline?"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

Until = Callable[..., Any]
Alive = Callable[[int], bool]


@pytest.fixture
def echo() -> Iterator[str]:
    """A server that says back what it hears; its HOST:PORT."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def serve(connection: socket.socket) -> None:
            with connection:
                while heard := connection.recv(65536):
                    connection.sendall(heard)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def dial(address: str, timeout_s: float = 20.0) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def says_back(connection: socket.socket, what: bytes = b"hello") -> bool:
    connection.sendall(what)
    return connection.recv(100) == what


def proxied(stack: Any, name: str) -> dict[str, Any]:
    found: dict[str, Any] = stack.call("GET", "/status")[1]["proxies"][name]
    return found


def test_any_address_is_reached_through_a_line_that_can_be_broken(
    stack: Any, echo: str, alive: Alive, until: Until
) -> None:
    stack.target(more=f'[proxy.echo]\nto = "{echo}"\n')
    stack.start()
    stack.begin()
    proxy = proxied(stack, "echo")
    assert proxy["to"] == echo
    with dial(proxy["address"]) as connection:
        assert says_back(connection)
        status, answer = stack.call("POST", "/fault", {"fault": "blackhole", "proxy": "echo"})
        assert (status, answer["id"]) == (200, "echo-f1")
        connection.sendall(b"more")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert stack.call("DELETE", "/fault/echo-f1") == (200, {})
        connection.settimeout(20)
        assert connection.recv(100) == b"more"
    events = [one for one in stack.records("events") if one["id"] == "echo-f1"]
    assert [one["event"] for one in events] == ["armed", "fired", "lifted"]
    assert {(one["family"], one["where"]) for one in events} == {("network", f"echo ({echo})")}
    stack.begin("two")
    assert not alive(proxy["pid"])
    assert proxied(stack, "echo")["pid"] != proxy["pid"]
    assert ("proxy", "stopped") in stack.events("one")


def test_a_fault_comes_later_and_goes_by_itself(stack: Any, echo: str, until: Until) -> None:
    stack.target(more=f'[proxy.echo]\nto = "{echo}"\n')
    stack.start()
    stack.begin()
    spec = {"fault": "latency", "proxy": "echo", "delay_s": 0.4, "from_s": 0.3, "for_s": 1.0}
    assert stack.call("POST", "/fault", spec)[0] == 200
    with dial(proxied(stack, "echo")["address"]) as connection:
        until(lambda: ("latency", "armed") in stack.events())
        began_s = time.monotonic()
        assert says_back(connection)
        assert time.monotonic() - began_s >= 0.4
        until(lambda: ("latency", "lifted") in stack.events())
    seen = [event for fault, event in stack.events() if fault == "latency"]
    assert seen == ["planned", "armed", "fired", "lifted"]
    assert stack.call("DELETE", "/fault/echo-f1") == (200, {}), "it is gone already, and that is fine"


def test_an_upstream_s_own_placeholder_leads_through_its_proxy(stack: Any) -> None:
    stack.target(more='[proxy.model]\nto = "openai"\n')
    stack.start(bundled=True)
    stack.begin()
    url = stack.ask("/environment")["OPENAI_BASE_URL"]
    proxy = proxied(stack, "model")
    assert url == f"http://{proxy['address']}/v1"

    def models() -> Any:
        with closing(HTTPConnection(proxy["address"], timeout=20)) as connection:
            connection.request("GET", "/v1/models", headers={"Authorization": "Bearer sk-any"})
            return json.loads(connection.getresponse().read())

    assert models()["object"] == "list"
    assert stack.call("POST", "/fault", {"fault": "reset", "proxy": "model"})[0] == 200
    with pytest.raises(ConnectionError):  # it may come while the connection is made, or later
        models()
    assert stack.call("POST", "/scenario/end", {}) == (200, {})
    assert [call["route"] for call in stack.records("ledger")] == ["GET /v1/models"]


def test_a_target_with_its_upstream_s_address_built_in_finds_the_proxy_there(stack: Any, echo: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = probe.getsockname()[1]
    (stack.directory / "target.toml").write_text(
        f'host = "http://127.0.0.1:1"\n[proxy.echo]\nto = "{echo}"\nport = {port}\n'
    )
    stack.start()
    assert stack.begin()["pid"] is None
    with dial(f"127.0.0.1:{port}") as connection:
        assert says_back(connection)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        number = taken.getsockname()[1]
        path: Path = stack.directory / "target.toml"
        path.write_text(f'host = "http://127.0.0.1:1"\n[proxy.echo]\nto = "{echo}"\nport = {number}\n')
        stack.let_go()
        stack.start()
        status, answer = stack.call("POST", "/scenario", {"name": "two"})
    assert status == 502
    assert f"Cannot listen at 127.0.0.1:{number}: Address already in use" in answer["error"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"fault": "latency", "proxy": "eko", "delay_s": 1}, "There is no proxy 'eko' of the target: there are echo."),
        ({"fault": "latncy", "proxy": "echo"}, "Did you mean `latency`?"),
        ({"fault": "latency", "proxy": "echo"}, "delay_s"),
        ({"fault": "reset", "proxy": "echo", "for_s": -1}, "expected seconds, more than 0"),
    ],
)
def test_nonsense_is_refused(stack: Any, echo: str, spec: dict[str, Any], said: str) -> None:
    stack.target(more=f'[proxy.echo]\nto = "{echo}"\n')
    stack.start()
    stack.begin()
    status, answer = stack.call("POST", "/fault", spec)
    assert status == 400
    assert said in answer["error"]


def test_a_target_without_proxies_says_so(stack: Any) -> None:
    stack.start()
    stack.begin()
    status, answer = stack.call("POST", "/fault", {"fault": "reset", "proxy": "echo"})
    assert (status, answer["error"]) == (400, "There is no proxy 'echo' of the target: its file has no [proxy].")


def test_an_end_that_nobody_planned_is_the_harness_s_trouble(stack: Any, echo: str, until: Until) -> None:
    stack.target(more=f'[proxy.echo]\nto = "{echo}"\n')
    stack.start()
    stack.begin()
    os.kill(proxied(stack, "echo")["pid"], signal.SIGKILL)
    exited = until(lambda: stack.event("exited"))
    assert (exited["fault"], exited["family"], exited["where"]) == ("proxy", "upstream", "proxy echo")
    status, answer = stack.call("POST", "/fault", {"fault": "reset", "proxy": "echo"})
    assert status == 502
    assert answer["error"].startswith("Proxy echo: ")
