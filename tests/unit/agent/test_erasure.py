"""Is everything about a user deleted, here and upstream?"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis
from agent_stage import CountedEngine, HeldClock, KeptLog, conversations_of, hardened_failures, settings
from fastapi import FastAPI

from reference_agent.compose import Composition
from reference_agent.errors import Unavailable
from reference_agent.leftovers import FileNotes, Notes, StoredLeftovers
from reference_agent.loop_lag import LoopLag
from reference_agent.parts.cache import DocumentedCache
from reference_agent.parts.erasure import DocumentedErasure, HardenedErasure
from reference_agent.parts.input_guard import HardenedInputGuard
from reference_agent.parts.jobs import DocumentedJobs
from reference_agent.parts.metrics import DocumentedMetrics
from reference_agent.parts.rate_limit import HardenedRateLimit
from reference_agent.parts.sessions import HardenedSessions, bounds
from reference_agent.parts.turn_order import HardenedTurnOrder
from reference_agent.redis_leftovers import RedisNotes
from reference_agent.session_store import (
    DELETED_AT_ONCE,
    LONGEST_REST_S,
    SOMEBODY_IS_AT_IT_S,
    SqliteSessionStore,
)
from reference_agent.shared_limits import NoSharedLimits


class LeftJobs(DocumentedJobs):
    """What is left of the jobs, from one look to the next."""

    def __init__(self) -> None:
        self.left: list[list[str]] = []

    async def erase(self, user_id: str) -> list[str]:
        return self.left.pop(0) if self.left else []


class House:
    """Sessions and erasure over one store and one upstream."""

    def __init__(self, **given: Any) -> None:
        chosen = settings(**given)
        self.log = log = KeptLog()
        self.clock = clock = HeldClock()
        self.engine = CountedEngine()
        self.store = SqliteSessionStore(None, bounds(chosen))
        self.sessions = HardenedSessions(chosen, clock, conversations_of(self.engine), self.store, log)
        order = HardenedTurnOrder(chosen, clock, self.store, DocumentedMetrics())
        failures = hardened_failures(log)
        self.jobs = LeftJobs()
        self.leftovers = StoredLeftovers(FileNotes(None, clock), clock, log)
        self.erasure = HardenedErasure(
            chosen,
            clock,
            self.store,
            conversations_of(self.engine),
            order,
            self.jobs,
            DocumentedCache(),
            self.leftovers,
            HardenedInputGuard(chosen),
            HardenedRateLimit(chosen, clock, LoopLag(), NoSharedLimits()),
            failures,
            log,
        )

    async def turn(self, user: str) -> None:
        async with self.sessions.lease(user, HeldClock().deadline()):
            pass


async def _delete(erasure: Any, user: str, address: str = "127.0.0.1") -> httpx2.Response:
    app = FastAPI()
    erasure.install(app)
    transport = httpx2.ASGITransport(app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
        return await client.delete(f"/users/{user}")


async def test_documented_one_has_no_way_to_do_it() -> None:
    assert (await _delete(DocumentedErasure(), "u")).status_code == 404


async def test_hardened_one_deletes_here_and_upstream_as_often_as_one_likes() -> None:
    house = House()
    for user in ("u/with a slash", "v"):
        await house.turn(user)
        await house.store.spend(0, user, "gpt-4o", 10, 1, 0, 0.01)
    for _ in range(2):
        response = await _delete(house.erasure, "u/with a slash")
        assert (response.status_code, response.json()) == (200, {"erased": True, "left": []})
    assert house.engine.deleted == ["thread_1"]
    assert not await house.store.knows("u/with a slash")
    assert await house.store.knows("v")
    assert await house.store.spent(0, "u/with a slash") == (0.01, 0.02, 2), "the budget of the day holds"
    spenders = await house.store._file.do(lambda db: db.execute("SELECT user_id FROM spend").fetchall())
    assert spenders == [("",), ("v",)], "what was spent stays, on whom does not"
    await house.store.close()


async def test_hardened_one_says_what_is_left_and_goes_on_by_itself() -> None:
    house = House()
    await house.turn("u")
    house.engine.deletion_failure = Unavailable("openai", "down", never_arrived=True)
    response = await _delete(house.erasure, "u")
    assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    assert not await house.store.knows("u"), "parted from the user at once"
    assert (await _delete(house.erasure, "u")).json()["left"] == ["conversation"], "and still there when one asks again"
    house.engine.deletion_failure = None
    house.clock.time += SOMEBODY_IS_AT_IT_S
    await house.leftovers.clear()
    assert house.engine.live == set()
    assert (await _delete(house.erasure, "u")).status_code == 200
    await house.store.close()


async def test_what_is_left_is_known_to_the_next_process(tmp_path: Path) -> None:
    path, clock, log = tmp_path / "leftovers.sqlite", HeldClock(), KeptLog()
    deleted: list[str] = []
    done = asyncio.Event()

    async def not_now(what: str) -> bool:
        raise Unavailable("openai", "down", never_arrived=True)

    async def delete(what: str) -> bool:
        deleted.append(what)
        done.set()
        return True

    before = StoredLeftovers(FileNotes(path, clock), clock, log)
    before.handle("response", not_now)
    for _ in range(2):
        await before.add("response", "resp_1")
    await before.add("of another engine", "thread_1")
    assert await before.clear() == [], "whoever wrote it down is at it"
    clock.time += SOMEBODY_IS_AT_IT_S
    assert await before.clear() == ["of another engine", "response"]
    await before.close()
    after = StoredLeftovers(FileNotes(path, clock), clock, log)
    after.handle("response", delete)
    await after.start()
    await done.wait()
    clock.time += LONGEST_REST_S
    assert await after.clear() == ["of another engine"]
    assert deleted == ["resp_1"]
    await after.close()


# --- what is left, in a Redis that replicas share ---


class Replica:
    """Deletes what is left, or cannot now."""

    def __init__(self, url: str) -> None:
        self.works = False
        self.deleted: list[str] = []
        self.notes = RedisNotes(url)
        self.leftovers = StoredLeftovers(self.notes, HeldClock(), KeptLog())
        self.leftovers.handle("conversation", self.delete)

    async def delete(self, what: str) -> bool:
        if not self.works:
            raise Unavailable("openai", "down", never_arrived=True)
        self.deleted.append(what)
        return True


@pytest.fixture
async def replicas(redis_url: str) -> AsyncIterator[list[Replica]]:
    both = [Replica(redis_url) for _ in range(2)]
    yield both
    for one in both:
        await one.leftovers.close()


def _let_time_pass(redis_url: str) -> None:
    """Make everything due now: the time for which somebody was at it, or it rested, is over."""
    with redis.Redis.from_url(redis_url) as client:
        due = "{reference-agent}:leftovers:due"
        for one in client.zrange(due, 0, -1):
            client.zadd(due, {one: 1})


async def test_what_one_replica_has_left_another_one_deletes_and_nobody_else(
    replicas: list[Replica], redis_url: str
) -> None:
    here, there = replicas
    await here.leftovers.add("conversation", "c1", "u")
    await here.leftovers.add("conversation", "c2", "v")
    assert await here.leftovers.clear("u") == ["conversation"]
    assert await there.leftovers.clear() == [], "here somebody is at it"
    await here.leftovers.close()  # and dies
    _let_time_pass(redis_url)
    there.works = True
    third = Replica(redis_url)
    third.works = True
    await asyncio.gather(there.leftovers.clear(), third.leftovers.clear())
    assert sorted(there.deleted + third.deleted) == ["c1", "c2"], "each by one of them"
    with redis.Redis.from_url(redis_url) as client:
        assert client.keys("*") == [b"{reference-agent}:leftovers:numbers"], "nobody is remembered"
    await third.leftovers.close()


async def test_what_nobody_can_delete_now_is_tried_again_by_whoever_comes_first(
    replicas: list[Replica], redis_url: str
) -> None:
    here, there = replicas
    await here.leftovers.add("conversation", "c1", "u")
    for _ in range(3):
        _let_time_pass(redis_url)
        assert await there.leftovers.clear() == ["conversation"]
        assert await here.leftovers.clear() == [], "one at a time"
    assert await there.leftovers.clear("u") == ["conversation"], "who asks for a user's is told at once"
    there.works = True
    assert await there.leftovers.clear("u") == []
    assert await here.leftovers.clear("u") == []


async def test_what_is_written_down_again_while_it_is_deleted_is_not_taken_for_done(
    replicas: list[Replica], redis_url: str
) -> None:
    here, there = replicas
    await here.leftovers.add("conversation", "c1", "u")
    (note,) = await here.notes.of("u")
    await there.leftovers.add("conversation", "c1", "u")
    await here.notes.done(note)
    assert [again.what for again in await there.notes.of("u")] == ["c1"]


async def test_a_redis_that_is_down_is_told_and_nothing_is_forgotten(own_redis: Any) -> None:
    replica = Replica(own_redis.url)
    await replica.leftovers.add("conversation", "c1", "u")
    own_redis.pause()
    with pytest.raises(Unavailable):
        await replica.leftovers.add("conversation", "c2", "u")
    with pytest.raises(Unavailable):
        await replica.leftovers.clear("u")
    own_redis.resume()
    assert await replica.leftovers.clear("u") == ["conversation"]
    await replica.leftovers.close()


async def test_agents_whose_sessions_are_in_redis_know_each_others(redis_url: str) -> None:
    here, there = (Composition(settings(profile="hardened", session_store=redis_url), {}) for _ in range(2))
    await here.get("leftovers").add("of another engine", "c1", "u")
    await here.close()
    assert await there.get("leftovers").clear("u") == ["of another engine"]
    await there.close()


async def test_hardened_one_waits_for_a_job_to_be_given_up_and_says_when_it_has_not() -> None:
    house = House()
    house.jobs.left = [["job"], ["job"]]
    assert (await _delete(house.erasure, "u")).json() == {"erased": True, "left": []}
    assert house.jobs.left == []
    house.jobs.left = [["jobs"]] * 1000
    response = await _delete(house.erasure, "u")
    assert (response.status_code, response.json()["left"]) == (202, ["jobs"])
    await house.store.close()


async def test_hardened_one_waits_for_a_turn_that_is_under_way() -> None:
    house = House()
    await house.turn("u")
    assert await house.store.begin_turn("u", "another replica", 1000.0, 9999.0)
    response = await _delete(house.erasure, "u")
    assert response.status_code == 504
    assert house.engine.deleted == []
    await house.store.close()


async def _leave_while_it_is_created(house: House) -> asyncio.Event:
    """Hang up in one's first turn; return what lets the creation of the conversation come to its end."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        begun.set()
        await may_end.wait()

    house.engine.before_opening = slowly
    turn = asyncio.create_task(house.turn("u"))
    await begun.wait()
    turn.cancel()
    await asyncio.wait({turn})
    return may_end


async def test_hardened_one_waits_for_what_is_being_created_for_a_caller_who_left() -> None:
    house = House()
    may_end = await _leave_while_it_is_created(house)
    pause = house.clock.sleep

    async def sleep(seconds: float) -> None:
        may_end.set()
        await pause(seconds)

    house.clock.sleep = sleep  # type: ignore[method-assign]
    assert (await _delete(house.erasure, "u")).json() == {"erased": True, "left": []}
    assert house.engine.created == 1
    assert house.engine.live == set()
    assert not await _is_known_anywhere(house, "u")
    await house.store.close()


async def test_hardened_one_says_so_when_that_takes_too_long_and_nothing_stays_alive() -> None:
    house = House()
    may_end = await _leave_while_it_is_created(house)
    response = await _delete(house.erasure, "u")
    assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    assert not await _is_known_anywhere(house, "u")
    (creation,) = house.sessions._creating.values()
    may_end.set()
    await creation
    assert house.engine.live == {"thread_1"}
    assert not await house.store.knows("u"), "it is nobody's"
    await house.sessions.keep_house_once()
    assert house.engine.live == set()
    assert not await _is_known_anywhere(house, "u")
    await house.store.close()


async def _is_known_anywhere(house: House, user: str) -> bool:
    def work(db: sqlite3.Connection) -> bool:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return any(user in row for table in tables for row in db.execute(f"SELECT * FROM {table}"))

    return await house.store._file.do(work)


async def test_hardened_one_says_what_is_left_also_where_the_upstream_says_something_that_nobody_expects() -> None:
    house = House()
    for user in ("u", "v"):
        await house.turn(user)
    house.engine.deletion_failure = ValueError("400")
    for _ in range(2):
        response = await _delete(house.erasure, "u")
        assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["conversation"]})
    assert house.log.events.count("bug:leftover_not_deleted") == 2, "it is no secret"
    house.engine.deletion_failure = None
    assert (await _delete(house.erasure, "u")).json() == {"erased": True, "left": []}
    await house.store.close()


async def test_hardened_one_answers_a_mistake_of_ours_as_everything_else_does() -> None:
    house = House()
    await house.store.close()
    response = await _delete(house.erasure, "u")
    assert (response.status_code, response.json()["error"]["code"]) == (500, "internal")


@pytest.mark.parametrize("user", ["", "%20", "x" * 201])
async def test_hardened_one_takes_no_id_that_nobody_can_have(user: str) -> None:
    house = House()
    response = await _delete(house.erasure, user)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == ("user_id_too_long" if user.startswith("x") else "user_id_missing")
    await house.store.close()


async def test_hardened_one_limits_addresses_whatever_ids_they_make_up() -> None:
    house = House(address_burst=2)
    statuses = [(await _delete(house.erasure, f"u{i}", "203.0.113.5")).status_code for i in range(4)]
    assert statuses == [200, 200, 429, 429]
    assert (await _delete(house.erasure, "u", "203.0.113.6")).status_code == 200, "another one's"
    house.clock.time += 1
    assert (await _delete(house.erasure, "u", "203.0.113.5")).status_code == 200
    await house.store.close()


class HangingJobs(DocumentedJobs):
    """Their Redis has stopped answering."""

    async def erase(self, user_id: str) -> list[str]:
        await asyncio.Event().wait()
        return []


async def test_hardened_one_has_one_deadline_for_all_and_says_what_hangs() -> None:
    house = House(answer_within_s=1.0)
    house.jobs = HangingJobs()
    house.erasure._jobs = house.jobs
    house.leftovers.handle("jobs", house.jobs.erase)  # type: ignore[arg-type]
    await house.turn("u")
    async with asyncio.timeout(30):  # in which nothing of it would ever end by itself
        response = await _delete(house.erasure, "u")
    assert (response.status_code, response.json()) == (202, {"erased": False, "left": ["jobs"]})
    assert house.engine.deleted == ["thread_1"], "what hangs does not keep the rest"
    await house.store.close()


# --- each on its own, in a file and in Redis ---


Later = Callable[[], None]


@pytest.fixture(params=["file", "redis"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Notes, Later]:
    """Return where notes are written down, and what makes all of them due that rest."""
    if request.param == "file":
        clock = HeldClock()

        def later() -> None:
            clock.time += LONGEST_REST_S

        return FileNotes(tmp_path / "leftovers.sqlite", clock), later
    url = request.getfixturevalue("redis_url")
    return RedisNotes(url), lambda: _let_time_pass(url)


async def test_one_that_cannot_be_deleted_keeps_none_of_the_others(notes: tuple[Notes, Later]) -> None:
    written, later = notes
    log, tried = KeptLog(), []
    leftovers = StoredLeftovers(written, HeldClock(), log)

    async def delete(what: str) -> bool:
        tried.append(what)
        if what == "a":
            raise ValueError(what)
        return not what.startswith("stuck")

    leftovers.handle("conversation", delete)
    await leftovers.add("conversation", "a", "u")
    await leftovers.add("conversation", "b", "v")
    assert await leftovers.clear("v") == []
    await leftovers.add("conversation", "c", "v")
    later()
    assert await leftovers.clear() == ["conversation"]
    assert log.events == ["bug:leftover_not_deleted"]
    assert sorted(tried) == ["a", "b", "c"]
    await leftovers.close()


async def test_however_many_are_stuck_all_get_their_turn(notes: tuple[Notes, Later]) -> None:
    written, later = notes
    leftovers = StoredLeftovers(written, HeldClock(), KeptLog())
    tried: list[str] = []

    async def delete(what: str) -> bool:
        tried.append(what)
        return not what.startswith("stuck")

    leftovers.handle("conversation", delete)
    for i in range(2 * DELETED_AT_ONCE):
        await leftovers.add("conversation", f"stuck {i}", "u")
    await leftovers.add("conversation", "z", "v")
    later()
    for _ in range(3):
        await leftovers.clear()
    assert sorted(tried) == sorted([*(f"stuck {i}" for i in range(2 * DELETED_AT_ONCE)), "z"]), "each once"
    assert await leftovers.clear() == [], "they rest"
    assert await leftovers.clear("v") == []
    assert len(await written.of("u")) == 2 * DELETED_AT_ONCE, "all of them are known"
    await leftovers.close()


async def test_notes_of_the_version_before_are_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "leftovers.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(
            """CREATE TABLE leftovers (
                kind TEXT NOT NULL, what TEXT NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (kind, what)
            ) WITHOUT ROWID;
            INSERT INTO leftovers VALUES ('conversation', 'c1', 'u');
            PRAGMA user_version = 1;"""
        )
    after = FileNotes(path, HeldClock())
    assert [note.what for note in await after.due()] == ["c1"]
    await after.close()
