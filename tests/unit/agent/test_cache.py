"""What is said again without asking the model, and what never is?"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agent_stage import HeldClock, KeptLog, settings

from reference_agent.cache_levels import DatabaseLevel, Kept, Level, MemoryLevel, RedisLevel
from reference_agent.caller import CALLER, Caller
from reference_agent.conversation import Lease, Outcome, ToolOutput
from reference_agent.errors import Unavailable
from reference_agent.parts.cache import Cache, DocumentedCache, HardenedCache, ProposedCache, Question
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.persona import DocumentedPersona


class DownLevel:
    """A level that is down."""

    name = "redis"
    answer_s = 5.0
    reach = 2

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, key: str) -> Kept | None:
        self.asked += 1
        raise ConnectionError

    async def put(self, key: str, kept: Kept, now: float) -> None:
        raise ConnectionError

    async def forget(self, owner: str) -> None:
        raise ConnectionError

    async def epoch(self, owner: str) -> str:
        raise ConnectionError

    async def begin_epoch(self, owner: str) -> None:
        raise ConnectionError

    async def close(self) -> None:
        pass


class Talk:
    """People who ask, a model that answers, and a cache between them."""

    def __init__(self, cache: Callable[..., Cache], *shared: Level, clock: HeldClock | None = None) -> None:
        self.clock = clock or HeldClock()
        self.log = KeptLog()
        self.memory = MemoryLevel(300.0, 100)
        levels: list[Level] = [self.memory, *shared]
        self.cache: Cache
        if cache is HardenedCache:
            persona = DocumentedPersona(settings(), DocumentedLocale())
            self.cache = HardenedCache(settings(), self.clock, levels, persona, self.log, DocumentedMetrics())
        else:
            self.cache = cache() if cache is DocumentedCache else cache(self.clock, levels, self.log)
        self.generated: list[str] = []
        self.remembered: list[tuple[str, str]] = []
        self.leases: dict[str, Lease] = {}
        self.upstream_failure: Exception | None = None

    async def ask(
        self,
        user: str,
        text: str,
        model: Callable[[str], Any] = lambda text: Outcome(f"{text}だにゃん"),
        language: str = "ja",
    ) -> str:
        """Return what the user is told; `model` makes an outcome of the text, at once or later."""
        lease = self.leases.setdefault(user, Lease(f"conversation of {user}", ""))

        async def generate() -> Outcome:
            self.generated.append(text)
            outcome = model(text)
            return await outcome if isinstance(outcome, Awaitable) else outcome

        async def remember(reply: str) -> None:
            if self.upstream_failure is not None:
                raise self.upstream_failure
            self.remembered.append((lease.conversation, reply))

        question = Question(user, text, Caller(language), self.clock.deadline())  # type: ignore[arg-type]
        return (await self.cache.reply(question, lease, generate, remember)).reply

    async def with_tool(self, name: str, said: str, keeps_s: float, arguments: dict[str, Any] | None = None) -> Outcome:
        """Return what the model makes of one tool."""

        async def run() -> str:
            self.generated.append(name)
            return said

        text = await self.cache.tool(name, arguments or {}, keeps_s, self.clock.deadline(), run)
        return Outcome(f"{text}だにゃん", [ToolOutput("call_1", name, text)])


async def test_documented_one_asks_every_time() -> None:
    talk = Talk(DocumentedCache)
    for _ in range(2):
        assert await talk.ask("u", "猫とは") == "猫とはだにゃん"
        await talk.with_tool("get_weather", "晴れ", 300)
    assert talk.generated == ["猫とは", "get_weather"] * 2
    assert talk.leases["u"].said is None


# --- as proposed: holes ---


def _proposed(*shared: Level, clock: HeldClock | None = None) -> Talk:
    return Talk(ProposedCache, *(shared or (DatabaseLevel(None, 1e12, 100),)), clock=clock)


async def test_proposed_one_tells_the_time_of_four_minutes_ago() -> None:
    talk = _proposed()
    assert await talk.ask("u", "今何時", lambda _: Outcome("正午")) == "正午"
    talk.clock.time += 240
    assert await talk.ask("u", "今何時", lambda _: Outcome("正午四分")) == "正午"
    await talk.cache.close()


async def test_proposed_one_does_not_notice_that_something_else_was_said() -> None:
    talk = _proposed()
    assert await talk.ask("u", "名前は？", lambda _: Outcome("知らないにゃん")) == "知らないにゃん"
    await talk.ask("u", "太郎です")
    assert await talk.ask("u", "名前は？", lambda _: Outcome("太郎にゃん")) == "知らないにゃん"
    assert talk.remembered == [], "and the conversation does not know that it was asked again"
    await talk.cache.close()


async def test_proposed_one_keeps_what_an_erased_user_was_told_for_good() -> None:
    talk = _proposed()
    await talk.ask("u", "名前は？", lambda _: Outcome("太郎にゃん"))
    assert await talk.cache.erase("u") == []
    talk.clock.time += 365 * 86400
    assert await talk.ask("u", "名前は？", lambda _: Outcome("知らないにゃん")) == "太郎にゃん"
    await talk.cache.close()


async def test_proposed_one_works_out_fifty_times_what_is_asked_fifty_times_at_once() -> None:
    talk = _proposed()

    async def later(text: str) -> Outcome:
        await asyncio.sleep(0)
        return Outcome(text)

    await asyncio.gather(*(talk.ask("u", "猫とは", lambda text: later(text)) for _ in range(50)))
    assert len(talk.generated) == 50
    await talk.cache.close()


async def test_proposed_one_keeps_in_mind_that_the_levels_below_have_nothing() -> None:
    shared, clock = DatabaseLevel(None, 1e12, 100), HeldClock()
    here, there = _proposed(shared, clock=clock), _proposed(shared, clock=clock)

    def fail(text: str) -> Outcome:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await there.ask("u", "猫とは", fail)
    await here.ask("u", "猫とは")
    await there.ask("u", "猫とは")
    assert len(there.generated) == 2, "the other replica has kept it, and it is not found"
    clock.time += 301
    await there.ask("u", "猫とは")
    assert len(there.generated) == 2
    await shared.close()


# --- hardened: replies ---


def _hardened(*shared: Level, clock: HeldClock | None = None) -> Talk:
    return Talk(HardenedCache, *shared, clock=clock)


async def test_hardened_one_says_to_somebody_new_what_somebody_new_was_told() -> None:
    talk = _hardened()
    for user in "uvw":
        assert await talk.ask(user, "猫とは") == "猫とはだにゃん"
    assert talk.generated == ["猫とは"]
    assert talk.remembered == [
        ("conversation of v", "猫とはだにゃん"),
        ("conversation of w", "猫とはだにゃん"),
    ], "so that it can be talked about"


async def test_hardened_one_says_again_what_is_asked_again_and_nothing_else_was_said() -> None:
    talk = _hardened()
    for _ in range(3):
        await talk.ask("u", "猫とは")
    assert talk.generated == ["猫とは"]
    assert talk.remembered == [], "the conversation holds it already"


async def test_hardened_one_asks_the_model_where_something_else_was_said() -> None:
    talk = _hardened()
    await talk.ask("u", "猫とは")
    await talk.ask("v", "犬の話をして")
    await talk.ask("v", "猫とは")
    assert talk.generated == ["猫とは", "犬の話をして", "猫とは"]
    assert talk.leases["v"].said is None
    await talk.ask("v", "猫とは")
    assert len(talk.generated) == 4, "what was said before cannot be unsaid"


@pytest.mark.parametrize(
    "text",
    [
        "私は東京に住んでいる",
        "What did I just say?",
        "내 이름은 민수야",
        "電話は090-1234-5678",
        "a@example.com",
        "I'm Hans",
        "Ich heisse Hans, und du?",
        "Das ist mein Hund, wie alt wird er?",
        "Je m'appelle Jean",
        "J’ai trente ans",
        "Qui est M. Dupont, notre voisin ?",
        "Soy Juan",
        "¿Y a mí?",
        "Me llamo Ana",
        "Tengo treinta años",
    ],
)
async def test_hardened_one_keeps_nothing_that_people_say_of_themselves(text: str) -> None:
    talk = _hardened()
    for user in "uv":
        await talk.ask(user, text)
    assert len(talk.generated) == 2


async def test_hardened_one_tells_languages_apart() -> None:
    talk = _hardened()
    await talk.ask("u", "OK?", language="ja")
    await talk.ask("v", "OK?", language="en")
    assert len(talk.generated) == 2


async def test_hardened_one_keeps_nothing_that_was_said_in_the_models_place() -> None:
    talk = _hardened()
    for user in "uv":
        await talk.ask(user, "猫とは", lambda _: Outcome("聞いているよ", repeatable=False))
    assert len(talk.generated) == 2


async def test_hardened_one_keeps_a_reply_as_long_as_what_it_was_made_of() -> None:
    talk = _hardened()
    for user, passed_s in (("u", 0), ("v", 299), ("w", 2)):
        talk.clock.time += passed_s
        await talk.ask(user, "大阪の天気は", lambda _: talk.with_tool("get_weather", "晴れ", 300))
    assert talk.generated == ["大阪の天気は", "get_weather"] * 2, "v is told, w asks anew"


@pytest.mark.parametrize(
    "text", ["Wie wird das Wetter im Sommer?", "Qu'est-ce qu'un chat ?", "¿Qué es un gato?", "What is a cat?"]
)
async def test_hardened_one_keeps_what_everybody_asks(text: str) -> None:
    talk = _hardened()
    for user in "uv":
        await talk.ask(user, text)
    assert talk.generated == [text]


async def test_hardened_one_tells_no_fortune_of_yesterday_in_nobodys_time_zone() -> None:
    """Midnight comes to Tokyo at 15:00 UTC, and to Berlin at 23:00."""
    talk = _hardened()
    noon = datetime(2025, 1, 31, 12, tzinfo=UTC).timestamp()
    told: list[str] = []

    async def tell(zone: str, at_s: float, fortune: str) -> None:
        talk.clock.time = noon + at_s
        token = CALLER.set(Caller("de", zone))
        told.append((await talk.with_tool("get_fortune", fortune, 300)).outputs[0].text)
        CALLER.reset(token)

    before, after = 3 * 3600 - 60, 3 * 3600 + 60
    await tell("Asia/Tokyo", before, "Friday in Tokyo")
    await tell("Europe/Berlin", before, "Friday there as well")
    await tell("Asia/Tokyo", after, "Saturday in Tokyo")
    await tell("Europe/Berlin", after, "Friday in Berlin")
    assert told == ["Friday in Tokyo", "Friday in Tokyo", "Saturday in Tokyo", "Friday in Berlin"]


async def test_hardened_one_makes_no_reply_of_today_last_beyond_midnight() -> None:
    talk = _hardened()
    midnight = datetime(2025, 1, 31, 15, tzinfo=UTC).timestamp()
    for user, at in (("u", midnight - 60), ("v", midnight - 1), ("w", midnight + 1)):
        talk.clock.time = at
        await talk.ask(user, "今日の運勢は", lambda _: talk.with_tool("get_fortune", "大吉", 300))
    assert talk.generated == ["今日の運勢は", "get_fortune"] * 2, "v is told, w asks anew"


async def test_hardened_one_never_tells_the_time_from_memory() -> None:
    talk = _hardened()
    for user in "uv":
        await talk.ask(user, "今何時", lambda _: talk.with_tool("get_time", "正午", 0))
    assert talk.generated == ["今何時", "get_time"] * 2


async def test_hardened_one_keeps_no_reply_that_was_made_of_a_failed_tool() -> None:
    talk = _hardened()
    stand_in = ToolOutput("call_1", "get_weather", "天気情報は現在利用できませんにゃん")
    for user in "uv":
        await talk.ask(user, "天気は", lambda _: Outcome("わからないにゃん", [stand_in]))
    assert len(talk.generated) == 2


async def test_hardened_one_answers_although_the_upstream_is_down() -> None:
    talk = _hardened()
    await talk.ask("u", "猫とは")
    talk.upstream_failure = Unavailable("openai", "down", never_arrived=True)
    assert await talk.ask("v", "猫とは") == "猫とはだにゃん"
    assert talk.leases["v"].said == "", "nothing was said in it, as far as the upstream knows"
    talk.upstream_failure = Unavailable("openai", "cut", never_arrived=False)
    await talk.ask("v", "猫とは")
    assert talk.leases["v"].said is None
    assert talk.log.events == ["answer_not_remembered"] * 2


# --- hardened: at once ---


async def test_hardened_one_works_out_once_what_is_asked_fifty_times_at_once() -> None:
    talk = _hardened()

    async def later(text: str) -> Outcome:
        for _ in range(5):
            await asyncio.sleep(0)
        return Outcome(text)

    replies = await asyncio.gather(*(talk.ask(f"u{i}", "猫とは", lambda text: later(text)) for i in range(50)))
    assert replies == ["猫とは"] * 50
    assert talk.generated == ["猫とは"]
    assert len(talk.remembered) == 49


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_hardened_one_lets_the_next_one_try_when_the_first_one_fails(hangs_up: bool) -> None:
    talk = _hardened()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fail(text: str) -> Outcome:
        begun.set()
        await go_on.wait()
        raise ConnectionError

    first = asyncio.create_task(talk.ask("u", "猫とは", lambda text: fail(text)))
    await begun.wait()
    others = [asyncio.create_task(talk.ask(f"v{i}", "猫とは")) for i in range(10)]
    await asyncio.sleep(0)
    if hangs_up:
        first.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError if hangs_up else ConnectionError):
        await first
    assert set(await asyncio.gather(*others)) == {"猫とはだにゃん"}
    assert len(talk.generated) == 2


async def test_hardened_one_lets_nobody_wait_for_what_cannot_be_shared() -> None:
    talk = _hardened()
    under_way, most = 0, 0

    async def the_time(text: str) -> Outcome:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return await talk.with_tool("get_time", "正午", 0)

    await asyncio.gather(*(talk.ask(f"u{i}", "今何時", lambda text: the_time(text)) for i in range(20)))
    assert talk.generated.count("今何時") == 20
    assert most == 19, "the first one by itself, then everybody else together"


# --- hardened: tools ---


async def test_hardened_one_asks_a_tool_once_for_all_who_want_to_know_the_same() -> None:
    talk = _hardened()
    await asyncio.gather(*(talk.with_tool("get_weather", "晴れ", 300, {"city": "Osaka"}) for _ in range(10)))
    assert talk.generated == ["get_weather"]
    await talk.with_tool("get_weather", "雨", 300, {"city": "Tokyo"})
    assert len(talk.generated) == 2
    CALLER.set(Caller("ko"))
    assert (await talk.with_tool("get_weather", "맑음", 300, {"city": "Osaka"})).reply == "맑음だにゃん"
    CALLER.set(Caller())
    talk.clock.time += 301
    assert (await talk.with_tool("get_weather", "曇り", 300, {"city": "Osaka"})).reply == "曇りだにゃん"


async def test_hardened_one_keeps_no_failure_of_a_tool() -> None:
    talk = _hardened()

    async def fail() -> str:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await talk.cache.tool("get_weather", {}, 300, talk.clock.deadline(), fail)
    assert (await talk.with_tool("get_weather", "晴れ", 300)).reply == "晴れだにゃん"


# --- hardened: levels ---


async def test_hardened_one_finds_after_a_restart_what_is_in_the_database(tmp_path: Path) -> None:
    before = _hardened(DatabaseLevel(tmp_path / "new" / "cache.sqlite", 86400, 100))
    await before.ask("u", "猫とは")
    await before.cache.close()
    after = _hardened(DatabaseLevel(tmp_path / "new" / "cache.sqlite", 86400, 100))
    assert await after.ask("v", "猫とは") == "猫とはだにゃん"
    assert after.generated == []
    assert [key async for key, _ in after.memory._cache.get_match("*")], "it is nearer now"
    after.clock.time += 86401
    await after.ask("w", "猫とは")
    assert after.generated == ["猫とは"]
    await after.cache.close()


async def test_hardened_one_forgets_on_erasure_in_every_level() -> None:
    database = DatabaseLevel(None, 86400, 100)
    talk = _hardened(database)
    await talk.ask("u", "猫とは")
    await talk.ask("v", "犬とは")
    assert await talk.cache.erase("u") == []
    await talk.ask("w", "猫とは")
    await talk.ask("x", "犬とは")
    assert talk.generated == ["猫とは", "犬とは", "猫とは"]
    await talk.cache.close()


@pytest.mark.parametrize("shared_by", ["a file", "redis"])
async def test_hardened_one_tells_nothing_of_who_was_erased_at_another_replica(
    shared_by: str, tmp_path: Path, redis_url: str
) -> None:
    def level() -> Level:
        if shared_by == "redis":
            return RedisLevel(redis_url, 3600, 30.0)
        return DatabaseLevel(tmp_path / "cache.sqlite", 86400, 100)

    here, there = _hardened(level()), _hardened(level())
    await here.ask("u", "猫とは")
    await here.ask("another", "犬とは")
    for question in ("猫とは", "犬とは"):
        await there.ask("v", question)
        there.leases.clear()
    assert there.generated == [], "both are in its own memory now"
    assert await here.cache.erase("u") == []
    await there.ask("w", "猫とは")
    assert there.generated == ["猫とは"], "worked out again, at once"
    there.leases.clear()
    await there.ask("x", "犬とは")
    assert there.generated == ["猫とは"], "and what is another's is still there"
    await there.ask("y", "猫とは")
    assert there.generated == ["猫とは"], "so is the new answer"
    for talk in (here, there):
        await talk.cache.close()


async def test_memory_in_which_entries_have_expired_forgets_what_is_an_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing sweeps: they are there until somebody looks, and the erasure is who looks."""
    talk = _hardened()
    for i in range(30):
        await talk.memory.put(str(i), Kept("x", 2000.0, "somebody"), 1000.0)
    later = time.time() + 301.0
    monkeypatch.setattr("cashews.backends.memory.time", SimpleNamespace(time=lambda: later))
    await talk.ask("u", "猫とは")
    assert await talk.cache.erase("u") == []
    assert [found async for found in talk.memory._cache.get_match("*")] == []
    await talk.ask("u", "猫とは")
    assert talk.generated == ["猫とは", "猫とは"]


async def test_hardened_one_tells_nothing_that_was_on_its_way_between_levels_when_it_was_erased() -> None:
    """The database has it, Redis does not any more; in between comes the erasure."""
    database, nearer = DatabaseLevel(None, 86400, 100), MemoryLevel(300, 100)
    talk = _hardened(nearer, database)
    await talk.ask("u", "猫とは")
    ((key, kept),) = [found async for found in nearer._cache.get_match("*")]
    assert await talk.cache.erase("u") == []
    await nearer.put(key, kept, talk.clock.wall())
    await talk.ask("v", "猫とは")
    assert talk.generated == ["猫とは", "猫とは"]
    await talk.cache.close()


async def test_hardened_one_tells_nobodys_answer_while_nobody_knows_who_was_erased() -> None:
    class Shared(DownLevel):
        up = True

        async def get(self, key: str) -> Kept | None:
            return None

        async def put(self, key: str, kept: Kept, now: float) -> None:
            pass

        async def epoch(self, owner: str) -> str:
            if not self.up:
                raise ConnectionError
            return "1"

    shared = Shared()
    talk = _hardened(shared)
    await talk.ask("u", "猫とは")
    await talk.ask("v", "猫とは")
    assert talk.generated == ["猫とは"]
    shared.up = False
    await talk.ask("w", "猫とは")
    assert talk.generated == ["猫とは", "猫とは"]
    assert await talk.with_tool("get_weather", "晴れ", 60.0) == await talk.with_tool("get_weather", "雨", 60.0)
    await talk.cache.close()


async def test_a_file_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "cache.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(
            "CREATE TABLE kept (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE NOT NULL,"
            " text TEXT NOT NULL, until REAL NOT NULL, owner TEXT NOT NULL); PRAGMA user_version = 1;"
            "INSERT INTO kept VALUES (1, 'tool', '晴れ', 9000, ''), (2, 'reply', '猫', 9000, 'abc');"
        )
    level = DatabaseLevel(path, 86400, 100)
    assert await level.get("tool") == Kept("晴れ", 9000.0)
    assert await level.get("reply") is None
    first = await level.epoch("abc")
    assert await level.epoch("abc1") == first != await level.epoch("def")
    await level.begin_epoch("abc2")
    assert await level.epoch("abc") != first
    await level.close()


async def test_hardened_one_does_without_a_level_that_is_down_and_leaves_it_alone() -> None:
    down, database = DownLevel(), DatabaseLevel(None, 86400, 100)
    talk = _hardened(down, database)
    for user in "uvw":
        assert await talk.ask(user, f"{user}とは") == f"{user}とはだにゃん"
    assert down.asked == 1
    assert talk.log.events == ["cache_level_down"]
    talk.clock.time += 1.1
    await talk.ask("x", "xとは")
    assert down.asked == 2
    assert await talk.cache.erase("u") == ["cache"], "nobody knows what is there"
    await talk.cache.close()


async def test_levels_are_bounded() -> None:
    memory, database = MemoryLevel(300, 10), DatabaseLevel(None, 86400, 10)
    for level in (memory, database):
        for i in range(30):
            await level.put(str(i), Kept("x", 2000.0), 1000.0)
        found = [i for i in range(30) if await level.get(str(i))]
        assert found == list(range(20, 30))
    await database.put("new", Kept("x", 9000.0), 5000.0)
    assert await database._file.do(lambda db: db.execute("SELECT count(*) FROM kept").fetchone()) == (1,), "expired"
    await database.close()
