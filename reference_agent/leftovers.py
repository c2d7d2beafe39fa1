"""What has to be deleted and could not be yet? Written down before it is tried, and tried until it is done.

A process that dies in between, or an upstream that is down for a day, changes nothing: whoever finds it written down
next goes on. Deleting something twice is no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from reference_agent.clock import Clock, Deadline
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.session_store import DELETED_AT_ONCE, SOMEBODY_IS_AT_IT_S, rest_s
from reference_agent.sqlite_file import SqliteFile

Delete = Callable[[str], Awaitable[bool]]
"""Deletes one thing by its name; returns False (or raises Unavailable or OutOfTime) when it could not be done now."""
Scrub = Callable[[], Awaitable[bool]]
"""Leaves no trace of what was deleted in one place; as `SessionStore.scrub`."""


class Leftovers(Protocol):
    """Things that are to be gone."""

    def handle(self, kind: str, delete: Delete) -> None:
        """Say how things of a kind are deleted."""
        ...

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        """Write down that something is to be deleted, for the sake of an owner."""
        ...

    async def clear(self, owner: str | None = None, deadline: Deadline | None = None) -> list[str]:
        """Delete what there is of one owner, or what is due of all; return the kinds of what is left of it.

        Each is tried on its own. What is still being tried at the deadline is left.
        """
        ...

    def keeps_traces(self, scrub: Scrub) -> None:
        """Say how one more place is scrubbed of what was deleted there."""
        ...

    async def scrub(self) -> bool:
        """Leave no trace of what was deleted anywhere; return False when that cannot be done now.

        It is tried again then, until it is done; and it is done by itself after what `clear` deletes later.
        """
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

    async def clear(self, owner: str | None = None, deadline: Deadline | None = None) -> list[str]:
        return []

    def keeps_traces(self, scrub: Scrub) -> None:
        pass

    async def scrub(self) -> bool:
        return True

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
        """Return some of what somebody should try now, oldest attempt first.

        It is the caller's for as long as `rest_s` says, and comes again after that unless it is done.
        """
        ...

    async def done(self, note: Note) -> None:
        """It is deleted; what was written down once more meanwhile stays."""
        ...

    async def scrub(self) -> bool:
        """As `SessionStore.scrub`: whose something was is forgotten with it."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


_SCHEMA = """
CREATE TABLE IF NOT EXISTS leftovers (
    kind TEXT NOT NULL, what TEXT NOT NULL, owner TEXT NOT NULL,
    due REAL NOT NULL DEFAULT 0, tries INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, what)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leftovers_by_due ON leftovers (due);
CREATE INDEX IF NOT EXISTS leftovers_by_owner ON leftovers (owner);
"""
_VERSION = 3
_UPGRADES = {
    1: """
ALTER TABLE leftovers ADD COLUMN due REAL NOT NULL DEFAULT 0;
ALTER TABLE leftovers ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
""",
    2: "",  # the same table; what stands in it an earlier version would not make sense of, as in the session store
}
_AGAIN_S = 1.0


class FileNotes:
    """In a file that the replicas on one machine share.

    Args:
        path: the file; None: memory.
        clock: says what is due.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._file = SqliteFile("leftovers", path, _SCHEMA, _VERSION, _UPGRADES)
        self._clock = clock

    async def add(self, kind: str, what: str, owner: str) -> None:
        due = self._clock.wall() + SOMEBODY_IS_AT_IT_S
        await self._file.run("INSERT OR REPLACE INTO leftovers VALUES (?, ?, ?, ?, 0)", kind, what, owner, due)

    async def of(self, owner: str) -> list[Note]:
        theirs = "SELECT kind, what FROM leftovers WHERE owner = ?"
        return await self._file.do(lambda db: [Note(*row) for row in db.execute(theirs, (owner,))])

    async def due(self) -> list[Note]:
        now = self._clock.wall()

        def work(db: sqlite3.Connection) -> list[Note]:
            some = "SELECT kind, what, tries FROM leftovers WHERE due <= ? ORDER BY due LIMIT ?"
            due = db.execute(some, (now, DELETED_AT_ONCE)).fetchall()
            db.executemany(
                "UPDATE leftovers SET due = ?, tries = tries + 1 WHERE kind = ? AND what = ?",
                [(now + rest_s(tries), kind, what) for kind, what, tries in due],
            )
            return [Note(kind, what) for kind, what, _ in due]

        return await self._file.do(work)

    async def done(self, note: Note) -> None:
        await self._file.run("DELETE FROM leftovers WHERE kind = ? AND what = ?", note.kind, note.what)

    async def scrub(self) -> bool:
        return await self._file.scrub()

    async def close(self) -> None:
        await self._file.close()


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
        self._scrubs: list[Scrub] = [notes.scrub]
        self._deletions = 1  # counted: the process before may have left traces of what it deleted last
        self._scrubbed = 0  # of these
        self._trying: asyncio.Task[None] | None = None

    def handle(self, kind: str, delete: Delete) -> None:
        self._delete[kind] = delete

    async def add(self, kind: str, what: str, owner: str = "") -> None:
        await self._notes.add(kind, what, owner)

    async def clear(self, owner: str | None = None, deadline: Deadline | None = None) -> list[str]:
        notes = await (self._notes.due() if owner is None else self._notes.of(owner))
        some_at_once = asyncio.Semaphore(DELETED_AT_ONCE)

        async def is_gone(note: Note) -> bool:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline is None else deadline.remaining_s()), some_at_once:
                    return await self._is_gone(note)
            return False

        gone = await asyncio.gather(*map(is_gone, notes))
        return sorted({note.kind for note, is_gone in zip(notes, gone, strict=True) if not is_gone})

    def keeps_traces(self, scrub: Scrub) -> None:
        self._scrubs.append(scrub)

    async def scrub(self) -> bool:
        self._deletions += 1  # whoever calls has deleted something, too
        until_now = self._deletions
        try:
            are_scrubbed = [await scrub() for scrub in self._scrubs]
        except Unavailable as failure:
            self._logging.warned("not_scrubbed", reason=str(failure))
            return False
        if all(are_scrubbed):
            self._scrubbed = until_now
        return all(are_scrubbed)

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
                if self._scrubbed < self._deletions:
                    await self.scrub()
            except Unavailable:
                continue
            except Exception as bug:
                self._logging.bug("leftovers", bug)

    async def _is_gone(self, note: Note) -> bool:
        delete = self._delete.get(note.kind)
        if delete is None:  # another replica, with other parts, knows how
            return False
        try:
            if not await delete(note.what):
                return False
            await self._notes.done(note)
            self._deletions += 1
        except (Unavailable, OutOfTime):
            return False
        except Exception as bug:  # it rests, longer each time, and none of the others has to wait for it
            self._logging.bug("leftover_not_deleted", bug)
            return False
        return True
