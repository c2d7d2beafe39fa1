"""What is wrong with jobs that are none, or a task per message? (The hardened ones: `contract/jobs/`.)"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from agent_stage import settings
from fastapi import FastAPI

from reference_agent.parts.audio import Speech
from reference_agent.parts.jobs import PATH, DocumentedJobs, ProposedJobs
from reference_agent.turn import Answer

_REDIS = "redis://127.0.0.1:1/0"  # nobody listens there, and nobody is to be asked


class MeetingTurn:
    """A turn that waits for another one of the same user to be under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self._both = asyncio.Event()

    async def answer(self, user_id: str, message: str) -> Answer:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.under_way == 2:
            self._both.set()
        await asyncio.wait_for(self._both.wait(), 5)
        self.under_way -= 1
        return Answer(message, Speech(iter([b"RIFF"])))


def _proposed(turn: Any = None) -> ProposedJobs:
    return ProposedJobs(settings(redis_url=_REDIS), turn)


async def _post(jobs: DocumentedJobs | ProposedJobs) -> httpx2.Response:
    app = FastAPI()
    jobs.install(app)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://agent") as client:
        return await client.post(PATH, json={"user_id": "u", "message": "hi"})


async def test_documented_one_has_no_jobs() -> None:
    assert (await _post(DocumentedJobs())).status_code == 404
    assert DocumentedJobs().work() is None
    assert await DocumentedJobs().erase("u") == []


async def test_proposed_one_takes_in_any_number_and_hands_the_words_to_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    jobs, sent = _proposed(), []

    class Sent:
        id = "t"

    def send_task(name: str, args: list[str]) -> Sent:
        sent.append(args)
        return Sent()

    monkeypatch.setattr(jobs._celery, "send_task", send_task)
    for _ in range(200):
        assert (await _post(jobs)).status_code == 202
    assert sent == [["u", "hi"]] * 200, "no bound, no order: nothing ties a user's messages together"
    assert await jobs.erase("u") == [], "and nothing of it is ever erased"


async def test_proposed_one_plays_two_turns_of_one_user_at_once() -> None:
    turn = MeetingTurn()
    work = _proposed(turn).work()
    assert work is not None
    play: Any = work.tasks["chat"]
    first, second = await asyncio.gather(play("u", "one"), play("u", "two"))
    assert turn.most == 2
    assert (first["reply"], second["reply"]) == ("one", "two")


def test_proposed_one_acknowledges_before_it_works() -> None:
    conf = _proposed()._celery.conf
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (False, None)
