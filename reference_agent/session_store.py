"""Where is it written down whose conversation is whose, so that a restart or another replica knows it too?

One table of places. A place is taken before a conversation is created upstream and given back after it was deleted
there, each in one transaction, so that the number of live conversations is bounded at every moment, over all replicas
that share the store.

    creating --created--> probation --second turn--> protected
        |                     |  ^--- least standing ---|
        | (not answered)      | evicted, expired, erased
        v                     v
       lost                condemned --deleted upstream--> (free)
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from reference_agent.sqlite_file import SqliteFile


@dataclass(frozen=True)
class Bounds:
    """How many places there are, and how long they are kept; seconds."""

    places: int
    protected: int
    """Places that can be protected; the rest is always open to somebody new."""
    lost: int
    """Places that can be lost at a time."""
    lost_s: float
    probation_s: float
    session_s: float


@dataclass(frozen=True)
class Known:
    """The user has this conversation; it is leased to the caller now."""

    conversation: str
    said: str | None = None
    """What has been said in it: nothing (an empty text), one question and its answer (the question's key, as the cache
    names it), or anything (None), which is also what it says as long as the lease lasts."""


@dataclass(frozen=True)
class MustCreate:
    """A place is taken for the user; the caller has to create a conversation, and say what came of it."""


@dataclass(frozen=True)
class MustDelete:
    """The caller has to delete this conversation upstream, say so, and claim again."""

    conversation: str


@dataclass(frozen=True)
class BeingCreated:
    """Somebody else is creating the user's conversation right now."""


@dataclass(frozen=True)
class Full:
    """All places are taken by conversations that are in use or protected."""


Claim = Known | MustCreate | MustDelete | BeingCreated | Full


class Condemned(NamedTuple):
    """What is to be deleted upstream for the sake of a user."""

    conversations: list[str]
    another_is_being_created: bool = False
    """Somebody is creating a conversation for the user right now, and nothing was done about that one."""


class Spent(NamedTuple):
    """What was spent on a day, US dollars."""

    user_usd: float
    all_usd: float
    erasures: int
    """How often the user has been erased that day. Who is told this as a turn is let in, and hands it on with each
    booking of that turn, books on nobody from the next erasure on."""


SOMEBODY_IS_AT_IT_S = 5.0
"""Whoever condemns a conversation goes on to delete it; so long they are left alone."""
LONGEST_REST_S = 60.0
"""What cannot be deleted is left alone for twice as long after each attempt, up to this: others come first."""
_DOUBLINGS = 10  # further ones change nothing
DELETED_AT_ONCE = 20
"""Attempts at deletions under way at once, in one process."""


def rest_s(tries: int) -> float:
    """Return for how many seconds others leave alone what is being tried after so many attempts in vain."""
    return float(min(SOMEBODY_IS_AT_IT_S * 2 ** min(tries, _DOUBLINGS), LONGEST_REST_S))


DAY_S = 86400
AFTER_MIDNIGHT_S = 3600.0
"""So long after its end a day's key is kept, for the turns that it ends in the middle of."""


def new_day_key() -> bytes:
    """Return a key for the pseudonyms of a day."""
    return secrets.token_bytes(32)


def pseudonym(day_key: bytes, user_id: str) -> str:
    """Return under which name a day's budget remembers a user who was erased on it.

    It has to be known for the rest of the day what was spent on them, or an erasure would be a new budget. Nothing but
    the sum and the number of erasures is kept under it, and as long as there is the key, one has to have the id already
    to find them. The key is random, and thrown away soon after its day: from then on nobody, whoever has ids to try,
    can tell of whom a sum was, or that two days' are of the same one; and the sums go with the key.
    """
    return hashlib.blake2b(user_id.encode(), key=day_key, digest_size=16).hexdigest()


EARNED_BY_TALKING = 10.0
"""Who has talked for a minute is protected as if their last turn had been ten minutes later than it was. Those who are
protected make room for each other in that order: by the last turn alone, a flood of ids that come twice within a second
would push out everybody who is quiet for a moment."""
ASKS_AGAIN_WITHIN_S = 1.0
"""Whoever waits for a turn and has not asked for it for so long has died or gone: the next one in line comes first."""


class SessionStore(Protocol):
    """Users, their conversations, and their turns. Times are seconds of the wall clock.

    A conversation goes by its address here (see `Conversations`); the messages of one that is kept here, by its id.
    Every method raises Unavailable when the store cannot be used.
    """

    def trouble(self) -> str:
        """Return what was wrong when it was last used; empty: nothing."""
        ...

    async def knows(self, user_id: str) -> bool:
        """Return whether a conversation of the user is alive."""
        ...

    async def claim(self, user_id: str, now: float, until: float) -> Claim:
        """Claim the user's conversation, or a place for one, until the time given."""
        ...

    async def created(self, user_id: str, conversation: str) -> None:
        """The conversation was created; it takes the place that was claimed."""
        ...

    async def not_created(self, user_id: str, lost_at: float | None) -> None:
        """It was not; the place is free, or lost when nobody can tell whether it was created after all.

        Where it is, and whoever created it says so later, it is condemned.
        """
        ...

    async def ended(self, user_id: str, now: float, *, had_a_turn: bool, said: str | None = None) -> None:
        """The lease is over; `said` is what has been said in the conversation by now, as in `Known`."""
        ...

    async def condemn(self, user_id: str, now: float) -> Condemned:
        """Part the user from their conversation, which is to be deleted upstream; return all of theirs that are."""
        ...

    async def forget(self, conversation: str) -> None:
        """The conversation is not there upstream any more: its place is free."""
        ...

    async def expire(self, now: float) -> list[str]:
        """Condemn what has outlived its time; return some of what is to be deleted upstream now, oldest attempt first.

        It is the caller's for as long as `rest_s` says, and comes again after that unless it has been forgotten.
        """
        ...

    async def begin_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        """Return True when the holder has the user's turn now, until the time given unless it is kept.

        Who gets False stands in line from now on, and has to ask again and again: first come, first served.
        """
        ...

    async def keep_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        """Prolong the holder's turn; return False when it has run out and somebody else has it."""
        ...

    async def end_turn(self, user_id: str, holder: str) -> None:
        """Give the turn back, or leave the line."""
        ...

    async def messages(self, conversation: str, most: int) -> list[tuple[str, str]]:
        """Return role and text of the latest messages of a conversation that is kept here, oldest first."""
        ...

    async def add_messages(self, conversation: str, messages: list[tuple[str, str]]) -> None:
        """Append messages."""
        ...

    async def delete_messages(self, conversation: str) -> None:
        """Forget a conversation that is kept here."""
        ...

    async def spend(
        self,
        day: int,
        user_id: str,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        characters: int,
        usd: float,
        erasures: int | None = None,
    ) -> None:
        """Book what was spent on a user; on nobody, when the user was erased meanwhile.

        Args:
            day: of the turn that it was spent in, counted from 1970.
            user_id: on whom.
            model: what it was spent for.
            prompt_tokens: read.
            completion_tokens: written.
            characters: spoken.
            usd: US dollars.
            erasures: how often the user had been erased that day when the turn was let in; None: the user is known to
                be here still.
        """
        ...

    async def spent(self, day: int, user_id: str) -> Spent:
        """Return what was spent that day on the user, erased or not, and on everybody."""
        ...

    async def forget_spender(self, user_id: str, day: int) -> None:
        """Keep what was spent, and forget on whom; for the rest of the day `pseudonym` says what is known."""
        ...

    async def scrub(self) -> bool:
        """Leave no trace of what was deleted for anybody to read; return False when that cannot be done now."""
        ...

    async def close(self) -> None:
        """Close the store."""
        ...


_VERSION = 5  # of the tables; a file of another version is refused, not guessed at
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    user_id TEXT PRIMARY KEY,
    conversation TEXT,              -- NULL while it is being created
    said TEXT,                      -- '' nothing, else the key of the one question; NULL anything
    turns INTEGER NOT NULL DEFAULT 0,
    protected INTEGER NOT NULL DEFAULT 0,
    first_turn_at REAL,
    last_turn_at REAL NOT NULL,
    standing REAL NOT NULL DEFAULT 0,   -- the last turn, and what was earned by talking
    leased_until REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_age ON sessions (protected, last_turn_at);
CREATE INDEX IF NOT EXISTS by_standing ON sessions (protected, standing);
CREATE TABLE IF NOT EXISTS condemned (
    conversation TEXT PRIMARY KEY,
    due REAL NOT NULL,                  -- when somebody should try to delete it
    owner TEXT NOT NULL DEFAULT '',     -- whose it was, who may ask to have it deleted; '' nobody knows
    tries INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS condemned_by_owner ON condemned (owner);
CREATE INDEX IF NOT EXISTS condemned_by_due ON condemned (due);
CREATE TABLE IF NOT EXISTS lost (until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY, conversation TEXT NOT NULL, role TEXT NOT NULL, text TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_conversation ON messages (conversation, number);
CREATE TABLE IF NOT EXISTS spend (
    day INTEGER NOT NULL, user_id TEXT NOT NULL, model TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, characters INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (day, user_id, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spend_of_day (day INTEGER PRIMARY KEY, usd REAL NOT NULL);
CREATE TABLE IF NOT EXISTS day_keys (day INTEGER PRIMARY KEY, key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS erased (
    day INTEGER NOT NULL, pseudonym TEXT NOT NULL, times INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (day, pseudonym)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (
    user_id TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS waiting (
    ticket INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT NOT NULL, holder TEXT NOT NULL, asked_at REAL NOT NULL,
    UNIQUE (user_id, holder)
);
"""
_UPGRADES = {
    2: """
ALTER TABLE sessions ADD COLUMN first_turn_at REAL;
ALTER TABLE sessions ADD COLUMN standing REAL NOT NULL DEFAULT 0;
UPDATE sessions SET first_turn_at = last_turn_at, standing = last_turn_at;
""",
    3: """
ALTER TABLE condemned RENAME COLUMN since TO due;
ALTER TABLE condemned ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE condemned ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
""",
    # The same tables; but an earlier version would not make sense of the addresses in them, and take for deleted what
    # it asks its upstream for in vain.
    4: "",
}
_BOOK = """
INSERT INTO spend VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (day, user_id, model) DO UPDATE SET
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    characters = characters + excluded.characters,
    usd = usd + excluded.usd
"""
_BOOK_ERASED = """
INSERT INTO erased VALUES (?, ?, ?, ?)
    ON CONFLICT (day, pseudonym) DO UPDATE SET times = times + excluded.times, usd = usd + excluded.usd
"""


class SqliteSessionStore:
    """A file, shared by the replicas on one machine; or memory, for one process that may forget."""

    def __init__(self, path: Path | None, bounds: Bounds) -> None:
        self._bounds = bounds
        self._file = SqliteFile("sessions", path, _SCHEMA, _VERSION, _UPGRADES)
        self._today: tuple[int, bytes] | None = None
        """The latest day that was asked about, and its key."""

    def trouble(self) -> str:
        return self._file.trouble

    async def knows(self, user_id: str) -> bool:
        known = "SELECT 1 FROM sessions WHERE user_id = ? AND conversation IS NOT NULL"
        return await self._file.look(known, user_id) is not None

    async def claim(self, user_id: str, now: float, until: float) -> Claim:
        return await self._file.do(lambda db: self._claim(db, user_id, now, until))

    def _claim(self, db: sqlite3.Connection, user_id: str, now: float, until: float) -> Claim:
        row = db.execute(
            "SELECT conversation, said, leased_until FROM sessions WHERE user_id = ?", (user_id,)
        ).fetchone()
        if row is not None:
            conversation, said, leased_until = row
            if conversation is None and leased_until > now:
                return BeingCreated()
            db.execute(
                "UPDATE sessions SET said = NULL, leased_until = max(leased_until, ?) WHERE user_id = ?",
                (until, user_id),
            )
            # A creation whose time is over was that of a process which has died: its place is taken over.
            return MustCreate() if conversation is None else Known(conversation, said)
        (taken,) = db.execute(
            "SELECT (SELECT count(*) FROM sessions) + (SELECT count(*) FROM condemned) + (SELECT count(*) FROM lost)"
        ).fetchone()
        if taken < self._bounds.places:
            db.execute(
                "INSERT INTO sessions (user_id, last_turn_at, leased_until) VALUES (?, ?, ?)", (user_id, now, until)
            )
            return MustCreate()
        victim = db.execute(
            "SELECT user_id, conversation FROM sessions"
            " WHERE protected = 0 AND leased_until <= ? AND conversation IS NOT NULL ORDER BY last_turn_at LIMIT 1",
            (now,),
        ).fetchone()
        if victim is None:
            return Full()
        self._condemn(db, victim[0], victim[1], now + SOMEBODY_IS_AT_IT_S)
        return MustDelete(victim[1])

    def _condemn(self, db: sqlite3.Connection, user_id: str, conversation: str, due: float) -> None:
        db.execute("DELETE FROM sessions WHERE user_id = ? AND conversation = ?", (user_id, conversation))
        db.execute(
            "INSERT OR IGNORE INTO condemned (conversation, due, owner) VALUES (?, ?, ?)", (conversation, due, user_id)
        )

    async def created(self, user_id: str, conversation: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            placed = db.execute(
                "UPDATE sessions SET conversation = ?, said = '' WHERE user_id = ? AND conversation IS NULL",
                (conversation, user_id),
            )
            if placed.rowcount == 0:  # its place was given up: nobody would ever find it
                self._condemn(db, user_id, conversation, 0.0)

        await self._file.do(work)

    async def not_created(self, user_id: str, lost_at: float | None) -> None:
        await self._file.do(lambda db: self._not_created(db, user_id, lost_at))

    def _not_created(self, db: sqlite3.Connection, user_id: str, lost_at: float | None) -> None:
        db.execute("DELETE FROM sessions WHERE user_id = ? AND conversation IS NULL", (user_id,))
        if lost_at is not None:
            self._lose(db, lost_at)

    def _lose(self, db: sqlite3.Connection, lost_at: float) -> None:
        db.execute("INSERT INTO lost VALUES (?)", (lost_at + self._bounds.lost_s,))
        db.execute(
            "DELETE FROM lost WHERE rowid NOT IN (SELECT rowid FROM lost ORDER BY until DESC LIMIT ?)",
            (self._bounds.lost,),
        )

    async def ended(self, user_id: str, now: float, *, had_a_turn: bool, said: str | None = None) -> None:
        def work(db: sqlite3.Connection) -> None:
            if not had_a_turn:
                # Not of one that is being created: it is somebody else's lease then.
                db.execute(
                    "UPDATE sessions SET leased_until = 0 WHERE user_id = ? AND conversation IS NOT NULL", (user_id,)
                )
                return
            db.execute(
                "UPDATE sessions SET leased_until = 0, last_turn_at = :now, turns = turns + 1, said = :said,"
                " protected = turns >= 1, first_turn_at = coalesce(first_turn_at, :now),"
                " standing = :now + min(:earned * (:now - coalesce(first_turn_at, :now)), :most)"
                " WHERE user_id = :user",
                {
                    "now": now,
                    "said": said,
                    "earned": EARNED_BY_TALKING,
                    "most": self._bounds.session_s,
                    "user": user_id,
                },
            )
            db.execute(
                "UPDATE sessions SET protected = 0 WHERE user_id IN (SELECT user_id FROM sessions WHERE protected = 1"
                " ORDER BY standing DESC LIMIT -1 OFFSET ?)",
                (self._bounds.protected,),
            )

        await self._file.do(work)

    async def condemn(self, user_id: str, now: float) -> Condemned:
        def work(db: sqlite3.Connection) -> Condemned:
            known = "SELECT conversation, leased_until FROM sessions WHERE user_id = ?"
            row = db.execute(known, (user_id,)).fetchone()
            being_created = False
            if row is not None:
                conversation, leased_until = row
                being_created = conversation is None and leased_until > now
                if conversation is not None:
                    self._condemn(db, user_id, conversation, now + SOMEBODY_IS_AT_IT_S)
                elif not being_created:  # whoever created it has died
                    self._not_created(db, user_id, now)
            theirs = db.execute("SELECT conversation FROM condemned WHERE owner = ?", (user_id,)).fetchall()
            return Condemned([conversation for (conversation,) in theirs], being_created)

        return await self._file.do(work)

    async def forget(self, conversation: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM sessions WHERE conversation = ?", (conversation,))
            db.execute("DELETE FROM condemned WHERE conversation = ?", (conversation,))

        await self._file.do(work)

    async def expire(self, now: float) -> list[str]:
        def work(db: sqlite3.Connection) -> list[str]:
            db.execute("DELETE FROM lost WHERE until <= ?", (now,))
            db.execute("DELETE FROM turns WHERE until <= ?", (now,))
            db.execute("DELETE FROM waiting WHERE asked_at <= ?", (now - ASKS_AGAIN_WITHIN_S,))
            # Whoever created these has died: nobody knows whether they exist upstream.
            given_up = "DELETE FROM sessions WHERE conversation IS NULL AND leased_until <= ?"
            for _ in range(db.execute(given_up, (now,)).rowcount):
                self._lose(db, now)
            for user_id, conversation in db.execute(
                "SELECT user_id, conversation FROM sessions WHERE leased_until <= ? AND conversation IS NOT NULL AND"
                " last_turn_at <= CASE WHEN turns >= 2 THEN ? ELSE ? END",
                (now, now - self._bounds.session_s, now - self._bounds.probation_s),
            ).fetchall():
                self._condemn(db, user_id, conversation, now)
            for table in ("day_keys", "erased"):
                db.execute(f"DELETE FROM {table} WHERE day < ?", ((now - AFTER_MIDNIGHT_S) // DAY_S,))
            due = db.execute(
                "SELECT conversation, tries FROM condemned WHERE due <= ? ORDER BY due LIMIT ?", (now, DELETED_AT_ONCE)
            ).fetchall()
            db.executemany(
                "UPDATE condemned SET tries = tries + 1, due = ? WHERE conversation = ?",
                [(now + rest_s(tries), conversation) for conversation, tries in due],
            )
            return [conversation for conversation, _ in due]

        return await self._file.do(work)

    async def begin_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            gone = (user_id, now - ASKS_AGAIN_WITHIN_S)
            db.execute("DELETE FROM waiting WHERE user_id = ? AND asked_at <= ?", gone)
            next_one = "SELECT holder FROM waiting WHERE user_id = ? ORDER BY ticket LIMIT 1"
            (first,) = db.execute(next_one, (user_id,)).fetchone() or (holder,)
            if first == holder and _take_turn(db, user_id, holder, now, until):
                db.execute("DELETE FROM waiting WHERE user_id = ? AND holder = ?", (user_id, holder))
                return True
            db.execute(
                "INSERT INTO waiting (user_id, holder, asked_at) VALUES (?, ?, ?)"
                " ON CONFLICT (user_id, holder) DO UPDATE SET asked_at = excluded.asked_at",
                (user_id, holder, now),
            )
            return False

        return await self._file.do(work)

    async def keep_turn(self, user_id: str, holder: str, now: float, until: float) -> bool:
        return await self._file.do(lambda db: _take_turn(db, user_id, holder, now, until, or_keep=True))

    async def end_turn(self, user_id: str, holder: str) -> None:
        def work(db: sqlite3.Connection) -> None:
            for table in ("turns", "waiting"):
                db.execute(f"DELETE FROM {table} WHERE user_id = ? AND holder = ?", (user_id, holder))

        await self._file.do(work)

    async def messages(self, conversation: str, most: int) -> list[tuple[str, str]]:
        latest = "SELECT role, text FROM messages WHERE conversation = ? ORDER BY number DESC LIMIT ?"
        return await self._file.do(lambda db: list(reversed(db.execute(latest, (conversation, most)).fetchall())))

    async def add_messages(self, conversation: str, messages: list[tuple[str, str]]) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.executemany(
                "INSERT INTO messages (conversation, role, text) VALUES (?, ?, ?)",
                [(conversation, role, text) for role, text in messages],
            )

        await self._file.do(work)

    async def delete_messages(self, conversation: str) -> None:
        await self._file.run("DELETE FROM messages WHERE conversation = ?", conversation)

    async def spend(
        self,
        day: int,
        user_id: str,
        model: str,
        prompt_tokens: int,
        completion_tokens: int,
        characters: int,
        usd: float,
        erasures: int | None = None,
    ) -> None:
        def work(db: sqlite3.Connection) -> None:
            owner = user_id if erasures is None else self._still_there(db, day, user_id, erasures, usd)
            db.execute(_BOOK, (day, owner, model, prompt_tokens, completion_tokens, characters, usd))
            db.execute(
                "INSERT INTO spend_of_day VALUES (?, ?) ON CONFLICT (day) DO UPDATE SET usd = usd + excluded.usd",
                (day, usd),
            )

        await self._file.do(work)

    def _still_there(self, db: sqlite3.Connection, day: int, user_id: str, erasures: int, usd: float) -> str:
        """Return on whom to book what a turn took: the user, or nobody, as they were erased since it was let in."""
        day_key = db.execute("SELECT key FROM day_keys WHERE day = ?", (day,)).fetchone()
        if day_key is None:  # the day is long over, and nobody can tell any more
            return ""
        name = pseudonym(day_key[0], user_id)
        times = "SELECT times FROM erased WHERE day = ? AND pseudonym = ?"
        (by_now,) = db.execute(times, (day, name)).fetchone() or (0,)
        if by_now == erasures:
            return user_id
        db.execute(_BOOK_ERASED, (day, name, 0, usd))
        return ""

    async def spent(self, day: int, user_id: str) -> Spent:
        if self._today is None or self._today[0] != day:
            self._today = day, await self._file.do(lambda db: _day_key(db, day))
        name = pseudonym(self._today[1], user_id)
        of_user = "SELECT coalesce(sum(usd), 0) FROM spend WHERE day = ? AND user_id = ?"
        of_erased = "FROM erased WHERE day = ? AND pseudonym = ?"
        of_all = "SELECT coalesce(sum(usd), 0) FROM spend_of_day WHERE day = ?"
        row = await self._file.look(
            f"SELECT ({of_user}) + coalesce((SELECT usd {of_erased}), 0), ({of_all}),"
            f" coalesce((SELECT times {of_erased}), 0)",
            *(day, user_id, day, name, day, day, name),
        )
        return Spent(*row)

    async def forget_spender(self, user_id: str, day: int) -> None:
        def work(db: sqlite3.Connection) -> None:
            for one in (day - 1, day):  # a turn of yesterday's may be under way
                usd = "SELECT coalesce(sum(usd), 0) FROM spend WHERE day = ? AND user_id = ?"
                (spent_usd,) = db.execute(usd, (one, user_id)).fetchone()
                db.execute(_BOOK_ERASED, (one, pseudonym(_day_key(db, one), user_id), 1, spent_usd))
            for row in db.execute("SELECT * FROM spend WHERE user_id = ?", (user_id,)).fetchall():
                db.execute(_BOOK, (row[0], "", *row[2:]))
            db.execute("DELETE FROM spend WHERE user_id = ?", (user_id,))

        await self._file.do(work)

    async def scrub(self) -> bool:
        return await self._file.scrub()

    async def close(self) -> None:
        await self._file.close()


def _day_key(db: sqlite3.Connection, day: int) -> bytes:
    db.execute("INSERT OR IGNORE INTO day_keys VALUES (?, ?)", (day, new_day_key()))
    (day_key,) = db.execute("SELECT key FROM day_keys WHERE day = ?", (day,)).fetchone()
    return bytes(day_key)


def _take_turn(
    db: sqlite3.Connection, user_id: str, holder: str, now: float, until: float, *, or_keep: bool = False
) -> bool:
    taken = db.execute(
        "INSERT INTO turns VALUES (?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET holder = excluded.holder,"
        " until = excluded.until WHERE until <= ? OR (? AND holder = excluded.holder)",
        (user_id, holder, until, now, or_keep),
    )
    return taken.rowcount == 1


def open_session_store(where: str, bounds: Bounds) -> SessionStore:
    """Return the store named by `where`: `memory`, `sqlite:PATH`, or the URL of a Redis.

    Raises:
        ValueError: it names no store.
    """
    kind, _, path = where.partition(":")
    if kind in ("redis", "rediss", "unix") and path.startswith("//"):
        # Imported only where it is asked for: the client takes a tenth of a second that every start would pay.
        from reference_agent.redis_session_store import RedisSessionStore

        return RedisSessionStore(where, bounds)
    if kind == "memory" and not path:
        return SqliteSessionStore(None, bounds)
    if kind == "sqlite" and path:
        return SqliteSessionStore(Path(path).expanduser(), bounds)
    msg = f"{where!r} names no store: expected memory, sqlite:PATH, or redis://HOST:PORT/DATABASE"
    raise ValueError(msg)
