"""What has to be deleted and could not be yet? Written down before it is tried, and tried until it is done.

A process that dies in between, or an upstream that is down for a day, changes nothing: whoever finds it written down
next goes on. Deleting something twice is no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from reference_agent.clock import Clock
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.sqlite_file import SqliteFile

Delete = Callable[[str], Awaitable[bool]]
"""Deletes one thing by its name; returns False (or raises Unavailable or OutOfTime) when it could not be done now."""


class Leftovers(Protocol):
    """Things that are to be gone."""

    def handle(self, kind: str, delete: Delete) -> None:
        """Say how things of a kind are deleted."""
        ...

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        """Write down that something is to be deleted, for the sake of an owner."""
        ...

    async def clear(self, owner: str | None = None) -> list[str]:
        """Delete what there is of one owner, or what is due of all; return the kinds of what is left of it."""
        ...

    async def start(self) -> None:
        """Begin to try again by itself."""
        ...

    async def close(self) -> None:
        """Stop trying."""
        ...


class NoLeftovers:
    """What could not be deleted at once stays for ever."""

    def handle(self, kind: str, delete: Delete) -> None:
        pass

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        pass

    async def clear(self, owner: str | None = None) -> list[str]:
        return []

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass


class Note(NamedTuple):
    """Something that is to be deleted."""

    kind: str
    what: str
    number: str = ""
    """Which of the times that it was written down; empty: nobody counts."""


class Notes(Protocol):
    """Where it is written down. Every method raises Unavailable when that place cannot be used."""

    async def add(self, kind: str, what: str, owner: str) -> None:
        """Write it down, for whoever does so to try at once."""
        ...

    async def of(self, owner: str) -> list[Note]:
        """Return what is an owner's."""
        ...

    async def due(self) -> list[Note]:
        """Return what somebody should try now."""
        ...

    async def done(self, note: Note) -> None:
        """It is deleted; what was written down once more meanwhile stays."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


_SCHEMA = """
CREATE TABLE IF NOT EXISTS leftovers (
    kind TEXT NOT NULL, what TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (kind, what)
) WITHOUT ROWID;
"""
_VERSION = 1
_AGAIN_S = 1.0
_AT_ONCE = 100  # things looked at in one go


class FileNotes:
    """In a file that the replicas on one machine share.

    Args:
        path: the file; None: memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = SqliteFile("leftovers", path, _SCHEMA, _VERSION)

    async def add(self, kind: str, what: str, owner: str) -> None:
        await self._file.run("INSERT OR REPLACE INTO leftovers VALUES (?, ?, ?)", kind, what, owner)

    async def of(self, owner: str) -> list[Note]:
        return await self._some("WHERE owner = ?", owner)

    async def due(self) -> list[Note]:
        return await self._some("")

    async def done(self, note: Note) -> None:
        await self._file.run("DELETE FROM leftovers WHERE kind = ? AND what = ?", note.kind, note.what)

    async def close(self) -> None:
        await self._file.close()

    async def _some(self, which: str, *values: str) -> list[Note]:
        query = f"SELECT kind, what FROM leftovers {which} LIMIT {_AT_ONCE}"
        return await self._file.do(lambda db: [Note(*row) for row in db.execute(query, values).fetchall()])


class StoredLeftovers:
    """Written down until they are deleted.

    Args:
        notes: where.
        clock: waits between attempts.
        logging: is told of bugs.
    """

    def __init__(self, notes: Notes, clock: Clock, logging: Logging) -> None:
        self._notes = notes
        self._clock = clock
        self._logging = logging
        self._delete: dict[str, Delete] = {}
        self._trying: asyncio.Task[None] | None = None

    def handle(self, kind: str, delete: Delete) -> None:
        self._delete[kind] = delete

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        await self._notes.add(kind, what, owner)

    async def clear(self, owner: str | None = None) -> list[str]:
        left = []
        for note in await (self._notes.due() if owner is None else self._notes.of(owner)):
            if await self._is_deleted(note):
                await self._notes.done(note)
            else:
                left.append(note.kind)
        return sorted(set(left))

    async def start(self) -> None:
        self._trying = asyncio.create_task(self._try_again())

    async def close(self) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait({self._trying})
        await self._notes.close()

    async def _try_again(self) -> None:
        while True:
            await self._clock.sleep(_AGAIN_S)
            try:
                await self.clear()
            except Unavailable:
                continue
            except Exception as bug:
                self._logging.bug("leftovers", bug)

    async def _is_deleted(self, note: Note) -> bool:
        delete = self._delete.get(note.kind)
        if delete is None:  # another replica, with other parts, knows how
            return False
        try:
            return await delete(note.what)
        except (Unavailable, OutOfTime):
            return False
