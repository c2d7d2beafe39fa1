"""Can a SQLite file be used by everybody at once?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

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


async def test_a_closed_file_says_so(tmp_path: Path) -> None:
    file = SqliteFile("words", tmp_path / "words.sqlite", _SCHEMA, 1)
    await file.run(_ADD, "last")
    await file.close()
    with pytest.raises(RuntimeError, match="words is closed"):
        await file.run(_ADD, "too late")
