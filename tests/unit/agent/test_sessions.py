"""Do conversations stay bounded, and does everybody keep theirs?"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stage import CountedEngine, HeldClock, KeptLog, conversations_of, settings

from reference_agent.clock import Deadline
from reference_agent.errors import Gone, Refused, Unavailable
from reference_agent.parts.sessions import (
    THREADS,
    DocumentedSessions,
    HardenedSessions,
    ProposedSessions,
    Sessions,
    bounds,
)
from reference_agent.session_store import Claim, SqliteSessionStore, open_session_store


@pytest.fixture(autouse=True)
def _no_threads() -> Iterator[None]:
    THREADS.clear()
    yield
    THREADS.clear()


def _hardened(engine: CountedEngine, clock: HeldClock | None = None, **given: object) -> HardenedSessions:
    given.setdefault("max_conversations", 5)
    chosen = settings(**given)
    store = SqliteSessionStore(None, bounds(chosen))
    return HardenedSessions(chosen, clock or HeldClock(), conversations_of(engine), store, KeptLog())


async def _turn(sessions: Sessions, user: str) -> str:
    async with sessions.lease(user, HeldClock().deadline()) as lease:
        return lease.conversation


async def test_the_store_knows_a_conversation_in_which_only_one_thing_was_said() -> None:
    sessions = _hardened(CountedEngine())

    async def turn(leave: str | None) -> str | None:
        async with sessions.lease("u", HeldClock().deadline()) as lease:
            found, lease.said = lease.said, leave
            return found

    assert [await turn(leave) for leave in ("a key", "a key", None, "a key")] == ["", "a key", "a key", None]
    with pytest.raises(RuntimeError):
        async with sessions.lease("u", HeldClock().deadline()):
            raise RuntimeError
    assert await turn("") is None, "a turn that failed may have said anything"


async def test_documented_one_grows_with_every_id() -> None:
    engine = CountedEngine()
    sessions = DocumentedSessions(engine)
    for i in range(1000):
        await _turn(sessions, f"attacker_{i}")
    assert len(THREADS) == len(engine.live) == 1000


async def test_documented_one_creates_twice_for_one_user() -> None:
    engine = CountedEngine()
    engine.before_opening = lambda: asyncio.sleep(0)
    sessions = DocumentedSessions(engine)
    await asyncio.gather(_turn(sessions, "u"), _turn(sessions, "u"))
    assert engine.created == 2


async def test_hardened_one_stays_within_its_bound_at_every_moment() -> None:
    engine = CountedEngine()
    engine.before_opening = lambda: asyncio.sleep(0)
    sessions = _hardened(engine)
    results = await asyncio.gather(*(_turn(sessions, f"attacker_{i}") for i in range(200)), return_exceptions=True)
    assert {type(result) for result in results} <= {str, Refused}
    assert engine.most_live == 5
    for i in range(200):
        await _turn(sessions, f"late_{i}")
    assert engine.most_live == 5
    assert engine.created - len(engine.deleted) == 5


async def test_a_flood_leaves_those_who_came_back_their_conversations() -> None:
    engine = CountedEngine()
    sessions = _hardened(engine)
    known = {user: await _turn(sessions, user) for user in ("tama", "mike")}
    for user in known:
        await _turn(sessions, user)
    for i in range(100):
        await _turn(sessions, f"attacker_{i}")
    assert {user: await _turn(sessions, user) for user in known} == known
    assert await sessions.standing("tama") == "returning"
    assert await sessions.standing("attacker_0") == "newcomer"


async def test_there_is_always_a_place_for_somebody_new() -> None:
    engine = CountedEngine()
    clock = HeldClock()
    sessions = _hardened(engine, clock)
    for i in range(20):
        for _ in range(2):
            await _turn(sessions, f"known_{i}")
            clock.time += 1
    await _turn(sessions, "newcomer")
    assert await sessions.standing("known_19") == "returning"
    assert engine.most_live == 5


async def test_a_conversation_in_use_is_nobodys_room() -> None:
    engine = CountedEngine()
    sessions = _hardened(engine, max_conversations=2)
    deadline = HeldClock().deadline()
    async with sessions.lease("a", deadline), sessions.lease("b", deadline):
        with pytest.raises(Refused) as refused:
            await _turn(sessions, "c")
        assert refused.value.status == 429
    await _turn(sessions, "c")
    assert len(engine.live) == 2


async def test_one_creation_per_user_even_when_its_caller_leaves() -> None:
    engine = CountedEngine()
    go_on = asyncio.Event()
    engine.before_opening = go_on.wait
    sessions = _hardened(engine)
    first, second = (asyncio.create_task(_turn(sessions, "u")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    go_on.set()
    assert await second == "thread_1"
    assert engine.created == 1


async def test_a_failed_creation_gives_its_place_back_and_a_lost_one_later() -> None:
    engine = CountedEngine()
    clock = HeldClock()
    sessions = _hardened(engine, clock, max_conversations=8)

    async def fail(times: int, *, never_arrived: bool) -> None:
        engine.failure = Unavailable("openai", "down", never_arrived=never_arrived)
        for i in range(times):
            with pytest.raises(Unavailable):
                await _turn(sessions, f"u{i}")
        engine.failure = None

    await fail(20, never_arrived=True)
    await fail(20, never_arrived=False)
    for i in range(6):
        await _turn(sessions, f"a{i}")
    assert engine.deleted == []
    await _turn(sessions, "b")
    assert engine.deleted == ["thread_1"], "an outage takes a quarter at most"
    clock.time += 61
    await sessions.keep_house_once()
    for i in range(2):
        await _turn(sessions, f"c{i}")
    assert engine.deleted == ["thread_1"]


async def test_what_cannot_be_deleted_keeps_its_place_until_it_is() -> None:
    engine = CountedEngine()
    clock = HeldClock()
    sessions = _hardened(engine, clock, max_conversations=2)
    for user in "ab":
        await _turn(sessions, user)
    engine.deletion_failure = Unavailable("openai", "down", never_arrived=True)
    with pytest.raises(Unavailable):
        await _turn(sessions, "c")
    engine.deletion_failure = None
    clock.time += 6
    await sessions.keep_house_once()
    await _turn(sessions, "c")
    assert engine.most_live == 2


async def test_those_seen_once_expire_soon_and_those_who_came_back_late() -> None:
    engine = CountedEngine()
    clock = HeldClock()
    sessions = _hardened(engine, clock, probation_s=60, session_s=1000)
    for user in ("once", "back", "back"):
        await _turn(sessions, user)
    clock.time += 900
    await _turn(sessions, "back")
    await sessions.keep_house_once()
    assert (await sessions.standing("once"), await sessions.standing("back")) == ("newcomer", "returning")
    clock.time += 900
    await sessions.keep_house_once()
    assert await sessions.standing("back") == "returning", "counted from the last turn"
    clock.time += 200
    await sessions.keep_house_once()
    assert await sessions.standing("back") == "newcomer"
    assert engine.live == set()


async def test_a_conversation_that_is_gone_upstream_is_made_anew() -> None:
    engine = CountedEngine()
    sessions = _hardened(engine)
    with pytest.raises(Gone):
        async with sessions.lease("u", HeldClock().deadline()):
            raise Gone
    assert await sessions.standing("u") == "newcomer"
    assert await _turn(sessions, "u") == "thread_2"


async def test_a_restart_forgets_nobody_and_any_replica_goes_on(tmp_path: Path) -> None:
    engine = CountedEngine()
    chosen = settings(max_conversations=3)
    stores = [SqliteSessionStore(tmp_path / "state" / "sessions.sqlite", bounds(chosen)) for _ in range(2)]
    replicas = [HardenedSessions(chosen, HeldClock(), conversations_of(engine), store, KeptLog()) for store in stores]
    assert await _turn(replicas[0], "u") == await _turn(replicas[1], "u") == "thread_1"
    flood = (_turn(replica, f"attacker_{i}") for i in range(20) for replica in replicas)
    await asyncio.gather(*flood, return_exceptions=True)
    assert engine.most_live == 3, "one bound for all replicas"
    assert await _turn(replicas[1], "u") == "thread_1"
    for store in stores:
        await store.close()
    again = SqliteSessionStore(tmp_path / "state" / "sessions.sqlite", bounds(chosen))
    assert (
        await _turn(HardenedSessions(chosen, HeldClock(), conversations_of(engine), again, KeptLog()), "u")
        == "thread_1"
    )
    await again.close()


class FailingStore(SqliteSessionStore):
    """Goes down at one of its methods."""

    fails_at = ""

    async def created(self, user_id: str, conversation: str) -> None:
        if self.fails_at == "created":
            raise Unavailable("sessions", "down", never_arrived=True)
        await super().created(user_id, conversation)

    async def ended(self, user_id: str, now: float, *, had_a_turn: bool, said: str | None = None) -> None:
        if self.fails_at == "ended":
            raise Unavailable("sessions", "down", never_arrived=True)
        await super().ended(user_id, now, had_a_turn=had_a_turn, said=said)


async def test_a_conversation_that_cannot_be_written_down_is_deleted_again() -> None:
    engine, chosen = CountedEngine(), settings()
    store = FailingStore(None, bounds(chosen))
    store.fails_at = "created"
    sessions = HardenedSessions(chosen, HeldClock(), conversations_of(engine), store, KeptLog())
    with pytest.raises(Unavailable):
        await _turn(sessions, "u")
    assert engine.deleted == ["thread_1"]
    await store.close()


class SlowStore(SqliteSessionStore):
    """Takes its time for what it claims, and says so when it has."""

    def __init__(self) -> None:
        super().__init__(None, bounds(settings()))
        self.has_claimed, self.may_say_so = asyncio.Event(), asyncio.Event()

    async def claim(self, user_id: str, now: float, until: float) -> Claim:
        claim = await super().claim(user_id, now, until)
        self.has_claimed.set()
        await self.may_say_so.wait()
        return claim


async def test_a_place_that_was_claimed_for_who_has_left_is_given_back() -> None:
    """Otherwise they could not talk for as long as a creation may take, and could not be erased."""
    engine, store = CountedEngine(), SlowStore()
    sessions = HardenedSessions(settings(), HeldClock(), conversations_of(engine), store, KeptLog())
    leaver = asyncio.create_task(_turn(sessions, "u"))
    await store.has_claimed.wait()
    leaver.cancel()
    await asyncio.wait({leaver})
    store.may_say_so.set()
    async with asyncio.timeout(20):
        while (await store.condemn("u", 1000.0)).another_is_being_created:  # noqa: ASYNC110 - it is the store's thread
            await asyncio.sleep(0.01)
    assert engine.created == 0
    assert await _turn(sessions, "u") == "thread_1"
    await store.close()


async def test_an_answer_is_not_lost_because_the_store_goes_down_after_it() -> None:
    engine, chosen, log = CountedEngine(), settings(), KeptLog()
    store = FailingStore(None, bounds(chosen))
    store.fails_at = "ended"
    assert await _turn(HardenedSessions(chosen, HeldClock(), conversations_of(engine), store, log), "u") == "thread_1"
    assert log.events == ["session_not_written"]
    await store.close()


async def test_a_store_that_cannot_be_used_is_an_upstream_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "sessions.sqlite").write_text("this is no database, and long enough to be seen as none " * 10)
    store = SqliteSessionStore(tmp_path / "sessions.sqlite", bounds(settings()))
    with pytest.raises(Unavailable, match="not a database"):
        await store.knows("u")
    await store.close()


async def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sessions.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as older:
        older.execute("PRAGMA user_version = 99")
    store = SqliteSessionStore(path, bounds(settings()))
    with pytest.raises(Unavailable, match="another version"):
        await store.knows("u")
    await store.close()


@pytest.mark.parametrize("where", ["", "memory:x", "sqlite:", "radis://localhost"])
def test_a_store_that_does_not_exist_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="names no store"):
        open_session_store(where, bounds(settings()))


# --- as proposed ---


def _proposed(engine: CountedEngine, clock: HeldClock) -> ProposedSessions:
    return ProposedSessions(settings(max_conversations=3), clock, engine)


async def test_proposed_one_throws_out_somebody_before_it_looks_who_is_there() -> None:
    engine = CountedEngine()
    sessions = _proposed(engine, HeldClock())
    for user in "abc":
        await _turn(sessions, user)
    await _turn(sessions, "c")
    assert await sessions.standing("a") == "newcomer", "nobody new came, and somebody known is gone"


async def test_proposed_one_throws_out_the_oldest_friend_first() -> None:
    engine = CountedEngine()
    sessions = _proposed(engine, HeldClock())
    for user in ("friend", "b", "friend", "friend"):
        await _turn(sessions, user)
    for user in ("c", "d"):
        await _turn(sessions, user)
    assert await sessions.standing("friend") == "newcomer"
    assert await sessions.standing("b") == "returning"


async def test_proposed_one_forgets_a_user_who_never_left_and_creates_twice() -> None:
    engine = CountedEngine()
    clock = HeldClock()
    sessions = _proposed(engine, clock)
    for _ in range(26):
        await _turn(sessions, "u")
        clock.time += 3600
    assert engine.created == 2
    engine.before_opening = lambda: asyncio.sleep(0)
    await asyncio.gather(_turn(sessions, "v"), _turn(sessions, "v"))
    assert engine.created == 4


async def test_proposed_one_leaves_upstream_what_it_throws_out() -> None:
    engine = CountedEngine()
    sessions = _proposed(engine, HeldClock())
    for i in range(100):
        await _turn(sessions, f"attacker_{i}")
    assert len(sessions._threads) == 3
    assert len(engine.live) == 100


async def test_a_conversation_that_cannot_be_deleted_keeps_none_of_the_others() -> None:
    class OneStays(CountedEngine):
        async def delete_conversation(self, conversation: str, deadline: Deadline) -> None:
            if conversation == "thread_1":
                raise ValueError("400")
            await super().delete_conversation(conversation, deadline)

    engine, clock = OneStays(), HeldClock()
    sessions = _hardened(engine, clock, probation_s=60)
    for user in "abc":
        await _turn(sessions, user)
    clock.time += 61
    await sessions.keep_house_once()
    assert engine.live == {"thread_1"}
    await sessions.keep_house_once()
    assert sorted(engine.deleted) == ["thread_2", "thread_3"]
