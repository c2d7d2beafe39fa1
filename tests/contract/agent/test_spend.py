"""Does what the agent says that it spent agree with its upstream's ledger, user by user?"""

from __future__ import annotations

import itertools
import signal
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.agent.agent_process import Agent
from tests.waiting import until

_ENGINES = pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
_BACKGROUND = pytest.mark.parametrize("engine", ["assistants", "responses"])
_PATHS = ("/chat-agent", "/chat-agent/stream")
_MAKES = {"assistants": "POST /v1/threads/{thread_id}/runs", "responses": "POST /v1/responses"}
_TALK = ("よく晴れた日に海を見に行きました", "今何時で、東京の天気はどうですか", "ありがとう")
_GOES_ON = {**_MAKES, "assistants": "POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs"}
_LAST_MADE = {
    "assistants": 1,
    "responses": 3,
}  # calls of that route, as the second answer to the second question begins
_ESTIMATED = {"responses": 0.4, "chat": 0.6}
"""Largest share: of a response, the upstream tells what it was given, if it is not too busy to (0.04, else 0.5); a run
tells everything."""
_TO_THE_CENT = 0.005
"""US dollars: what rounds to the same cent. Any call that is left out, or booked twice, is more."""

Dollars = dict[str, float]


def _mark(user: str) -> str:
    """Return what the ledger knows a user's calls by."""
    return f"#h{user:0>8}"


def _said(user: str, text: str) -> str:
    return f"{text} {_mark(user)}"


def _charged(agent: Agent, users: Iterable[str]) -> Dollars:
    """Return what the model's upstream charges, by user."""
    by_mark: defaultdict[str, float] = defaultdict(float)
    for call in agent.stand.calls():
        if call["upstream"] == "openai":
            by_mark[call.get("mark", "")] += call.get("cost_usd", 0.0)
    users_by_mark = {_mark(user): user for user in users}
    assert by_mark.keys() - {""} == users_by_mark.keys()
    assert by_mark[""] == 0, "somebody pays for every call"
    return {users_by_mark[mark]: usd for mark, usd in by_mark.items() if mark}


def _booked(home: Path, kind: str = "%") -> Dollars:
    """Return what the agent has written down that the model cost, by user; `kind` as in SQL's LIKE."""
    with closing(sqlite3.connect(home / ".local/state/reference-agent/sessions.sqlite")) as sessions:
        asked = "SELECT user_id, sum(usd) FROM spend WHERE model != 'speech' AND model LIKE ? GROUP BY user_id"
        return dict(sessions.execute(asked, (kind,)).fetchall())


def _counted(agent: Agent, name: str) -> float:
    """Return a figure of the model in the agent's metrics."""
    lines = agent.client.get("/metrics").text.splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name}{{") and 'of="speech"' not in line
    )


def _agree(booked: Dollars, charged: Dollars) -> bool:
    return booked.keys() == charged.keys() and all(
        booked[user] == pytest.approx(charged[user], abs=_TO_THE_CENT) for user in charged
    )


def _settles(agent: Agent, users: Sequence[str]) -> None:
    """Wait until both agree: what is given up is booked behind its caller's back."""
    until(
        lambda: _agree(_booked(agent.home), _charged(agent, users)),
        lambda: (_booked(agent.home), _charged(agent, users), agent.log.read_text()),
    )


@_ENGINES
def test_what_was_answered_agrees_exactly_user_by_user(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    agent = start_agent(engine)
    users = [f"user{number}" for number in range(3)]
    for user in users:
        for text in _TALK:
            assert agent.chat(user, _said(user, text)).status_code == 200
        assert dict(agent.read(user, _said(user, _TALK[1])))["done"]
    charged = _charged(agent, users)
    assert _booked(agent.home) == pytest.approx(charged, rel=1e-9)
    assert _booked(agent.home, "%(estimated)") == {}
    assert _counted(agent, "agent_spend_usd_total") == pytest.approx(sum(charged.values()), rel=1e-9)
    assert _counted(agent, "agent_spend_estimated_usd_total") == 0


@_ENGINES
def test_what_was_given_up_agrees_to_the_cent_and_is_said_to_be_estimated(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    """Nobody gets past a budget by hanging up."""
    stand.begin_epoch(latency="fast", latency_scale=20)  # the model takes about a second
    agent = start_agent(engine, AGENT_HEARTBEAT_S="0.1")
    users = [f"leaver{number}" for number in range(4)]
    for user in users:
        assert agent.chat(user, _said(user, _TALK[0])).status_code == 200
    for number, user in enumerate(users):
        with agent.asking(user, _said(user, _TALK[2]), _PATHS[number % 2]):
            until(agent.open_upstream, agent.log.read_text)
        until(lambda: not agent.open_upstream(), agent.log.read_text)
    _settles(agent, users)
    booked = _booked(agent.home)
    estimated = sum(_booked(agent.home, "%(estimated)").values())
    if engine in _ESTIMATED:
        assert 0 < estimated < _ESTIMATED[engine] * sum(booked.values())
    else:
        assert estimated == 0
    assert _counted(agent, "agent_spend_estimated_usd_total") == pytest.approx(estimated)
    assert _counted(agent, "agent_spend_usd_total") == pytest.approx(sum(booked.values()))


@_BACKGROUND
def test_what_tools_were_run_for_and_was_then_given_up_agrees_to_the_cent(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    """The first of two answers is told, the second one is cut off."""
    stand.begin_epoch(latency="fast", latency_scale=20)
    agent = start_agent(engine)
    assert agent.chat("asker", _said("asker", _TALK[0])).status_code == 200
    with agent.asking("asker", _said("asker", _TALK[1])):
        until(lambda: _made(agent, _GOES_ON[engine]) == _LAST_MADE[engine], agent.log.read_text)
    until(lambda: not agent.open_upstream(), agent.log.read_text)
    _settles(agent, ["asker"])


def _made(agent: Agent, route: str) -> int:
    return sum(call["route"] == route for call in agent.stand.calls())


@_BACKGROUND
def test_an_answer_that_comes_after_all_patience_is_booked_once(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    agent = start_agent(engine, AGENT_OPENAI_CALL_S="2")
    assert agent.chat("patient", _said("patient", _TALK[0])).status_code == 200
    slow = stand.arm("slow", upstream="openai", route=_MAKES[engine], delay_s=6)  # thrice as long as is waited for it
    assert agent.chat("patient", _said("patient", _TALK[2])).status_code == 503
    stand.lift(slow)
    until(lambda: _made(agent, _MAKES[engine]) == 2, agent.log.read_text)
    _settles(agent, ["patient"])
    until(lambda: not agent.open_upstream(), agent.log.read_text)
    assert agent.chat("patient", _said("patient", _TALK[0])).status_code == 200
    assert _agree(_booked(agent.home), _charged(agent, ["patient"])), "and not once more"


@_BACKGROUND
def test_one_whose_answer_is_lost_is_made_once_and_booked_once(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    agent = start_agent(engine)
    assert agent.chat("loser", _said("loser", _TALK[0])).status_code == 200
    stand.arm("answer_lost", upstream="openai", route=_MAKES[engine], times=1)
    assert agent.chat("loser", _said("loser", _TALK[2])).status_code == 503
    assert _made(agent, _MAKES[engine]) == 2, "not sent again: it may well have been carried out"
    _settles(agent, ["loser"])
    assert agent.chat("loser", _said("loser", _TALK[0])).status_code == 200
    assert _agree(_booked(agent.home), _charged(agent, ["loser"]))


@_BACKGROUND
def test_one_that_never_arrived_costs_nothing(engine: str, stand: Any, start_agent: Callable[..., Agent]) -> None:
    agent = start_agent(engine, AGENT_OPENAI_CALL_S="2")
    assert agent.chat("hanger", _said("hanger", _TALK[0])).status_code == 200
    charged = _charged(agent, ["hanger"])
    hang = stand.arm("hang", upstream="openai", route=_MAKES[engine])
    assert agent.chat("hanger", _said("hanger", _TALK[2])).status_code == 503
    stand.lift(hang)
    until(lambda: agent.chat("hanger", _said("hanger", _TALK[2])).status_code == 200, agent.log.read_text)
    assert _booked(agent.home) == pytest.approx(_charged(agent, ["hanger"]))
    assert _booked(agent.home)["hanger"] > charged["hanger"]


@_ENGINES
def test_what_the_end_of_the_process_cuts_off_is_booked(
    engine: str, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    stand.begin_epoch(latency="fast", latency_scale=20)
    agent = start_agent(engine, AGENT_SHUTDOWN_S="0.1")
    assert agent.chat("last", _said("last", _TALK[0])).status_code == 200
    with agent.asking("last", _said("last", _TALK[2])):
        until(agent.open_upstream, agent.log.read_text)
        agent.process.send_signal(signal.SIGTERM)
        assert agent.process.wait(60) == 0, agent.log.read_text()
    until(lambda: not agent.open_upstream(), agent.log.read_text)
    assert _agree(_booked(agent.home), _charged(agent, ["last"])), (_booked(agent.home), _charged(agent, ["last"]))


_USER_BUDGET_USD = 0.03
_DEAREST_TURN_USD = 0.03  # 0.008, and twice of it where a reply has to be put into character
_WORDS = {
    "ja": ("今日はたくさん話したにゃん。また明日にゃん", "今日はもうお店じまいにゃん。また明日にゃん"),
    "ko": ("오늘은 많이 이야기했어요", "오늘은 문을 닫았어요"),
    "en": ("We talked a lot", "Done for today"),
    "de": ("Heute war es viel", "Für heute ist Schluss"),
}


def test_a_budget_holds_over_replicas_and_refuses_politely_in_the_callers_language(
    tmp_path: Path, stand: Any, start_agent: Callable[..., Agent]
) -> None:
    shared = {
        "AGENT_SESSION_STORE": f"sqlite:{tmp_path}/shared.sqlite",
        "AGENT_USER_BUDGET_USD": str(_USER_BUDGET_USD),
        "AGENT_BUDGET_USD": str(3 * (_USER_BUDGET_USD + _DEAREST_TURN_USD)),
    }
    replicas = [start_agent(**shared) for _ in range(2)]
    number = itertools.count()

    def ask(replica: int, user: str, language: str, path: str = _PATHS[0]) -> httpx.Response:
        said = _said(user, f"{next(number)}回、{_TALK[0]}")  # numbered, or the cache answers
        body = {"user_id": user, "message": said, "language": language}  # chosen: it goes before what is written in
        return replicas[replica].client.post(path, json=body)

    def is_refused(answer: httpx.Response, code: str, words: str) -> bool:
        error = answer.json()["error"]
        assert words in error["message"]
        assert 0 < error["retry_after_s"] <= 86_400
        assert int(answer.headers["Retry-After"]) >= error["retry_after_s"] - 1
        return (answer.status_code, error["code"]) == (429, code)

    def talk(user: Callable[[int], str], language: str) -> int:
        """Return how many turns are answered, by one replica and the other, until one is refused."""
        for turn in range(10):
            if ask(turn % 2, user(turn), language).status_code == 429:
                return turn
        pytest.fail("nobody is refused")

    for language, (of_user, _) in list(_WORDS.items())[:3]:
        user = f"eager{language}"
        assert talk(lambda _, user=user: user, language) > 0  # type: ignore[misc]
        for path in _PATHS:
            for replica in range(2):
                assert is_refused(ask(replica, user, language, path), "user_budget_spent", of_user)
    spent = _charged(replicas[0], ["eagerja", "eagerko", "eageren"])
    assert all(_USER_BUDGET_USD <= usd < _USER_BUDGET_USD + _DEAREST_TURN_USD for usd in spent.values()), spent
    assert talk(lambda turn: f"other{turn}", "de") > 0, "who has spent nothing is still let in"
    calls = len(stand.calls())
    for language, (_, of_all) in _WORDS.items():
        for replica in range(2):
            assert is_refused(ask(replica, f"late{language}", language), "budget_spent", of_all)
    assert len(stand.calls()) == calls, "a refusal costs nothing"
