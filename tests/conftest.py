"""What do tests of every kind share? The rule for parts that a machine lacks, and a real Redis."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import redis

from harness.stack.household import free_port
from harness.stack.redis import DATABASES, NO_SERVER, find_redis_server, redis_command, redis_url

_READY_WITHIN_S = 20.0
_ATTEMPTS = 5  # somebody else may take the port between the look and the start


# A shell that starts something in the background has it ignore Ctrl-C, and whatever that starts inherits this: tests of
# Ctrl-C would wait for ever. A handler of our own is not inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def missing() -> Callable[[str], NoReturn]:
    """Return what a fixture calls when this machine lacks a part: skips, but fails in continuous integration."""

    def missing_part(what: str) -> NoReturn:
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)

    return missing_part


class RedisServer:
    """A real Redis at one address for as long as it lives; what it holds is lost with its process.

    Args:
        program: the path of a redis-server.
        directory: its own.
    """

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        for _ in range(_ATTEMPTS):
            self.port = free_port()
            if self.start():
                return
        pytest.fail(f"redis-server does not start: {self._log.read_text()}")

    @property
    def url(self) -> str:
        """The address of its first database."""
        return redis_url(self.port)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def start(self) -> bool:
        """Start it, at the same address when it ran before; return whether it answers."""
        with self._log.open("ab") as log:
            command = redis_command(self._program, self.port, self._directory)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until_s = time.monotonic() + _READY_WITHIN_S
        while self._process.poll() is None:
            if self._is_it():
                return True
            if time.monotonic() > until_s:
                self.kill()
            time.sleep(0.01)
        return False

    def _is_it(self) -> bool:
        """Return whether what answers at the port is this process, not somebody who was faster."""
        try:
            with redis.Redis(port=self.port, socket_timeout=1.0) as client:
                return client.info("server")["process_id"] == self.pid
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            return False

    def pause(self) -> None:
        """Let it stand still, its sockets open."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="session")
def redis_program(missing: Callable[[str], NoReturn]) -> str:
    """Return the path of a redis-server."""
    return find_redis_server() or missing(NO_SERVER)


@pytest.fixture(scope="session")
def shared_redis(redis_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Return a Redis for all tests of this worker. Never break it: `own_redis` is there for that."""
    server = RedisServer(redis_program, tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


_DATABASES = itertools.count()


@pytest.fixture(name="redis_url")
def _redis_url(shared_redis: RedisServer) -> str:
    """Return the address of an empty database that no other test uses."""
    url = redis_url(shared_redis.port, next(_DATABASES) % DATABASES)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def own_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """Return a Redis of this test's own, to be killed, paused and started again."""
    server = RedisServer(redis_program, tmp_path)
    yield server
    server.kill()
