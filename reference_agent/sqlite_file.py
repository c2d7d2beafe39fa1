"""How does the agent use a SQLite file without waiting for it? One thread per file; all replicas share the file."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from reference_agent.errors import Unavailable

T = TypeVar("T")

_NO_UPGRADES: Mapping[int, str] = {}
_BUSY_S = 2.0  # another replica's transaction is waited for; one takes far less than a millisecond
_SCRUB_BUSY_MS = 100  # somebody who reads for longer, a backup perhaps, is not waited for with the writers
_SCRUB_REST = 9.0  # times as long as a scrub took there is none
_WRITTEN_ANEW_BYTES = 32 * 1024 * 1024
"""A larger file is not written anew: it would take a second, and writers of other replicas give up after two."""


_Given = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class _Thread:
    """One thread that does what it is given, in order, whoever waits for it or has stopped waiting.

    An executor does no less, but the way to its thread and back takes 74 us of CPU instead of 28 (measured with nothing
    to be done there), and every turn goes it six times.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._given: queue.SimpleQueue[_Given | None] = queue.SimpleQueue()
        self._runs = False
        self.end = weakref.finalize(self, self._given.put, None)

    async def do(self, work: Callable[[], T]) -> T:
        """Return what the work returns, or raise what it raises."""
        if not self.end.alive:
            msg = f"{self._name} is closed"
            raise RuntimeError(msg)
        if not self._runs:
            self._runs = True
            threading.Thread(target=_do_all, args=(self._given,), name=self._name, daemon=True).start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._given.put((work, loop, done))
        return await done


def _do_all(given: queue.SimpleQueue[_Given | None]) -> None:
    while (one := given.get()) is not None:
        work, loop, done = one
        result = failure = None
        try:
            result = work()
        except BaseException as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, done, result, failure)
        del one, work, done, result, failure  # nothing of it is held until the next one comes


def _tell(done: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if done.done():
        return
    if failure is not None:
        done.set_exception(failure)
    else:
        done.set_result(result)


class SqliteFile:
    """Tables in a file, or in memory.

    Write-ahead logging, and one thread that does all the writing: the event loop never waits for a disk, and a process
    never waits for itself.

    Args:
        name: what it is called in errors.
        path: the file; None: memory, for one process that may forget.
        schema: SQL that makes the tables where they are not there yet.
        version: of the tables; a file of another version is refused, not guessed at.
        upgrades: SQL that makes the next version of the tables out of a version that is named.
    """

    def __init__(
        self, name: str, path: Path | None, schema: str, version: int, upgrades: Mapping[int, str] = _NO_UPGRADES
    ) -> None:
        self._name = name
        self._path = path
        self._schema = schema
        self._version = version
        self._upgrades = upgrades
        self._thread = _Thread(name)
        self._db: sqlite3.Connection | None = None
        self.trouble = ""
        """What was wrong when it was last used; empty: nothing."""
        self._reader: sqlite3.Connection | None = None
        self._scrubbing = asyncio.Lock()
        self._scrub_at = 0.0
        self._changes_scrubbed = -1
        """How many changes this connection had made when all was scrubbed last."""

    async def look(self, query: str, *values: Any) -> Any:
        """Return the first row of a query by key, None where there is none.

        On the event loop itself: a page or two of a file that every turn touches. What is asked for whoever knocks has
        to be cheaper than a hop to another thread, and who reads a write-ahead log waits for nobody who writes it.

        Raises:
            Unavailable: the file cannot be used.
        """
        if self._path is not None and self._db is not None:
            # Now and then (a log is begun anew, a mark is taken) a look does have to wait: then not here.
            with contextlib.suppress(sqlite3.Error):
                if self._reader is None:
                    self._reader = sqlite3.connect(self._path, timeout=0.0, isolation_level=None)
                return self._reader.execute(query, values).fetchone()
        return await self.do(lambda db: db.execute(query, values).fetchone())

    async def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in one transaction, in the file's own thread; finish it even when the caller is cancelled.

        What the work returns must not be a cursor: let go of by the event loop while the thread is at the next
        transaction, it resets a statement that is in use there, and SQLite calls that a misuse.

        Raises:
            Unavailable: the file cannot be used.
            TypeError: the work returned a cursor.
        """
        return await self._thread.do(functools.partial(self._transaction, work))

    async def run(self, statement: str, *values: Any) -> None:
        """Carry out one statement, as `do` does its work.

        Raises:
            Unavailable: the file cannot be used.
        """

        def work(db: sqlite3.Connection) -> None:
            db.execute(statement, values)

        await self.do(work)

    async def scrub(self) -> bool:
        """Leave no trace of what was deleted, in the file or in its log; return False while somebody reads there.

        What is deleted is overwritten at once, but for what SQLite leaves behind in a page when it moves rows about (of
        1,000 deleted rows 1 could still be read, over 18,000 of random sizes), and the log has pages as they were
        before. So a small file is written anew, and the log emptied. That holds its writers up (4 ms of CPU where 1,000
        users have sessions, 50 ms for 20,000 messages): however many erasures there are, a tenth of the time at most.

        Raises:
            Unavailable: the file cannot be used.
        """
        async with self._scrubbing:
            await asyncio.sleep(max(0.0, self._scrub_at - time.monotonic()))
            is_scrubbed, took_s = await self._thread.do(self._scrub)
            self._scrub_at = time.monotonic() + _SCRUB_REST * took_s
        return is_scrubbed

    async def close(self) -> None:
        """Close the file."""

        def work() -> None:
            if self._db is not None:
                self._db.close()

        if self._reader is not None:
            self._reader.close()
        await self._thread.do(work)
        self._thread.end()

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            db = self._db or self._open()
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                if isinstance(result, sqlite3.Cursor):
                    msg = "work in a SQLite file must not return a cursor: return the rows, or nothing"
                    raise TypeError(msg)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except (sqlite3.Error, OSError) as failure:
            self.trouble = str(failure)
            # Without its traceback, whose frames hold cursors: they are let go of here, in the thread that they are of.
            raise Unavailable(self._name, self.trouble, never_arrived=True) from failure.with_traceback(None)
        self.trouble = ""
        return result

    def _scrub(self) -> tuple[bool, float]:
        begin = time.monotonic()
        try:
            db = self._db or self._open()
            if self._path is None or db.total_changes == self._changes_scrubbed:
                return True, 0.0
            db.execute(f"PRAGMA busy_timeout = {_SCRUB_BUSY_MS}")
            try:
                if self._path.stat().st_size <= _WRITTEN_ANEW_BYTES:
                    db.execute("VACUUM")
                (is_in_use, *_) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as failure:
                if failure.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                is_in_use = True
            finally:
                db.execute(f"PRAGMA busy_timeout = {round(_BUSY_S * 1000)}")
        except (sqlite3.Error, OSError) as failure:
            raise Unavailable(self._name, str(failure), never_arrived=True) from failure.with_traceback(None)
        if not is_in_use:
            self._changes_scrubbed = db.total_changes
        return not is_in_use, time.monotonic() - begin

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # What users say is in it: nobody else on the machine is to read it. The log beside it goes by the file.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        where = ":memory:" if self._path is None else str(self._path)
        db = sqlite3.connect(where, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        _into_wal(db)
        db.execute("PRAGMA secure_delete = ON")  # see `scrub`; what it costs a turn cannot be told from noise
        db.execute("PRAGMA synchronous = NORMAL")  # what a power cut loses is a few turns' times, never a table
        try:
            self._upgrade(db, where)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _upgrade(self, db: sqlite3.Connection, where: str) -> None:
        """Make the tables, or make them out of those of an earlier version.

        Replicas that start at once take turns, each in one transaction: who comes second finds it done.
        """
        db.execute("BEGIN IMMEDIATE")
        try:
            (found,) = db.execute("PRAGMA user_version").fetchone()
            version = found
            while version in self._upgrades:
                _run_all(db, self._upgrades[version])
                version += 1
            if version not in (0, self._version):
                msg = f"{where} was written by another version of the agent: name another file, or remove this one"
                raise sqlite3.DatabaseError(msg)
            _run_all(db, self._schema)
            if found != self._version:
                db.execute(f"PRAGMA user_version = {self._version}")
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")


def _run_all(db: sqlite3.Connection, script: str) -> None:
    """Carry out all statements within the transaction that is open; `executescript` would commit it first."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):  # not in the middle of a comment or a text
            db.execute(statement)
            statement = ""


def _into_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite's own time-out does not hold for this statement: replicas that start in the
    same moment are told at once that the file is locked."""
    give_up_at = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() >= give_up_at:
                raise
            time.sleep(0.01)
        else:
            return
