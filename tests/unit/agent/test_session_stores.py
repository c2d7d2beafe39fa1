"""Does every session store keep the same promises: in memory, in a SQLite file, in a real Redis?"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from reference_agent.redis_session_store import RedisSessionStore
from reference_agent.session_store import (
    AFTER_MIDNIGHT_S,
    ASKS_AGAIN_WITHIN_S,
    DAY_S,
    DELETED_AT_ONCE,
    BeingCreated,
    Bounds,
    Full,
    Known,
    MustCreate,
    MustDelete,
    SessionStore,
    SqliteSessionStore,
    open_session_store,
)

BOUNDS = Bounds(places=4, protected=3, lost=2, lost_s=60.0, probation_s=600.0, session_s=86400.0)
NOW = 1_700_000_000.0


class Stores:
    """Opens a store once more, as another replica does; memory has no other replica."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._opened: list[SessionStore] = []

    def __call__(self, **bounds: float) -> SessionStore:
        if self._where == "memory" and self._opened:
            return self._opened[0]
        self._opened.append(open_session_store(self._where, replace(BOUNDS, **bounds)))
        return self._opened[-1]

    async def close(self, store: SessionStore) -> None:
        self._opened.remove(store)
        await store.close()

    async def close_all(self) -> None:
        for store in tuple(self._opened):
            await self.close(store)


@pytest.fixture(params=["memory", "sqlite", "redis"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """Return what opens one of the stores, as often as one likes."""
    match request.param:
        case "redis":
            where = request.getfixturevalue("redis_url")
        case "sqlite":
            where = f"sqlite:{tmp_path / 'sessions.sqlite'}"
        case _:
            where = "memory"
    stores = Stores(where)
    yield stores
    await stores.close_all()


async def turn(store: SessionStore, user: str, now: float, said: str | None = None) -> str:
    """Take one turn, as the sessions do; return the conversation."""
    while True:
        match await store.claim(user, now, now + 10):
            case MustCreate():
                await store.created(user, f"of {user}")
            case MustDelete(conversation):
                await store.forget(conversation)
            case Known(conversation):
                await store.ended(user, now, had_a_turn=True, said=said)
                return conversation
            case other:
                pytest.fail(f"{user}: {other}")


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_a_place_is_taken_a_conversation_created_and_known_to_every_replica(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    assert not await here.knows("u")
    assert await here.claim("u", NOW, NOW + 10) == MustCreate()
    assert await there.claim("u", NOW + 1, NOW + 11) == BeingCreated()
    assert not await there.knows("u"), "it is not there yet"
    await here.created("u", "c1")
    assert await there.claim("u", NOW + 2, NOW + 12) == Known("c1", "")
    assert await there.knows("u")


@pytest.mark.parametrize(
    "user", ["", "안녕하세요😀こんにちは🇰🇷", "{x}:y", "a b\nc\t*?[", "once", "session:u", "x" * 200]
)
async def test_any_user_id_will_do(open_store: Stores, user: str) -> None:
    store = open_store()
    assert await turn(store, user, NOW, "a key") == f"of {user}"
    assert await store.claim(user, NOW, NOW + 10) == Known(f"of {user}", "a key")
    assert not await store.knows(f"{user}x")


async def test_a_user_has_one_creation_however_many_replicas_ask(open_store: Stores) -> None:
    stores = [open_store() for _ in range(4)]
    claims = await asyncio.gather(*(store.claim("u", NOW, NOW + 10) for store in stores for _ in range(5)))
    assert sorted(type(claim).__name__ for claim in claims) == ["BeingCreated"] * 19 + ["MustCreate"]


async def test_what_was_said_is_known_between_turns_and_not_during_one(open_store: Stores) -> None:
    store = open_store()
    for said in ("", "a key", None, "another"):
        await turn(store, "u", NOW, said)
        assert await store.claim("u", NOW, NOW + 10) == Known("of u", said)
        assert await store.claim("u", NOW, NOW + 10) == Known("of u", None), "a turn is under way"
        await store.ended("u", NOW, had_a_turn=False)


async def test_there_are_never_more_than_there_are_places_however_many_replicas_fill_them(open_store: Stores) -> None:
    stores = [open_store() for _ in range(3)]
    claims = await asyncio.gather(*(stores[i % 3].claim(f"u{i}", NOW, NOW + 10) for i in range(30)))
    assert claims.count(MustCreate()) == BOUNDS.places
    assert claims.count(Full()) == 30 - BOUNDS.places


async def test_the_one_that_was_quiet_for_longest_makes_room_and_keeps_its_place_until_it_is_deleted(
    open_store: Stores,
) -> None:
    store = open_store()
    for i in range(4):
        await turn(store, f"u{i}", NOW + i)
    assert await store.claim("u0", NOW + 5, NOW + 50) == Known("of u0", None), "it is in use now"
    assert await store.claim("new", NOW + 10, NOW + 20) == MustDelete("of u1")
    assert not await store.knows("u1")
    assert await store.claim("newer", NOW + 10, NOW + 20) == MustDelete("of u2"), "u1's place is not free yet"
    await store.forget("of u1")
    assert await store.claim("new", NOW + 11, NOW + 21) == MustCreate()
    assert [user for user in ("u0", "u3") if await store.knows(user)] == ["u0", "u3"]


async def test_whoever_came_back_is_protected_and_the_one_quiet_for_longest_no_more(open_store: Stores) -> None:
    store = open_store()
    for i in range(4):
        for again in range(2):
            await turn(store, f"u{i}", NOW + 10 * i + again)
    # Three of four places can be protected: u0 was demoted, u1 to u3 are safe from everybody.
    for i in range(5):
        await turn(store, f"attacker_{i}", NOW + 50 + i)
    known = [user for user in ("u0", "u1", "u2", "u3") if await store.knows(user)]
    assert known == ["u1", "u2", "u3"]
    assert await turn(store, "u1", NOW + 60) == "of u1"


async def test_who_has_talked_for_longer_is_not_pushed_out_by_those_who_come_twice(open_store: Stores) -> None:
    store = open_store()
    for at in (0, 5, 10):
        for user in ("u0", "u1", "u2"):
            await turn(store, user, NOW + at)
    for i in range(10):
        for again in range(2):
            await turn(store, f"attacker_{i}", NOW + 20 + i + again / 10)
    assert [user for user in ("u0", "u1", "u2") if await store.knows(user)] == ["u0", "u1", "u2"]
    # What was earned runs out: ten seconds of talk are worth a hundred.
    for again in range(2):
        await turn(store, "late", NOW + 115 + again)
    await turn(store, "later", NOW + 120)
    assert [user for user in ("u0", "u1", "u2", "late") if await store.knows(user)] == ["u1", "u2", "late"]


async def test_one_who_was_demoted_is_protected_again_after_a_turn(open_store: Stores) -> None:
    store = open_store(protected=1)
    for user, at in (("a", 0), ("a", 1), ("b", 2), ("b", 3), ("a", 4), ("c", 5), ("c", 6), ("a", 7)):
        await turn(store, user, NOW + at)
    for i in range(10):
        await turn(store, f"attacker_{i}", NOW + 20 + i)
    assert [user for user in "abc" if await store.knows(user)] == ["a"]


async def test_a_life_counts_from_the_last_turn_and_is_short_for_those_seen_once(open_store: Stores) -> None:
    store = open_store()
    await turn(store, "once", NOW)
    for _ in range(2):
        await turn(store, "back", NOW)
    assert await store.expire(NOW + 599) == []
    assert await store.expire(NOW + 601) == ["of once"], "at once: nobody else is deleting it"
    await turn(store, "back", NOW + 80_000)
    assert await store.expire(NOW + 90_000) == ["of once"], "until it is deleted"
    await store.forget("of once")
    assert await store.knows("back")
    assert await store.expire(NOW + 80_000 + 86_401) == ["of back"]
    assert not await store.knows("back")


async def test_what_is_in_use_does_not_expire(open_store: Stores) -> None:
    store = open_store()
    await turn(store, "u", NOW)
    await store.claim("u", NOW + 595, NOW + 605)
    assert await store.expire(NOW + 601) == []
    assert await store.expire(NOW + 606) == ["of u"]


async def test_what_somebody_is_just_deleting_is_left_to_them_for_a_while(open_store: Stores) -> None:
    store = open_store()
    await turn(store, "u", NOW)
    assert await store.condemn("u", NOW) == (["of u"], False)
    assert await store.condemn("nobody", NOW) == ([], False)
    assert await store.expire(NOW + 4) == []
    assert await store.expire(NOW + 5) == ["of u"]
    await store.forget("of u")
    assert await store.expire(NOW + 100) == []


@pytest.mark.parametrize("why", ["erased", "expired", "evicted", "created too late"])
async def test_whose_a_condemned_conversation_was_is_known_until_it_is_deleted(open_store: Stores, why: str) -> None:
    here, there = open_store(), open_store()
    match why:
        case "erased":
            await turn(here, "u", NOW)
            await here.condemn("u", NOW)
        case "expired":
            await turn(here, "u", NOW)
            assert await here.expire(NOW + 601) == ["of u"]
        case "evicted":
            for user in ("u", "v", "w", "x"):
                await turn(here, user, NOW)
            assert await here.claim("new", NOW, NOW + 10) == MustDelete("of u")
        case _:
            assert await here.claim("u", NOW, NOW + 10) == MustCreate()
            await here.not_created("u", None)
            await here.created("u", "of u")
    assert not await there.knows("u")
    for _ in range(2):
        assert await there.condemn("u", NOW + 700) == (["of u"], False)
    assert await turn(there, "u", NOW + 700) == "of u", "the name is the same; the conversation is another one"
    await here.forget("of u")
    assert await there.condemn("u", NOW + 700) == ([], False)


async def test_what_is_being_created_is_condemned_as_soon_as_it_is_there(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    assert await here.claim("u", NOW, NOW + 10) == MustCreate()
    assert await there.condemn("u", NOW + 1) == ([], True), "nobody knows its name yet"
    assert await there.claim("u", NOW + 1, NOW + 11) == BeingCreated(), "and nothing was done about it"
    await there.not_created("u", NOW + 1)
    assert await there.condemn("u", NOW + 2) == ([], False)
    await here.created("u", "c1")
    assert not await there.knows("u")
    assert await there.condemn("u", NOW + 2) == (["c1"], False), "it is known whose it was"
    assert await there.expire(NOW + 2) == ["c1"]


async def test_a_creation_whose_replica_has_died_is_condemned_at_once(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    for user in "uvwx":
        assert await here.claim(user, NOW, NOW + 10) == MustCreate()
    assert await there.condemn("u", NOW + 11) == ([], False)
    assert await there.claim("new", NOW + 11, NOW + 21) == Full(), (
        "it may exist upstream: its place is kept for a while"
    )
    await there.expire(NOW + 11 + BOUNDS.lost_s)
    assert await there.claim("new", NOW + 11 + BOUNDS.lost_s, NOW + 99) == MustCreate()


async def test_what_cannot_be_deleted_rests_longer_each_time_and_lets_the_others_go_first(open_store: Stores) -> None:
    here, there = open_store(places=100), open_store(places=100)
    for i in range(DELETED_AT_ONCE + 5):
        await turn(here, f"u{i}", NOW)
    first = await here.expire(NOW + 601)
    assert len(first) == DELETED_AT_ONCE
    others = await there.expire(NOW + 601)
    assert len(others) == 5
    assert not set(first) & set(others), "each is one replica's at a time"
    assert await there.expire(NOW + 601) == []
    for conversation in first[1:] + others:
        await here.forget(conversation)
    at, tried_at = 601.0, []
    while len(tried_at) < 7:
        at += 1
        if await there.expire(NOW + at):
            tried_at.append(at)
    assert [later - earlier for earlier, later in pairwise([601.0, *tried_at])] == [5, 10, 20, 40, 60, 60, 60]


async def test_a_conversation_that_is_gone_upstream_frees_its_place(open_store: Stores) -> None:
    store = open_store()
    await turn(store, "u", NOW)
    await store.forget("of u")
    assert not await store.knows("u")
    assert await store.claim("u", NOW, NOW + 10) == MustCreate()


async def test_a_creation_that_failed_frees_its_place_and_a_lost_one_only_later(open_store: Stores) -> None:
    store = open_store()

    async def free() -> int:
        found = 0
        while await store.claim(f"probe_{found}", NOW, NOW + 10) == MustCreate():
            found += 1
        for i in range(found):
            await store.not_created(f"probe_{i}", None)
        return found

    assert await free() == 4
    for i in range(3):
        assert await store.claim(f"u{i}", NOW, NOW + 10) == MustCreate()
        await store.not_created(f"u{i}", NOW + i)
    assert await free() == 2, "no more than two can be lost"
    await store.expire(NOW + 61.5)
    assert await free() == 3
    await store.expire(NOW + 62.5)
    assert await free() == 4


async def test_the_creation_of_a_replica_that_died_is_taken_over_or_lost(open_store: Stores) -> None:
    store = open_store()
    assert await store.claim("u", NOW, NOW + 10) == MustCreate()
    assert await store.claim("u", NOW + 9, NOW + 19) == BeingCreated()
    assert await store.claim("u", NOW + 11, NOW + 21) == MustCreate()
    assert await store.claim("v", NOW + 11, NOW + 21) == MustCreate()
    await store.created("v", "of v")
    assert await store.expire(NOW + 20) == []
    assert await store.claim("u", NOW + 20, NOW + 30) == BeingCreated()
    await store.expire(NOW + 22)
    assert [await store.claim(f"w{i}", NOW + 22, NOW + 32) for i in range(3)] == [
        MustCreate(),
        MustCreate(),
        MustDelete("of v"),
    ], "u's creation may have succeeded after all: its place is kept for a minute"
    await store.created("u", "too late")
    assert "too late" in await store.expire(NOW + 23), "nobody would ever find it"


async def test_whoever_gives_up_waiting_does_not_end_somebody_elses_creation(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    assert await here.claim("u", NOW, NOW + 10) == MustCreate()
    await there.ended("u", NOW + 1, had_a_turn=False)
    assert await there.claim("u", NOW + 2, NOW + 12) == BeingCreated()


async def test_everything_survives_the_replica_that_wrote_it(open_store: Stores) -> None:
    first = open_store()
    await turn(first, "u", NOW, "a key")
    await first.add_messages("c", [("user", "こんにちは😀")])
    await first.spend(1, "u", "gpt-4o", 10, 5, 0, 0.25)
    second = open_store()
    if second is not first:  # memory lives as long as its process
        await open_store.close(first)
    assert await second.claim("u", NOW, NOW + 10) == Known("of u", "a key")
    assert await second.messages("c", 9) == [("user", "こんにちは😀")]
    assert await second.spent(1, "u") == (0.25, 0.25, 0)


# --- turns ----------------------------------------------------------------------------------------------------------


async def test_a_turn_is_one_holders_until_it_is_given_back(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    now = time.time()
    assert await here.begin_turn("u", "a", now, now + 60)
    assert not await there.begin_turn("u", "b", now, now + 60)
    assert await there.begin_turn("v", "b", now, now + 60), "somebody else's turn"
    await there.end_turn("u", "b")
    assert not await there.begin_turn("u", "c", now, now + 60), "it was not b's to give back"
    await here.end_turn("u", "a")
    assert await there.begin_turn("u", "c", now, now + 60)


async def test_turns_come_in_the_order_in_which_they_were_asked_for(open_store: Stores) -> None:
    stores = [open_store() for _ in range(2)]
    now = time.time()
    assert await stores[0].begin_turn("u", "h0", now, now + 60)
    for i in range(1, 6):
        assert not await stores[i % 2].begin_turn("u", f"h{i}", now, now + 60)
    await stores[0].end_turn("u", "h0")
    asked_again = (5, 2, 4, 1, 3)  # whoever asks first again is not the first in line
    assert [i for i in asked_again if await stores[0].begin_turn("u", f"h{i}", now, now + 60)] == [1]
    await stores[1].end_turn("u", "h2")  # gave up
    await stores[1].end_turn("u", "h1")
    assert not await stores[1].begin_turn("u", "h4", now, now + 60)
    assert await stores[1].begin_turn("u", "h3", now, now + 60)


async def until(wanted: Callable[[], Awaitable[bool]], within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while not await wanted():
        assert time.monotonic() < end_s, f"not within {within_s} s"
        await asyncio.sleep(0.02)


async def test_the_turn_of_a_holder_that_died_runs_out(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    now = time.time()
    assert await here.begin_turn("u", "dead", now, now + 0.3)

    async def mine() -> bool:
        return await there.begin_turn("u", "alive", time.time(), time.time() + 60)

    assert not await mine()
    await until(mine)
    assert not await here.keep_turn("u", "dead", time.time(), time.time() + 60), "it is somebody else's now"
    await here.end_turn("u", "dead")
    assert not await here.begin_turn("u", "third", time.time(), time.time() + 60)


async def test_a_turn_that_is_kept_does_not_run_out(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    now = time.time()
    assert await here.begin_turn("u", "a", now, now + 0.2)
    assert await here.keep_turn("u", "a", now, now + 60)
    end_s = time.monotonic() + 0.4
    while time.monotonic() < end_s:
        assert not await there.begin_turn("u", "b", time.time(), time.time() + 60)
        await asyncio.sleep(0.02)
    await here.end_turn("u", "a")
    assert await there.begin_turn("u", "b", time.time(), time.time() + 60)


async def test_who_died_while_waiting_does_not_keep_the_others_waiting(open_store: Stores) -> None:
    store = open_store()
    now = time.time()
    assert await store.begin_turn("u", "a", now, now + 60)
    assert not await store.begin_turn("u", "dead", now, now + 60)
    await store.end_turn("u", "a")

    async def mine() -> bool:
        return await store.begin_turn("u", "alive", time.time(), time.time() + 60)

    assert not await mine()
    await until(mine, within_s=20 * ASKS_AGAIN_WITHIN_S)


# --- history and books ----------------------------------------------------------------------------------------------


async def test_messages_are_kept_in_order_and_forgotten_with_their_conversation(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    await here.add_messages("c", [("user", "1"), ("assistant", "2")])
    await there.add_messages("c", [("user", "3"), ("assistant", '4 "\n🐈')])
    assert await here.messages("c", 3) == [("assistant", "2"), ("user", "3"), ("assistant", '4 "\n🐈')]
    assert await here.messages("other", 3) == []
    await there.delete_messages("c")
    assert await here.messages("c", 3) == []


async def test_what_is_spent_at_once_in_two_replicas_is_booked_to_the_cent(open_store: Stores) -> None:
    stores = [open_store() for _ in range(2)]
    for _ in range(10):
        await asyncio.gather(
            *(stores[i % 2].spend(7, f"u{i % 4}", ("m", "speech")[i % 2], 3, 2, 1, 0.0125) for i in range(20))
        )
    assert await stores[0].spent(7, "u1") == pytest.approx((0.625, 2.5, 0), abs=1e-9)
    assert await stores[1].spent(8, "u1") == (0.0, 0.0, 0)


async def test_an_erasure_keeps_the_budget_of_the_day_and_nothing_that_names_the_user(open_store: Stores) -> None:
    here, there = open_store(), open_store()
    for day in (5, 6, 7):
        await here.spend(day, "u", "m", 3, 2, 1, 0.5)
    _, _, before = await here.spent(7, "u")
    await there.forget_spender("u", 7)
    assert not await _holds(here, "u"), "on somebody, but on whom?"
    assert await here.spent(7, "u") == (0.5, 0.5, before + 1)
    assert await here.spent(6, "u") == (0.5, 0.5, 1), "a turn of yesterday's may be under way"
    await here.spend(7, "u", "m", 3, 2, 1, 0.25, before)
    await here.spend(6, "u", "m", 3, 2, 1, 0.25, 0)
    assert not await _holds(there, "u"), "booked by turns that the erasure came into the middle of"
    assert await there.spent(7, "u") == (0.75, 0.75, 1)
    await here.spend(7, "u", "m", 3, 2, 1, 0.25, 1)
    assert await _holds(there, "u"), "who comes back is somebody again"
    assert await there.spent(7, "u") == (1.0, 1.0, 1)
    await there.forget_spender("u", 7)
    assert await here.spent(7, "u") == (1.0, 1.0, 2)
    assert await here.spent(8, "u") == (0.0, 0.0, 0)
    await here.spend(3, "u", "m", 3, 2, 1, 0.25, 0)
    assert not await _holds(here, "u"), "of a day whose key is gone nobody can tell any more"


async def _holds(store: SessionStore, user: str) -> bool:
    """Return whether anything was booked by the name of the user."""
    if isinstance(store, SqliteSessionStore):
        booked = await store._file.do(lambda db: db.execute("SELECT user_id FROM spend").fetchall())
        return (user,) in booked
    assert isinstance(store, RedisSessionStore)
    return any(user in str(key).split(":") for key in await store._redis.keys("*spend*"))


async def test_a_days_key_goes_soon_after_its_day_and_the_sums_of_the_erased_with_it(tmp_path: Path) -> None:
    store = SqliteSessionStore(tmp_path / "sessions.sqlite", BOUNDS)
    await store.spend(0, "u", "m", 3, 2, 1, 0.5)
    await store.forget_spender("u", 0)

    async def rows() -> list[int]:
        count = "SELECT (SELECT count(*) FROM day_keys WHERE day = 0), (SELECT count(*) FROM erased WHERE day = 0)"
        return await store._file.do(lambda db: list(db.execute(count).fetchone()))

    await store.expire(DAY_S + AFTER_MIDNIGHT_S - 1)
    assert await rows() == [1, 1]
    await store.expire(DAY_S + AFTER_MIDNIGHT_S)
    assert await rows() == [0, 0]
    await store.close()


async def test_a_days_key_goes_out_of_redis_by_itself(redis_url: str) -> None:
    store = open_session_store(redis_url, BOUNDS)
    assert isinstance(store, RedisSessionStore)
    await store.spend(7, "u", "m", 3, 2, 1, 0.5)
    await store.forget_spender("u", 7)
    keys = [key for kind in ("day-key", "erased") for key in await store._redis.keys(f"*{kind}:7*")]
    assert len(keys) == 2
    for key in keys:
        assert 0 < await store._redis.ttl(key) <= DAY_S + AFTER_MIDNIGHT_S
    await store.close()


async def test_a_file_of_the_version_before_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(
            """CREATE TABLE sessions (
                user_id TEXT PRIMARY KEY, conversation TEXT, said TEXT, turns INTEGER NOT NULL DEFAULT 0,
                protected INTEGER NOT NULL DEFAULT 0, last_turn_at REAL NOT NULL, leased_until REAL NOT NULL
            ) WITHOUT ROWID;
            INSERT INTO sessions VALUES ('u', 'of u', NULL, 2, 1, 5.0, 0);
            CREATE TABLE condemned (conversation TEXT PRIMARY KEY, since REAL NOT NULL) WITHOUT ROWID;
            INSERT INTO condemned VALUES ('old', 5.0);
            PRAGMA user_version = 2;"""
        )
    for _ in range(2):
        store = SqliteSessionStore(path, BOUNDS)
        assert await turn(store, "u", NOW) == "of u"
        await store.close()
    store = SqliteSessionStore(path, BOUNDS)
    assert await store.expire(NOW) == ["old"]
    await store.close()
