"""Is the queue bounded, in order, forgetful, and each user's own? Over a real Redis, without a worker's process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx
import pytest
import redis

from reference_agent.app import create_app
from reference_agent.compose import Composition
from reference_agent.duty import Duty
from reference_agent.errors import OutOfTime, Refused, Unavailable
from reference_agent.job_player import JobPlayer
from reference_agent.job_queue import JobQueue
from reference_agent.job_store import LEASE_S, PREFIX, Claimed, JobStore, box_of
from reference_agent.parts.audio import Speech
from reference_agent.parts.jobs import HardenedJobs
from reference_agent.settings import read_settings
from reference_agent.trace import TRACE, Left
from reference_agent.turn import Answer, Turn


class PlayedTurn:
    """A turn that does what a test says."""

    def __init__(self) -> None:
        self.play: Callable[[str, str], Any] = lambda user, text: Answer(f"{text}にゃん", None)
        self.given_up: list[Left] = []

    async def answer(self, user: str, text: str, hints: Any) -> Answer:
        answer = self.play(user, text)
        return await answer if asyncio.iscoroutine(answer) else answer

    async def give_up(self, user: str, text: str, left: Left) -> None:
        self.given_up.append(left)


class Desk:
    """The agent's routes, and a worker's player in this very process."""

    def __init__(self, composition: Composition, turn: PlayedTurn, client: httpx.AsyncClient) -> None:
        self._composition = composition
        self.client = client
        self.turn = turn
        self.store: JobStore = composition.get("job_store")
        self.player: JobPlayer = composition.get("job_player")
        self.queue: JobQueue = composition.get("job_queue")
        self.jobs: HardenedJobs = composition.get("jobs")
        self.duty: Duty = composition.get("duty")

    async def say(self, user: str, message: str, key: str = "") -> httpx.Response:
        headers = {"Idempotency-Key": key} if key else {}
        return await self.client.post("/jobs", json={"user_id": user, "message": message}, headers=headers)

    async def id_of(self, user: str, message: str) -> str:
        said = await self.say(user, message)
        assert said.status_code == 202, said.text
        return str(said.json()["job_id"])

    async def look(self, user: str, id_: str, what: str = "") -> httpx.Response:
        return await self.client.get(f"/jobs/{id_}{what}", params={"user_id": user})

    def real_turn(self) -> Turn:
        """Return a turn of the agent's own, instead of one that is played."""
        return self._composition._make(Turn)  # type: ignore[no-any-return]

    async def is_watched(self) -> bool:
        return bool(self.jobs._streams)

    async def play(self, user: str) -> None:
        async with asyncio.timeout(20):
            await self.player.play(box_of(user))


Open = Callable[..., Any]


@pytest.fixture
def desk(redis_url: str) -> Open:
    """Open a desk with further settings."""

    @asynccontextmanager
    async def open_(**environ: str) -> AsyncIterator[Desk]:
        given = {"OPENAI_API_KEY": "sk-test", "AGENT_PROFILE": "hardened", "AGENT_SESSION_STORE": "memory"}
        composition = Composition(*read_settings(given | {"REDIS_URL": redis_url} | environ))
        turn = PlayedTurn()
        composition._built["turn"] = turn
        transport = httpx.ASGITransport(create_app(composition))
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            yield Desk(composition, turn, client)
        await composition.close()

    return open_


async def _until(what: Callable[[], Any]) -> Any:
    async with asyncio.timeout(20):
        while not (came := await what()):  # noqa: ASYNC110 - what is waited for happens in Redis
            await asyncio.sleep(0.01)
    return came


def _messages(redis_url: str) -> list[Any]:
    with redis.Redis.from_url(redis_url) as client:
        return [json.loads(message) for message in client.lrange(f"{PREFIX}work", 0, -1)]


async def test_a_message_is_taken_in_and_answered_later(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        here.turn.play = lambda user, text: Answer("はいにゃん", Speech(iter([b"RIFF", b"..."])))
        said = await here.say("たま/猫", "電話は090-1234-5678")
        assert (said.status_code, said.json()["state"]) == (202, "waiting")
        (message,) = _messages(redis_url)
        assert "090" not in json.dumps(message), "what travels through the broker is the name of a box"
        assert "たま" not in json.dumps(message, ensure_ascii=False)
        looked = await here.client.get(said.headers["Location"])
        assert looked.json() == said.json()
        assert looked.headers["Retry-After"] == "1"
        await here.play("たま/猫")
        done = (await here.client.get(said.headers["Location"])).json()
        assert (done["state"], done["reply"], done["attempts"]) == ("done", "はいにゃん", 1)
        heard = await here.client.get(done["audio"])
        assert (heard.headers["content-type"], heard.content) == ("audio/wav", b"RIFF...")
        figures = await here.store.figures()
        assert (figures.open, figures.running, figures.audio_bytes) == (0, 0, 7)
        assert (figures.counts["accepted"], figures.counts["begun"], figures.counts["done"]) == (1, 1, 1)
        shown = (await here.client.get("/metrics")).text
        for line in ('agent_jobs{state="waiting"} 0', 'agent_jobs_total{what="done"} 1', "agent_job_audio_bytes 7"):
            assert line in shown


async def test_the_same_key_is_the_same_job_and_another_text_is_refused(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        first = await here.say("u", "hi", key="k1")
        again = await asyncio.gather(*(here.say("u", "hi", key="k1") for _ in range(5)))
        assert {response.json()["job_id"] for response in [first, *again]} == {first.json()["job_id"]}
        assert len(_messages(redis_url)) == 1
        await here.play("u")
        assert (await here.say("u", "hi", key="k1")).json()["state"] == "done"
        other = await here.say("u", "something else", key="k1")
        assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
        assert (await here.say("v", "hi", key="k1")).json()["job_id"] != first.json()["job_id"]
        assert (await here.say("u", "hi", key="k" * 201)).status_code == 422


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"message": "가" * 2001}, "메시지는 2000자까지만 보내 줘요"),
        ({"message": "", "language": "ko"}, "뭐라도 말해 줘요"),
    ],
)
async def test_what_is_not_taken_in_is_refused_in_the_callers_language(
    desk: Open, said: dict[str, str], words: str
) -> None:
    async with desk() as here:
        refused = await here.client.post("/jobs", json={"user_id": "u", **said})
    assert refused.json()["error"]["message"].startswith(words)


async def test_hints_that_say_nothing_are_not_kept(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        for nonsense in ("x" * 30_000, "\ud800"):
            said = {"user_id": "u", "message": "hi", "language": nonsense, "profile": {"time_zone": nonsense}}
            assert (await here.client.post("/jobs", content=json.dumps(said))).status_code == 202
        with redis.Redis.from_url(redis_url) as client:
            kept = [client.hgetall(key) for key in client.scan_iter() if client.type(key) == b"hash"]
        assert kept
        assert "xxx" not in str(kept)


async def test_a_users_jobs_are_played_in_order_by_whoever_gets_the_message(desk: Open) -> None:
    async with desk() as here:
        played: list[str] = []
        at_once, most = 0, 0

        async def play(user: str, text: str) -> Answer:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            played.append(text)
            await asyncio.sleep(0)
            at_once -= 1
            return Answer(text, None)

        here.turn.play = play
        for number in range(5):
            await here.id_of("u", str(number))
        while (await here.store.figures()).open:
            await asyncio.gather(*(here.play("u") for _ in range(3)))
        assert (played, most) == (["0", "1", "2", "3", "4"], 1)


async def test_the_queue_is_bounded_for_users_newcomers_and_all(desk: Open) -> None:
    async with desk(AGENT_JOBS_OPEN="4", AGENT_USER_JOBS="1") as here:
        await here.id_of("a", "hi")
        full = await here.say("a", "hi again")
        assert (full.status_code, full.json()["error"]["code"]) == (429, "too_many_jobs")
        assert 1 <= int(full.headers["Retry-After"]) <= 60
        await here.id_of("b", "hi")
        full = await here.say("c", "hi")
        assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full"), "newcomers have half of it"
        assert int(full.headers["Retry-After"]) >= 1
        assert (await here.store.figures()).counts["refused"] == 2
        await here.play("a")
        await here.id_of("c", "hi")


async def test_a_job_is_shown_to_its_user_and_to_nobody_else(desk: Open) -> None:
    async with desk() as here:
        id_ = await here.id_of("u", "hi")
        for what in ("", "/audio", "/events"):
            response = await here.look("v", id_, what)
            assert (response.status_code, response.json()["error"]["code"]) == (404, "no_such_job")
        assert (await here.look("u", "made-up")).status_code == 404
        assert (await here.look("u", id_, "/audio")).json()["error"]["code"] == "no_audio"


async def test_events_tell_every_state_once_and_end(desk: Open) -> None:
    async with desk() as here:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def play(user: str, text: str) -> Answer:
            begun.set()
            await go_on.wait()
            return Answer("はいにゃん", None)

        here.turn.play = play
        id_ = await here.id_of("u", "hi")
        watching = asyncio.create_task(here.look("u", id_, "/events"))
        await _until(here.is_watched)
        playing = asyncio.create_task(here.play("u"))
        await begun.wait()
        go_on.set()
        await playing
        async with asyncio.timeout(20):
            watched = await watching
        assert watched.headers["content-type"].startswith("text/event-stream")
        events = [block.split("\n") for block in watched.text.strip().split("\n\n")]
        assert events[0][0] == "event: waiting"
        assert events[-1][0] == "event: done"
        assert json.loads(events[-1][1].removeprefix("data: "))["reply"] == "はいにゃん"
        assert len({event[0] for event in events}) == len(events)


async def test_who_watches_is_told_to_come_back_when_the_process_is_about_to_end(desk: Open) -> None:
    async with desk() as here:
        id_ = await here.id_of("u", "hi")
        watching = asyncio.create_task(here.look("u", id_, "/events"))
        await _until(here.is_watched)
        await here.duty.leave()
        async with asyncio.timeout(20):
            watched = await watching
        assert [line for line in watched.text.splitlines() if line.startswith("event:")] == [
            "event: waiting",
            "event: come_back",
        ]
        last = watched.text.strip().split("\n\n")[-1].split("\n")
        assert last[0] == "retry: 1000", "readers of events wait so long by themselves"
        assert json.loads(last[2].removeprefix("data: ")) == {
            "retry_after_s": 1.0,
            "events": f"/jobs/{id_}/events?user_id=u",
        }
        assert not await here.is_watched()
        again = await here.look("u", id_, "/events")
        assert (again.status_code, again.json()["error"]["code"]) == (503, "shutting_down")
        assert again.headers["Retry-After"] == "1"


async def test_what_came_of_a_job_expires_and_so_does_one_that_nobody_plays(desk: Open) -> None:
    async with desk(AGENT_JOB_RESULT_S="1", AGENT_JOB_WAIT_S="1") as here:
        here.turn.play = lambda user, text: Answer("はいにゃん", Speech(iter([b"RIFF"])))
        id_ = await here.id_of("u", "hi")
        await here.play("u")

        async def is_gone() -> bool:
            return (await here.look("u", id_)).status_code == 404 and await here.store.audio(id_) is None

        await _until(is_gone)
        id_ = await here.id_of("v", "hi")

        async def is_forgotten() -> bool:
            return (await here.look("v", id_)).status_code == 404

        await _until(is_forgotten)
        assert await here.store.claim(box_of("v")) == "empty"


async def test_a_job_that_has_waited_for_too_long_is_not_played_any_more(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        id_ = await here.id_of("u", "hi")
        with redis.Redis.from_url(redis_url) as client:
            client.hset(f"{PREFIX}job:{id_}", "accepted_ms", 1_000)  # in 1970
        await here.play("u")
        looked = (await here.look("u", id_)).json()
        assert (looked["state"], looked["error"]["code"]) == ("failed", "waited_too_long")


async def test_speech_is_kept_within_bounds(desk: Open) -> None:
    async with desk(AGENT_JOB_AUDIO_BYTES="10", AGENT_JOBS_AUDIO_BYTES="15") as here:
        ids = []
        for size in (11, 8, 8):
            here.turn.play = lambda user, text, size=size: Answer("にゃん", Speech(iter([b"x"] * size)))
            ids.append(await here.id_of("u", "hi"))
            await here.play("u")
        assert [len(await here.store.audio(id_) or b"") for id_ in ids] == [0, 0, 8]
        assert (await here.look("u", ids[0])).json()["audio"] is None, "too long: a text answer"
        figures = await here.store.figures()
        assert (figures.audio_bytes, figures.counts["audio_displaced"]) == (8, 1)


async def test_an_erased_user_leaves_nothing_and_what_is_being_played_is_cut_off(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def play(user: str, text: str) -> Answer:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                assert TRACE.get().is_ours, "what is under way upstream is to be ended"
                ended.set()
            raise AssertionError

        here.turn.play = play
        id_ = (await here.say("u", "my secret", key="k")).json()["job_id"]
        await here.id_of("u", "another secret")
        assert await here.jobs.erase("nobody") == []
        playing = asyncio.create_task(here.play("u"))
        await begun.wait()
        assert await here.jobs.erase("u") == ["job"], "one is being played"
        assert (await here.look("u", id_)).status_code == 404
        await playing
        assert ended.is_set()
        assert await here.jobs.erase("u") == []
        with redis.Redis.from_url(redis_url) as client:
            left = [key.decode() for key in client.scan_iter(f"{PREFIX}*")]
        kinds = {key.removeprefix(PREFIX).partition(":")[0].partition(".")[0] for key in left}
        assert kinds <= {"counts", "work", "_kombu"}, left


async def test_an_attempt_that_stood_still_is_fenced_out(desk: Open) -> None:
    async with desk() as here:
        id_ = await here.id_of("u", "hi")
        still = await here.store.claim(box_of("u"))
        assert isinstance(still, Claimed)
        assert await here.store.claim(box_of("u")) == "held"
        await here.store.note(still, conversation="conv_1", generation="resp_1")
        await here.store._link.redis.delete(f"{PREFIX}lease:{box_of('u')}")  # as if it had said nothing for LEASE_S
        heir = await here.store.claim(box_of("u"))
        assert isinstance(heir, Claimed)
        assert (heir.job.attempt, heir.job.left) == (2, Left("conv_1", "resp_1"))
        assert await here.store.renew(still) == "lost"
        assert await here.store.finish(still, "done", b"", reply="too late") == -1
        assert await here.store.put_back(still) == -1
        await here.store.note(still, reply="too late")
        assert await here.store.renew(heir) == "ours"
        assert await here.store.finish(heir, "done", b"", reply="in time") == 0
        assert await here.store.renew(heir) == "lost", "what has ended is not leased again"
        assert await here.store.claim(box_of("u")) == "empty"
        assert (await here.look("u", id_)).json()["reply"] == "in time"
        assert (await here.store.figures()).counts["redelivered"] == 1


async def test_a_message_that_finds_the_box_taken_is_not_the_last_one(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        await here.id_of("u", "hi")
        await here.store.claim(box_of("u"))
        await here.play("u")
        messages = _messages(redis_url)
        assert len(messages) == 2
        assert messages[0]["headers"]["eta"] is not None, f"in {LEASE_S} s, when the lease of a dead one has expired"


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (Refused(429, "busy", 1.0), "waiting"),
        (Refused(429, "budget_spent", 40_000.0), "failed"),
        (Refused(422, "message_empty"), "failed"),
        (Unavailable("openai", "down", never_arrived=True), "waiting"),
        (Unavailable("openai", "503", never_arrived=False), "waiting"),
        (OutOfTime("a conversation"), "waiting"),
        (ZeroDivisionError(), "failed"),
    ],
)
async def test_what_is_only_too_early_is_tried_again_and_all_else_has_failed(
    desk: Open, failure: Exception, state: str
) -> None:
    async with desk() as here:

        def play(user: str, text: str) -> Answer:
            raise failure

        here.turn.play = play
        id_ = await here.id_of("u", "hi")
        await here.play("u")
        looked = (await here.look("u", id_)).json()
        assert looked["state"] == state
        assert ("error" in looked) == (state == "failed")
        if state == "waiting":
            here.turn.play = lambda user, text: Answer("はいにゃん", None)
            await here.play("u")
            assert (await here.look("u", id_)).json()["attempts"] == 1, "no worker has died"


async def test_what_was_said_already_is_not_said_again_because_of_a_failure(desk: Open) -> None:
    async with desk() as here:

        async def play(user: str, text: str) -> Answer:
            await TRACE.get().speaks("conv_1")
            raise OutOfTime("the model")

        here.turn.play = play
        id_ = await here.id_of("u", "hi")
        await here.play("u")
        assert (await here.look("u", id_)).json()["error"]["code"] == "out_of_time"


async def test_a_reply_that_is_known_is_kept_over_a_failure_and_given_without_its_speech(desk: Open) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"RIFF"
        await asyncio.Event().wait()

    async with desk(AGENT_JOB_S="1") as here:
        known: list[str] = []

        async def play(user: str, text: str) -> Answer:
            known.append(TRACE.get().known_reply())
            if known[-1]:
                return Answer(known[-1], Speech(endless()))
            await TRACE.get().speaks("conv_1")
            await TRACE.get().replied("はいにゃん")
            raise Unavailable("sessions", "locked", never_arrived=True)

        here.turn.play = play
        id_ = await here.id_of("u", "hi")
        await here.play("u")
        assert (await here.look("u", id_)).json()["state"] == "waiting"
        await here.play("u")
        looked = (await here.look("u", id_)).json()
        assert (looked["state"], looked["reply"], looked["audio"]) == ("done", "はいにゃん", None)
        assert known == ["", "はいにゃん"]


async def test_a_job_whose_workers_die_is_given_up_with_what_they_had_under_way(desk: Open) -> None:
    async with desk(AGENT_JOB_ATTEMPTS="2") as here:
        id_ = await here.id_of("u", "hi")
        for _ in range(2):
            dead = await here.store.claim(box_of("u"))
            assert isinstance(dead, Claimed)
            await here.store.note(dead, conversation="conv_1", generation="resp_1")
            await here.store._link.redis.delete(f"{PREFIX}lease:{box_of('u')}")
        await here.play("u")
        assert (await here.look("u", id_)).json()["error"]["code"] == "workers_died"
        assert here.turn.given_up == [Left("conv_1", "resp_1")]


async def test_what_a_dead_worker_had_under_way_is_ended_when_its_job_is_given_up(desk: Open, stand: Any) -> None:
    stand.arm("stuck", upstream="openai")
    async with (
        desk(AGENT_JOB_ATTEMPTS="1", OPENAI_BASE_URL=stand.upstreams["openai"], AGENT_ENGINE="responses") as here,
        stand.async_openai() as openai,
    ):
        here.player._turn = here.real_turn()
        id_ = await here.id_of("u", "hi")
        dead = await here.store.claim(box_of("u"))
        conversation = (await openai.conversations.create()).id
        response = await openai.responses.create(model="m", input="hi", conversation=conversation, background=True)
        await here.store.note(dead, conversation=conversation, generation=response.id)
        await here.store._link.redis.delete(f"{PREFIX}lease:{box_of('u')}")
        assert json.loads(stand.ask("GET", "/summary")[1])["open_generations"] == 1
        await here.play("u")
        assert (await here.look("u", id_)).json()["error"]["code"] == "workers_died"

        async def is_ended() -> bool:
            return json.loads(stand.ask("GET", "/summary")[1])["open_generations"] == 0

        await _until(is_ended)


async def test_a_job_whose_message_was_lost_is_found(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        await here.id_of("u", "hi")
        assert await here.store.overdue() == [], "while messages wait, none is missing"
        with redis.Redis.from_url(redis_url) as client:
            client.delete(f"{PREFIX}work")
            assert await here.store.overdue() == [], "one may be on its way"
            client.delete(f"{PREFIX}awake:{box_of('u')}")
        assert await here.store.overdue() == [box_of("u")]
        assert await here.store.overdue() == [], "said once"


async def test_a_message_that_could_not_be_sent_is_made_up_for(
    desk: Open, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk() as here:

        def fail(box: str, after_s: float) -> None:
            raise ConnectionError

        with monkeypatch.context() as broken:
            broken.setattr(here.queue, "_send", fail)
            await here.id_of("u", "hi")
        assert _messages(redis_url) == []
        await here.player.start()
        async with asyncio.timeout(20):
            while not _messages(redis_url):  # noqa: ASYNC110 - what is waited for happens in Redis
                await asyncio.sleep(0.01)
        await here.player.stop()


async def test_the_queue_comes_back_with_its_redis(desk: Open, own_redis: Any) -> None:
    async with desk(REDIS_URL=own_redis.url) as here:
        lost = await here.id_of("u", "hi")
        own_redis.kill()
        assert (await here.say("u", "hi")).status_code == 503
        assert own_redis.start()
        await here.id_of("u", "hi again")
        assert len(_messages(own_redis.url)) == 1
        await here.play("u")
        assert (await here.look("u", lost)).status_code == 404, "what this Redis held is lost with it"


async def test_a_worker_is_told_in_time_or_not_at_all(desk: Open, own_redis: Any) -> None:
    """A Redis that stops just after it has taken a job in keeps neither its caller nor the threads that send."""
    async with desk(REDIS_URL=own_redis.url) as here:
        lost = await here.id_of("u", "hi")
        own_redis.pause()
        try:
            async with asyncio.timeout(60):  # without a bound it would last as long as the Redis stands still
                await here.queue.knock(box_of("u"))
        finally:
            own_redis.resume()
        assert (await here.look("u", lost)).status_code == 200


async def test_a_worker_that_stops_leaves_the_job_to_the_next_one(desk: Open, redis_url: str) -> None:
    async with desk() as here:
        begun = asyncio.Event()

        async def play(user: str, text: str) -> Answer:
            await TRACE.get().speaks("conv_1")
            await TRACE.get().runs("resp_1")
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                assert not TRACE.get().is_ours, "the next one goes on with what is under way"
            raise AssertionError

        here.turn.play = play
        id_ = await here.id_of("u", "hi")
        playing = asyncio.create_task(here.play("u"))
        await begun.wait()
        await here.player.stop()
        await playing
        assert (await here.look("u", id_)).json()["state"] == "waiting"
        assert len(_messages(redis_url)) == 2
        next_one = await here.store.claim(box_of("u"))
        assert isinstance(next_one, Claimed)
        assert (next_one.job.attempt, next_one.job.left) == (1, Left("conv_1", "resp_1"))


async def test_without_a_redis_there_is_no_queue_and_one_that_is_down_says_so(desk: Open) -> None:
    async with desk(REDIS_URL="") as here:
        response = await here.say("u", "hi")
        assert (response.status_code, response.json()["error"]["code"]) == (501, "no_queue")
        assert await here.jobs.erase("u") == []
    async with desk(REDIS_URL="redis://127.0.0.1:1/0") as here:
        assert await here.jobs.erase("u") == ["jobs"]
        assert "agent_jobs" not in (await here.client.get("/metrics")).text, "nobody knows"
        response = await here.say("u", "hi")
        assert (response.status_code, response.json()["error"]["code"]) == (503, "jobs_unavailable")
