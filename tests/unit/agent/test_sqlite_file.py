"""Can a SQLite file be used by everybody at once?"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from reference_agent import sqlite_file
from reference_agent.errors import Unavailable
from reference_agent.sqlite_file import SqliteFile

_SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL);"
_ADD = "INSERT INTO words VALUES (?)"


@pytest.fixture
async def words(tmp_path: Path) -> AsyncIterator[SqliteFile]:
    """Return a file with a table of words."""
    file = SqliteFile("words", tmp_path / "words.sqlite", _SCHEMA, 1)
    yield file
    await file.close()


async def test_no_cursor_leaves_the_files_thread(words: SqliteFile) -> None:
    with pytest.raises(TypeError, match="return the rows, or nothing"):
        await words.do(lambda db: db.execute(_ADD, ("lost",)))
    assert await words.look("SELECT count(*) FROM words") == (0,), "what was refused is not kept, either"


async def test_the_same_statement_from_everywhere_at_once(words: SqliteFile) -> None:
    async def add(writer: int) -> None:
        for number in range(50):
            await words.run(_ADD, f"{writer}-{number}")
            assert await words.look("SELECT 1 FROM words WHERE word = ?", f"{writer}-{number}") == (1,)

    await asyncio.gather(*map(add, range(16)))
    assert await words.look("SELECT count(DISTINCT word) FROM words") == (800,)


async def test_what_was_asked_for_is_done_also_when_nobody_waits_for_it_any_more(words: SqliteFile) -> None:
    await words.run(_ADD, "first")
    may_go_on = threading.Event()
    held = asyncio.create_task(words.do(lambda db: may_go_on.wait(5)))
    given_up = asyncio.create_task(words.run(_ADD, "second"))
    await asyncio.sleep(0)  # both have been handed over
    given_up.cancel()
    may_go_on.set()
    assert await held
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await words.run(_ADD, "third")
    assert await words.look("SELECT group_concat(word) FROM words") == ("first,second,third",)


async def test_nobody_else_on_the_machine_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "words.sqlite"
    file = SqliteFile("words", path, "CREATE TABLE IF NOT EXISTS words (word TEXT);", 1)
    await file.run("INSERT INTO words VALUES ('secret')")
    assert sorted(one.name for one in path.parent.iterdir()) == [f"{path.name}{end}" for end in ("", "-shm", "-wal")]
    assert {one.stat().st_mode & 0o777 for one in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await file.close()


async def test_a_closed_file_says_so(tmp_path: Path) -> None:
    file = SqliteFile("words", tmp_path / "words.sqlite", _SCHEMA, 1)
    await file.run(_ADD, "last")
    await file.close()
    with pytest.raises(RuntimeError, match="words is closed"):
        await file.run(_ADD, "too late")


# --- what was deleted ---


def _traces(path: Path, *words: str) -> list[str]:
    """Return which of the words can be read in the file or its log."""
    raw = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    return [word for word in words if word.encode() in raw]


async def _write_and_delete(file: SqliteFile, seed: int) -> list[str]:
    """Write words of all lengths, delete some of them now and then; return those deleted."""
    draw = random.Random(seed)
    there: list[str] = []
    gone: list[str] = []

    def work(db: sqlite3.Connection) -> None:
        for _ in range(30):
            there.append(f"word-{seed}-{draw.getrandbits(64):016x}")
            db.execute(_ADD, (there[-1] + "." * draw.choice([0, 40, 400, 6000]),))
            if draw.random() < 0.6:
                gone.append(there.pop(draw.randrange(len(there))))
                db.execute("DELETE FROM words WHERE word GLOB ?", (f"{gone[-1]}*",))

    for _ in range(10):
        await file.do(work)
    return gone


@pytest.mark.parametrize("seed", range(10))
async def test_nothing_of_what_was_deleted_can_be_read_after_a_scrub(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "words.sqlite"
    indexed = f"{_SCHEMA} CREATE INDEX IF NOT EXISTS of_words ON words (word);"
    files = [SqliteFile("words", path, indexed, 1) for _ in range(2)]
    await files[1].run(_ADD, "of a replica")
    gone = await _write_and_delete(files[0], seed)
    assert _traces(path, *gone), "the log has it, at least"
    assert await files[0].scrub()
    assert _traces(path, *gone, "of a replica") == ["of a replica"]
    assert await files[1].look("SELECT 1 FROM words WHERE word = 'of a replica'") == (1,), "others go on"
    await files[1].run(_ADD, "another one")
    for file in files:
        await file.close()


async def test_a_file_too_large_to_be_written_anew_is_overwritten_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_WRITTEN_ANEW_BYTES", 0)
    path = tmp_path / "words.sqlite"
    file = SqliteFile("words", path, _SCHEMA, 1)
    gone = await _write_and_delete(file, 1)
    assert await file.scrub()
    assert len(_traces(path, *gone)) <= 2, "but for what was left when rows were moved about"
    await file.close()


async def test_a_scrub_waits_for_nobody_who_reads_for_long_and_says_so(words: SqliteFile, tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    await words.run(_ADD, "secret")
    with closing(sqlite3.connect(path, isolation_level=None)) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT * FROM words").fetchall()
        await words.run("DELETE FROM words")
        assert not await words.scrub()
        assert _traces(path, "secret") == ["secret"]
    assert await words.scrub()
    assert _traces(path, "secret") == []


async def test_scrubs_take_a_tenth_of_the_time_however_many_there_are(words: SqliteFile) -> None:
    took_s: list[float] = []
    scrub = words._scrub

    def measured() -> tuple[bool, float]:
        took_s.append(scrub()[1])
        return True, took_s[-1]

    words._scrub = measured  # type: ignore[method-assign]

    async def write_and_scrub() -> None:
        await words.run(_ADD, "x" * 1000)
        assert await words.scrub()

    begin = time.monotonic()
    for _ in range(4):
        await asyncio.gather(*(write_and_scrub() for _ in range(5)))
    assert sum(seconds > 0 for seconds in took_s) >= 4
    # What the last one owes is still to come.
    assert sum(took_s[:-1]) <= 0.1 * (time.monotonic() - begin)


async def test_nothing_has_to_be_scrubbed_where_nothing_was_written(words: SqliteFile, tmp_path: Path) -> None:
    await words.run(_ADD, "x")
    assert await words.scrub()
    before = (tmp_path / "words.sqlite").stat().st_mtime_ns
    assert await words.scrub()
    assert (tmp_path / "words.sqlite").stat().st_mtime_ns == before


# --- files of an earlier version ---


_SLOW_UPGRADE = """
CREATE TABLE upgraded AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
    SELECT max(i) AS i FROM n;  -- long enough for everybody else to find the old version; it is 'not' done twice
ALTER TABLE words ADD COLUMN language TEXT NOT NULL DEFAULT 'ja; or en';
"""


def _write_old(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE words (word TEXT NOT NULL); INSERT INTO words VALUES ('old');")
        db.executescript("PRAGMA journal_mode = WAL; PRAGMA user_version = 1;")


async def test_replicas_that_start_at_once_upgrade_an_old_file_once(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    _write_old(path)
    replicas = [SqliteFile("words", path, _SCHEMA, 2, {1: _SLOW_UPGRADE}) for _ in range(4)]
    await asyncio.gather(*(replica.run("INSERT INTO words (word) VALUES (?)", "new") for replica in replicas))
    found = "SELECT count(*), group_concat(DISTINCT language), (SELECT count(*) FROM upgraded) FROM words"
    assert await replicas[0].look(found) == (5, "ja; or en", 1)
    assert await replicas[0].look("PRAGMA user_version") == (2,)
    await asyncio.gather(*(replica.close() for replica in replicas))


async def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    _write_old(path)
    before = SqliteFile("words", path, _SCHEMA, 2, {1: "DELETE FROM words; ALTER TABLE missing ADD COLUMN x;"})
    with pytest.raises(Unavailable, match="no such table: missing"):
        await before.run(_ADD, "new")
    await before.close()
    after = SqliteFile("words", path, _SCHEMA, 1)
    assert await after.look("SELECT word FROM words") == ("old",)
    await after.close()


_START = """
import asyncio, sys
from pathlib import Path
from reference_agent.parts.sessions import bounds
from reference_agent.session_store import SqliteSessionStore
from reference_agent.settings import read_settings

async def start() -> None:
    store = SqliteSessionStore(Path(sys.argv[1]), bounds(read_settings({"OPENAI_API_KEY": "any"})[0]))
    print("ready", flush=True)
    sys.stdin.readline()
    print(await store.knows("somebody"), await store.knows("u"), flush=True)
    await store.close()

asyncio.run(start())
"""


def test_processes_that_start_at_once_on_an_old_file_both_come_up(tmp_path: Path) -> None:
    for attempt in range(2):
        path = tmp_path / f"sessions{attempt}.sqlite"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(_SESSIONS_OF_VERSION_2)
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", _START, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.communicate(timeout=60)[0] for process in processes] == ["False True\n"] * 2


_SESSIONS_OF_VERSION_2 = """
CREATE TABLE sessions (
    user_id TEXT PRIMARY KEY, conversation TEXT, said TEXT, turns INTEGER NOT NULL DEFAULT 0,
    protected INTEGER NOT NULL DEFAULT 0, last_turn_at REAL NOT NULL, leased_until REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE condemned (conversation TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
INSERT INTO sessions VALUES ('u', 'c1', NULL, 2, 1, 1000.0, 0.0);
PRAGMA user_version = 2;
"""
