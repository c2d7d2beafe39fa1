"""Does a target that names {redis} get a Redis of its own, which can be broken like everything else?"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import harness.stack.__main__ as command
from harness.stack.redis import NO_SERVER

pytestmark = pytest.mark.usefixtures("redis_program")
Until = Callable[..., Any]
Alive = Callable[[int], bool]


def client_of(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=0.5, retry=None)


def test_every_scenario_has_an_empty_redis_that_ends_with_it(stack: Any, alive: Alive) -> None:
    stack.start("--variant", "sharing")
    stack.begin("one")
    first = stack.call("GET", "/status")[1]["redis"]
    assert stack.ask("/environment")["SHARED"] == first["url"]
    with client_of(first["url"]) as client:
        client.set("key", "value")
    stack.begin("two")
    second = stack.call("GET", "/status")[1]["redis"]
    assert not alive(first["pid"])
    with client_of(second["url"]) as client:
        assert client.dbsize() == 0
    assert stack.events("one") == [
        ("redis", "started"),
        ("redis", "ready"),
        ("target", "started"),
        ("target", "ready"),
        ("target", "stopped"),
        ("redis", "stopped"),
    ]
    assert stack.let_go() == (0, "")
    assert stack.left() == []


def test_a_target_that_does_not_name_it_gets_none(stack: Any) -> None:
    stack.start()
    stack.begin()
    assert stack.call("GET", "/status")[1]["redis"] is None
    status, answer = stack.call("POST", "/fault", {"fault": "kill", "process": "redis"})
    assert (status, answer["error"]) == (
        400,
        "There is no Redis: the supervisor starts one where the target's command or env names {redis}.",
    )


@pytest.mark.parametrize("appendonly", [False, True])
def test_it_is_killed_and_comes_back_at_the_same_address(
    stack: Any, until: Until, alive: Alive, appendonly: bool
) -> None:
    stack.target(more="[redis]\nappendonly = true\n" if appendonly else "")
    stack.start("--variant", "sharing")
    pid = stack.begin()["pid"]
    before = stack.call("GET", "/status")[1]["redis"]
    with client_of(before["url"]) as client:
        client.set("key", "value")
        assert stack.call("POST", "/fault", {"fault": "kill", "process": "redis"})[0] == 200
        until(lambda: not alive(before["pid"]))
    with client_of(before["url"]) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert stack.call("POST", "/fault", {"fault": "restart", "process": "redis"})[0] == 200
        until(lambda: stack.events().count(("redis", "ready")) == 2)
        assert client.get("key") == (b"value" if appendonly else None)
    assert stack.call("GET", "/status")[1]["redis"]["url"] == before["url"]
    assert alive(pid), "the target runs on"
    killed = next(one for one in stack.records("events") if one["fault"] == "kill")
    assert (killed["event"], killed["family"], killed["where"]) == ("killed", "process", "redis")


def test_it_is_paused_until_that_is_lifted(stack: Any) -> None:
    stack.start("--variant", "sharing")
    stack.begin()
    url = stack.call("GET", "/status")[1]["redis"]["url"]
    _, paused = stack.call("POST", "/fault", {"fault": "pause", "process": "redis"})
    with client_of(url) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    assert stack.call("DELETE", f"/fault/{paused['id']}") == (200, {})
    with client_of(url) as client:
        assert client.ping()
    assert stack.ask("/environment"), "the target was not paused"


def test_an_end_that_nobody_planned_is_the_harness_s_trouble_not_the_target_s(stack: Any, until: Until) -> None:
    stack.start("--variant", "sharing")
    stack.begin()
    os.kill(stack.call("GET", "/status")[1]["redis"]["pid"], signal.SIGKILL)
    exited = until(lambda: stack.event("exited"))
    assert (exited["fault"], exited["family"], exited["detail"]) == ("redis", "upstream", "killed by SIGKILL")


def test_a_machine_without_a_server_is_told_what_to_install(
    stack: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_redis_server", lambda: None)
    path: Path = stack.target()
    assert command.main(["--run-dir", str(stack.run), "--target", str(path), "--variant", "sharing"]) == 2
    assert capsys.readouterr().err == f"{path} asks for {{redis}}. {NO_SERVER}\n"
