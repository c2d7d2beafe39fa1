"""Where is it kept what need not be worked out again, for how long, and what happens when such a place is down?

Nearest first: this process's memory, Redis (shared by machines), a database file (shared by the replicas on one
machine, kept over restarts). A level that fails is a level that has nothing: it is asked for a bounded time, and then
left alone for a while.

What is somebody's is gone everywhere in the moment in which they are erased, also where the erasure does not reach: the
memory of another process, another machine's file, an entry that is just on its way from one level to the next. It is
kept with the *epoch* of its owner, a random word in the level that most processes share, and is only told while the
epoch is still that one; erasure begins with a new one. Owners share some thousands of epochs, so that nothing is
written down about anybody: whoever is erased takes a few entries of others along. Where the epoch cannot be looked up,
as that level is down, what is somebody's is not told: it is worked out again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import redis.asyncio
from cashews import Cache as Cashews
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from reference_agent.clock import Clock
from reference_agent.errors import Unavailable
from reference_agent.sqlite_file import SqliteFile

T = TypeVar("T")


@dataclass(frozen=True)
class Kept:
    """What need not be worked out again."""

    text: str
    until: float
    """Seconds of the wall clock; from then on it is not true any more."""
    owner: str = ""
    """With whose erasure it goes, a hash in hexadecimal; empty: nobody's."""
    epoch: str = ""
    """The owner's, when it was kept."""


class Level(Protocol):
    """One place where things are kept. Every method raises what its library raises; `Levels` knows what to do."""

    name: str
    answer_s: float
    """It is asked for so long; what takes a second or more to work out is not worth more."""
    reach: int
    """How far it is shared: 0 by nobody, 1 by the processes of a machine, 2 by machines."""

    async def get(self, key: str) -> Kept | None:
        """Return what is kept under a key, true or not any more."""
        ...

    async def put(self, key: str, kept: Kept, now: float) -> None:
        """Keep it, at most as long as this level keeps anything."""
        ...

    async def forget(self, owner: str) -> None:
        """Delete whatever is an owner's."""
        ...

    async def epoch(self, owner: str) -> str:
        """Return the owner's epoch."""
        ...

    async def begin_epoch(self, owner: str) -> None:
        """Begin another one: what was kept until now is over."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


_SLOT_CHARS = 3  # of an owner's hash: 4,096 epochs, 150 kB in Redis


def _new_epoch() -> str:
    # Random, not counted: a Redis that has lost it does not come back to one that was.
    return secrets.token_hex(8)


class MemoryLevel:
    """In this process; the least recently used make room.

    Args:
        keep_s: seconds after which anything is forgotten.
        most: entries.
    """

    name = "memory"
    answer_s = 1.0
    reach = 0

    def __init__(self, keep_s: float, most: int) -> None:
        self._keep_s = keep_s
        self._cache = Cashews()
        # No sweeping: what has expired is not found, and makes room by being the least recently used.
        self._cache.setup("mem://", size=most, check_interval=0)

    async def get(self, key: str) -> Kept | None:
        found: Kept | None = await self._cache.get(key)
        return found

    async def put(self, key: str, kept: Kept, now: float) -> None:
        await self._cache.set(key, kept, expire=_seconds_left(kept, now, self._keep_s))

    async def forget(self, owner: str) -> None:
        # Entry by entry: a list of an owner's keys could be what has just made room. One that has expired is None.
        of_owner = [key async for key, kept in self._cache.get_match("*") if kept is not None and kept.owner == owner]
        if of_owner:
            await self._cache.delete_many(*of_owner)

    async def epoch(self, owner: str) -> str:
        return ""  # where there is nothing else, forgetting is all that it takes

    async def begin_epoch(self, owner: str) -> None:
        pass

    async def close(self) -> None:
        await self._cache.close()


_REDIS_CONNECTIONS = 50
_AT_ONCE = 100  # keys in one call


class RedisLevel:
    """In Redis, which bounds its own memory (`maxmemory`); a list of each owner's keys lasts as long as any of them.

    Args:
        url: of the database.
        keep_s: seconds after which anything is forgotten.
        answer_s: seconds after which a call is given up.
    """

    name = "redis"
    reach = 2
    _PREFIX = "agent:cache:"
    _EPOCHS = f"{_PREFIX}epochs"

    def __init__(self, url: str, keep_s: float, answer_s: float = 0.1) -> None:
        self.answer_s = answer_s
        self._keep_s = keep_s
        # The client's own way is to try again for seconds: an answer from here is not worth them.
        self._redis = redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=answer_s,
            socket_connect_timeout=answer_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=_REDIS_CONNECTIONS,
        )

    async def get(self, key: str) -> Kept | None:
        found = await self._redis.get(self._PREFIX + key)
        return Kept(**json.loads(found)) if found else None

    async def put(self, key: str, kept: Kept, now: float) -> None:
        async with self._redis.pipeline(transaction=True) as both:
            if kept.owner:
                both.sadd(self._of(kept.owner), key)
                both.expire(self._of(kept.owner), int(self._keep_s) + 1)
            left_ms = int(1000 * _seconds_left(kept, now, self._keep_s))
            both.set(self._PREFIX + key, json.dumps(vars(kept)), px=max(1, left_ms))
            await both.execute()

    async def forget(self, owner: str) -> None:
        # The list last: when this is cut short, the next attempt still knows what there is.
        keys = [str(key) async for key in self._redis.sscan_iter(self._of(owner), count=_AT_ONCE)]
        for at in range(0, len(keys), _AT_ONCE):
            await self._redis.delete(*(self._PREFIX + key for key in keys[at : at + _AT_ONCE]))
        await self._redis.delete(self._of(owner))

    async def epoch(self, owner: str) -> str:
        slot = owner[:_SLOT_CHARS]
        while (found := await self._redis.hget(self._EPOCHS, slot)) is None:
            await self._redis.hsetnx(self._EPOCHS, slot, _new_epoch())
        return str(found)

    async def begin_epoch(self, owner: str) -> None:
        await self._redis.hset(self._EPOCHS, owner[:_SLOT_CHARS], _new_epoch())

    async def close(self) -> None:
        await self._redis.aclose()

    def _of(self, owner: str) -> str:
        return f"{self._PREFIX}of:{owner}"


_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL,
    text TEXT NOT NULL, until REAL NOT NULL, owner TEXT NOT NULL, epoch TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS kept_until ON kept (until);
CREATE INDEX IF NOT EXISTS kept_of ON kept (owner);
CREATE TABLE IF NOT EXISTS epochs (slot TEXT PRIMARY KEY, epoch TEXT NOT NULL) WITHOUT ROWID;
"""
_VERSION = 2
_UPGRADES = {1: "DELETE FROM kept WHERE owner != ''; ALTER TABLE kept ADD COLUMN epoch TEXT NOT NULL DEFAULT '';"}


class DatabaseLevel:
    """In a SQLite file; the newest entries stay.

    Args:
        path: the file; None: memory.
        keep_s: seconds after which anything is forgotten.
        most: entries.
    """

    name = "database"
    answer_s = 0.5
    reach = 1

    def __init__(self, path: Path | None, keep_s: float, most: int) -> None:
        self._keep_s = keep_s
        self._most = most
        self._file = SqliteFile("cache", path, _SCHEMA, _VERSION, _UPGRADES)

    async def get(self, key: str) -> Kept | None:
        row = await self._file.do(
            lambda db: db.execute("SELECT text, until, owner, epoch FROM kept WHERE key = ?", (key,)).fetchone()
        )
        return Kept(*row) if row else None

    async def put(self, key: str, kept: Kept, now: float) -> None:
        until = now + _seconds_left(kept, now, self._keep_s)

        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM kept WHERE until <= ?", (now,))
            row = (key, kept.text, until, kept.owner, kept.epoch)
            db.execute("INSERT OR REPLACE INTO kept (key, text, until, owner, epoch) VALUES (?, ?, ?, ?, ?)", row)
            # By number, not by counting; what was replaced or deleted leaves gaps, so that there are at most so many.
            db.execute("DELETE FROM kept WHERE number <= (SELECT max(number) FROM kept) - ?", (self._most,))

        await self._file.do(work)

    async def forget(self, owner: str) -> None:
        await self._file.run("DELETE FROM kept WHERE owner = ?", owner)
        if not await self._file.scrub():
            raise Unavailable(self.name, "in use, with traces of what was forgotten", never_arrived=True)

    async def epoch(self, owner: str) -> str:
        slot, wanted = owner[:_SLOT_CHARS], "SELECT epoch FROM epochs WHERE slot = ?"
        while (row := await self._file.look(wanted, slot)) is None:
            await self._file.run("INSERT OR IGNORE INTO epochs VALUES (?, ?)", slot, _new_epoch())
        return str(row[0])

    async def begin_epoch(self, owner: str) -> None:
        await self._file.run("INSERT OR REPLACE INTO epochs VALUES (?, ?)", owner[:_SLOT_CHARS], _new_epoch())

    async def close(self) -> None:
        await self._file.close()


_REST_S = 1.0
_FORGET_TIMES = 10  # to forget all of an owner takes more calls than one
_FAILURES = (redis.exceptions.RedisError, Unavailable, OSError, TimeoutError, ValueError, TypeError)
"""What levels raise when they are down, or hold what we did not write."""


class Levels:
    """All levels as one.

    Args:
        levels: nearest first.
        clock: tells what is still true.
        failed: is told which level failed, and how.
    """

    def __init__(self, levels: list[Level], clock: Clock, failed: Callable[[str, Exception], None]) -> None:
        self._levels = levels
        self._clock = clock
        self._failed = failed
        self._resting: dict[str, float] = {}
        self._epochs = max(levels, key=lambda level: level.reach, default=None)

    async def get(self, key: str) -> tuple[Kept | None, str]:
        """Return what is kept under a key, and in which level it was found; nearer levels have it then, too."""
        for depth, level in enumerate(self._levels):
            kept = await self._bounded(level, lambda level=level: level.get(key))  # type: ignore[misc]
            if kept is not None and kept.until > self._clock.wall() and await self._may_be_told(kept):
                await self._put(self._levels[:depth], key, kept)
                return kept, level.name
        return None, ""

    async def put(self, key: str, kept: Kept) -> None:
        """Keep it in every level."""
        if kept.owner:
            epoch = await self._epoch_of(kept.owner)
            if epoch is None:
                return
            kept = replace(kept, epoch=epoch)
        await self._put(self._levels, key, kept)

    async def forget(self, owner: str) -> bool:
        """Delete whatever is an owner's; return False where a level could not do it now."""
        # Nothing of it is told any more from here on, whatever comes of the rest.
        done = self._epochs is None or await self._did(self._epochs, self._epochs.begin_epoch(owner))
        for level in self._levels:
            done = await self._did(level, level.forget(owner)) and done
        return done

    async def close(self) -> None:
        """Let go of all."""
        for level in self._levels:
            await level.close()

    async def _may_be_told(self, kept: Kept) -> bool:
        return not kept.owner or kept.epoch == await self._epoch_of(kept.owner)

    async def _epoch_of(self, owner: str) -> str | None:
        level = self._epochs
        return None if level is None else await self._bounded(level, lambda: level.epoch(owner))

    async def _did(self, level: Level, deed: Awaitable[None]) -> bool:
        try:
            async with asyncio.timeout(level.answer_s * _FORGET_TIMES):
                await deed
        except _FAILURES as failure:
            self._note(level, failure)
            return False
        return True

    async def _put(self, levels: list[Level], key: str, kept: Kept) -> None:
        now = self._clock.wall()
        for level in levels:
            await self._bounded(level, lambda level=level: level.put(key, kept, now))  # type: ignore[misc]

    async def _bounded(self, level: Level, work: Callable[[], Awaitable[T]]) -> T | None:
        if self._resting.get(level.name, 0.0) > self._clock.now():
            return None
        try:
            async with asyncio.timeout(level.answer_s):
                return await work()
        except _FAILURES as failure:
            self._note(level, failure)
            return None

    def _note(self, level: Level, failure: Exception) -> None:
        self._resting[level.name] = self._clock.now() + _REST_S
        self._failed(level.name, failure)


def _seconds_left(kept: Kept, now: float, keep_s: float) -> float:
    return max(0.001, min(keep_s, kept.until - now))
