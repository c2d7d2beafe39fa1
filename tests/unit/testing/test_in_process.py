"""Addresses, faults and ledger of one test, without any client."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.faults import FaultError, catalogue
from harness.testing.clock import JumpingClock
from harness.testing.flight import Patience, Pause
from harness.testing.in_process import InProcess
from harness.upstreams import wire
from harness.upstreams.epoch import EpochSettings

WEATHER = wire.Request(method="GET", path="/data/2.5/weather", query="q=Tokyo&appid=k")


class Refused(Exception):
    pass


class Unreachable(Exception):
    pass


class Broken(Exception):
    pass


class TooLate(Exception):
    pass


class Nonsense(Exception):
    pass


ERRORS: Any = SimpleNamespace(
    ConnectError=Refused,
    ConnectTimeout=Unreachable,
    ReadError=Broken,
    ReadTimeout=TooLate,
    RemoteProtocolError=Nonsense,
)


@pytest.fixture
def home() -> Iterator[InProcess]:
    with InProcess(EpochSettings(name="test", seed=1), JumpingClock()) as home:
        yield home


def arrivals(home: InProcess, *, read_s: float | None = 1.0, request: wire.Request = WEATHER) -> list[Any]:
    """Call the weather and return what happens, pauses included, their time having passed."""
    happened = []
    for what in home.call("weather", request, ERRORS, Patience(connect_s=2.0, read_s=read_s)):
        if isinstance(what, Pause):
            assert what.seconds is not None
            home.clock.jump(what.seconds)  # type: ignore[union-attr]
        happened.append(what)
    return happened


def test_an_answer_is_waits_a_head_and_a_body(home: InProcess) -> None:
    pause, head, body = arrivals(home)
    assert pause.seconds > 0
    assert head.status == 200
    assert len(body) == head.length
    assert [(call.status, call.response_bytes) for call in home.ledger.calls] == [(200, len(body))]


@pytest.mark.parametrize(
    ("fault", "fields", "error"),
    [
        ("refuse", {}, Refused),
        ("blackhole", {}, Unreachable),
        ("reset", {}, Broken),
        ("hang", {}, TooLate),
        ("slow", {"delay_s": 2.0}, TooLate),
        ("stall", {"after_bytes": 3}, TooLate),
        ("cut", {"after_bytes": 3}, Nonsense),
    ],
)
def test_what_faults_become(home: InProcess, fault: str, fields: dict[str, Any], error: type[Exception]) -> None:
    home.faults.arm(fault, upstream="weather", **fields)
    began_ns = home.now_ns()
    with pytest.raises(error):
        arrivals(home)
    waited_s = (home.now_ns() - began_ns) / 1e9
    if error is TooLate:
        assert 1.0 <= waited_s < 1.9
        assert home.ledger.calls[0].client_gone
    if error is Unreachable:
        assert waited_s >= 2.0
        assert home.ledger.calls == []


def test_patience_is_counted_between_two_arrivals(home: InProcess) -> None:
    home.faults.arm("drip", upstream="weather", bytes=20, every_s=0.9)
    whole = b"".join(one for one in arrivals(home) if isinstance(one, bytes))
    assert whole.startswith(b"{")
    assert whole.endswith(b"}")


def test_times_are_checked_of_whole_faults_too_and_an_armed_one_shows_itself(home: InProcess) -> None:
    whole = catalogue()["hang"](upstream="weather", times=1)  # type: ignore[call-arg]
    with pytest.raises(FaultError, match="`for_s` is 0, expected seconds, more than 0"):
        home.faults.arm(whole, for_s=0)
    with pytest.raises(FaultError, match="`from_s` is -1, expected seconds, 0 or more"):
        home.faults.arm(whole, from_s=-1)
    assert home.faults.armed == []
    assert repr(home.faults.arm(whole)) == "<fault f1 hang(upstream='weather', times=1), fired 0 times>"


def test_a_call_that_is_left_is_recorded(home: InProcess) -> None:
    flight = home.call("weather", WEATHER, ERRORS, Patience())
    life = iter(flight)
    next(life)
    assert home.ledger.calls == []
    flight.leave()
    flight.leave()
    assert [(call.status, call.client_gone) for call in home.ledger.calls] == [(None, True)]


def test_a_call_that_has_not_begun_leaves_nothing(home: InProcess) -> None:
    home.call("weather", WEATHER, ERRORS, Patience()).leave()
    assert home.ledger.calls == []


def test_the_longest_address_is_taken(home: InProcess) -> None:
    home.serve("openai")
    weather = home.serve("weather")
    home.answer_at("openai", "https://gateway.example.com/llm/")
    home.answer_at("weather", "https://gateway.example.com")
    assert home.find("https://api.openai.com/v1/models") == ("openai", "/v1/models")
    assert home.find("https://gateway.example.com/llm/models") == ("openai", "/v1/models")
    assert home.find("https://gateway.example.com/llmx") == ("weather", "/llmx")
    assert home.find("https://gateway.example.com.evil.org/x") is None
    assert home.find(weather.url) == ("weather", "")


def test_an_upstream_that_is_none_is_named(home: InProcess) -> None:
    with pytest.raises(ValueError, match=r"no upstream 'openia'; expected one of .*openai"):
        home.serve("openia")


def test_a_fault_is_lifted_at_the_end_of_its_block(home: InProcess) -> None:
    with home.faults.arm("status", upstream="weather", status=503) as status:
        assert arrivals(home)[-2].status == 503
        assert status.fired == 1
    assert arrivals(home)[-2].status == 200
    status.lift()
    assert [event.event for event in home.faults.events] == ["armed", "fired", "lifted"]


def test_a_fault_that_never_fired_is_known(home: InProcess) -> None:
    unused = home.faults.arm("hang", upstream="openai")
    home.faults.arm("hang", upstream="tts", may_stay_unused=True)
    unused.lift()
    assert home.faults.unused == [unused]
    assert str(unused) == "hang(upstream='openai')"


def test_a_fault_may_be_given_whole(home: InProcess) -> None:
    fault = catalogue()["hang"](upstream="weather")  # type: ignore[call-arg]
    home.faults.arm(fault)
    with pytest.raises(FaultError, match="given whole"):
        home.faults.arm(fault, upstream="openai")


@pytest.mark.parametrize(
    ("fault", "fields", "said"),
    [
        ("hnag", {}, "Did you mean `hang`"),
        ("slow", {"delay": 1}, "Did you mean `delay_s`"),
        ("hang", {"upstream": "opnai"}, "There is no upstream `opnai`"),
        ("kill", {}, "supervisor"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(home: InProcess, fault: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(FaultError, match=said):
        home.faults.arm(fault, **fields)
    assert home.faults.armed == []


def test_a_fault_that_comes_later_and_goes_by_itself(home: InProcess) -> None:
    assert isinstance(home.clock, JumpingClock)
    later = home.faults.arm("status", upstream="weather", status=500, from_s=10, for_s=10)
    assert [event.event for event in home.faults.events] == ["planned"]
    assert arrivals(home)[-2].status == 200
    home.clock.jump(10)
    assert arrivals(home)[-2].status == 500
    home.clock.jump(10)
    assert arrivals(home)[-2].status == 200
    later.lift()
    assert [event.event for event in home.faults.events] == ["planned", "armed", "fired", "lifted"]


def test_a_planned_fault_may_be_given_up(home: InProcess) -> None:
    assert isinstance(home.clock, JumpingClock)
    home.faults.arm("refuse", upstream="weather", from_s=10, may_stay_unused=True).lift()
    home.clock.jump(20)
    assert arrivals(home)[-2].status == 200
