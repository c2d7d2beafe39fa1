"""Is a job answered once, and in its user's order, by workers that are real processes and are really killed?"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis

from harness.stack.household import free_port

pytestmark = pytest.mark.timeout(400)  # many things have to come true, each of which has its own bound

# An attempt is over within 5 s, so that a worker's message is delivered again after 8. One call may take as long as it
# takes on a busy machine.
_SHORT = {"AGENT_JOB_S": "5", "AGENT_OPENAI_CALL_S": "5"}


def test_a_worker_is_killed_in_the_middle_and_its_job_is_answered_once(
    house: Any, until: Callable[..., Any], stand: Any
) -> None:
    stand.begin_epoch(latency="fast", latency_scale=20)  # the model takes about a second
    here = house(AGENT_ENGINE="responses", **_SHORT)
    here.start_agent()
    doomed = here.start_worker("doomed")
    here.wait_until_up()
    id_ = here.say("tama", "私の電話は090-1234-5678だよ").json()["job_id"]
    until(lambda: here.runs_begun() == 1, said=lambda: here.log("doomed"))
    doomed.kill()
    doomed.wait(5)
    assert here.job("tama", id_)["state"] == "running"
    port = free_port()
    here.start_worker("heir", port=port)
    job = here.ended("tama", id_)
    assert (job["state"], job["attempts"]) == ("done", 2), job
    assert here.client.get(job["audio"]).content.startswith(b"RIFF")
    assert here.runs_begun() == 1, "the second attempt went on with what the first had begun"
    assert here.runs_open() == 0
    said = [call for call in stand.calls() if call["upstream"] == "tts"]
    assert len(said) == 1
    agents, workers = here.client.get("/metrics").text, here.client.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'agent_jobs_total{what="redelivered"} 1' in agents
    assert 'agent_jobs{state="running"} 0' in agents
    assert 'agent_turns_total{outcome="answered"' in workers
    assert here.client.get(f"http://127.0.0.1:{port}/health").status_code == 200
    for name in ("agent", "doomed", "heir"):
        assert "090-1234-5678" not in here.log(name)


def test_two_workers_keep_every_users_order_and_a_worker_that_stops_hands_over(
    house: Any, until: Callable[..., Any], stand: Any
) -> None:
    here = house(AGENT_ENGINE="assistants")
    here.start_agent()
    workers = {name: here.start_worker(name, turns=1) for name in ("one", "two")}
    here.wait_until_up()
    for name in workers:
        until(lambda name=name: "worker_ready" in here.log(name), said=lambda name=name: here.log(name))
    users = ("tama", "mike", "kuro")
    jobs = [
        (user, here.say(user, f"{number}番目の話 #h{user}{number:04}").json()["job_id"])
        for number in range(4)
        for user in users
    ]
    # In the middle of it one of them is told to stop: what it has is finished, or goes to the other one.
    until(lambda: "heard" in here.log("one") and "heard" in here.log("two"), said=lambda: here.log("one"))
    workers["one"].terminate()
    for user, id_ in jobs:
        assert here.ended(user, id_)["state"] == "done"
    assert workers["one"].wait(20) == 0
    for user in users:
        said = [
            call["text"]
            for call in stand.calls()
            if call["route"] == "POST /v1/threads/{thread_id}/messages" and f"#h{user}" in (call["text"] or "")
        ]
        assert said == [f"{number}番目の話 #h{user}{number:04}" for number in range(4)]
    assert here.runs_begun() == len(jobs)
    assert here.runs_open() == 0


def test_the_proposed_one_lets_messages_overtake_and_loses_what_a_worker_had(
    house: Any, until: Callable[..., Any], redis_url: str, stand: Any
) -> None:
    here = house(AGENT_PROFILE="proposed", AGENT_ENGINE="responses")
    here.start_agent()
    worker = here.start_worker()
    here.wait_until_up()
    held = stand.arm("hang", upstream="openai", route="POST /v1/conversations", times=1)

    def opened() -> int:
        return sum(event["event"] == "fired" for event in stand.lines("/events"))

    first = here.say("tama", "一番目").json()["job_id"]
    until(lambda: opened() == 1, said=here.log)
    second = here.say("tama", "二番目").json()["job_id"]
    assert here.ended("tama", second)["state"] == "done"
    assert here.job("tama", first)["state"] == "waiting", "overtaken"

    worker.kill()
    worker.wait(5)
    stand.lift(held)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("celery") == 0
        assert client.hlen("unacked") == 0, "acknowledged before it was worked on: nobody will ever see it again"
    assert here.job("somebody else", second)["reply"], "whoever knows the id may read the answer"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"REDIS_URL": ""}, "REDIS_URL is not set"),
        ({"AGENT_PART_JOBS": "documented"}, "nothing for a worker to do"),
        ({"AGENT_SESSION_STORE": "memory"}, "cannot be shared"),
        ({"AGENT_PART_EXPRESSIONS": "documented", "REDIS_URL": "redis://192.0.2.1/0"}, "vulnerable on purpose"),
    ],
)
def test_a_worker_that_could_not_work_says_why(
    environ: dict[str, str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from reference_agent.__main__ import main

    given = {"OPENAI_API_KEY": "sk-test", "AGENT_PROFILE": "hardened", "REDIS_URL": "redis://127.0.0.1/0"}
    assert main(["worker"], given | environ) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_the_page_of_the_interface_shows_how_jobs_are_used() -> None:
    from reference_agent.app import create_app
    from reference_agent.compose import Composition
    from reference_agent.settings import read_settings

    given = {"OPENAI_API_KEY": "sk-test", "AGENT_PROFILE": "hardened", "REDIS_URL": "redis://127.0.0.1/0"}
    pages: dict[str, Any] = create_app(Composition(*read_settings(given))).openapi()["paths"]
    assert {"/jobs", "/jobs/{job_id}", "/jobs/{job_id}/audio", "/jobs/{job_id}/events"} <= set(pages)
    create = pages["/jobs"]["post"]
    assert json.dumps(create["responses"]["202"]).count("/jobs/") == 2
    assert create["requestBody"]["content"]["application/json"]["example"]["user_id"]
    assert {"202", "422", "429", "503"} <= set(create["responses"])
