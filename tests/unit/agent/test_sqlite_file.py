"""Can a SQLite file be used by everybody at once?"""

from __future__ import annotations

import asyncio
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
