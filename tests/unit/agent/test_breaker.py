"""Is an upstream that is down left alone, and found again when it is back?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx2
import pytest
from agent_stage import HeldClock, settings

from reference_agent.errors import Unavailable
from reference_agent.parts.breaker import DocumentedBreaker, HardenedBreaker, ProposedBreaker


def _call(breaker: DocumentedBreaker | HardenedBreaker, failure: BaseException | None = None) -> None:
    with breaker.around("openai"):
        if failure is not None:
            raise failure


def _break(breaker: DocumentedBreaker | HardenedBreaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(httpx2.ReadError):
            _call(breaker, httpx2.ReadError(""))


@contextmanager
def _swallowing(breaker: HardenedBreaker) -> Iterator[None]:
    """A call that is under way, and fails at the end of the context."""
    with suppress(httpx2.ReadError), breaker.around("openai"):
        yield
        raise httpx2.ReadError("")


def _open(clock: HeldClock) -> HardenedBreaker:
    breaker = HardenedBreaker(settings(), clock)
    _break(breaker, 5)
    return breaker


def test_documented_one_never_opens() -> None:
    breaker = DocumentedBreaker()
    _break(breaker, 100)
    assert breaker.states() == {}, "and nobody can see how the upstream is"


def test_opens_on_a_share_of_failures_and_not_on_a_few() -> None:
    clock = HeldClock()
    breaker = HardenedBreaker(settings(), clock)
    for _ in range(10):
        _call(breaker)
    _break(breaker, 4)
    assert breaker.states() == {"openai": "closed"}
    _break(breaker, 6)
    assert breaker.states() == {"openai": "open"}
    with pytest.raises(Unavailable) as unavailable:
        _call(breaker)
    assert unavailable.value.never_arrived


def test_what_went_well_before_does_not_keep_it_closed_while_nothing_does_any_more() -> None:
    breaker = HardenedBreaker(settings(), HeldClock())
    for _ in range(200):
        _call(breaker)
    _break(breaker, 9)
    _call(breaker)
    _break(breaker, 9)
    assert breaker.states() == {"openai": "closed"}, "one in ten is well"
    _break(breaker, 1)
    assert breaker.states() == {"openai": "open"}


def test_old_failures_are_forgotten() -> None:
    clock = HeldClock()
    breaker = HardenedBreaker(settings(), clock)
    _break(breaker, 4)
    clock.time += 11
    _break(breaker, 4)
    assert breaker.states() == {"openai": "closed"}


def test_closes_on_the_first_good_probe() -> None:
    clock = HeldClock()
    breaker = _open(clock)
    clock.time += 0.6
    assert breaker.states() == {"openai": "half-open"}
    _call(breaker)
    assert breaker.states() == {"openai": "closed"}


def test_a_bad_probe_opens_it_again() -> None:
    clock = HeldClock()
    breaker = _open(clock)
    clock.time += 0.6
    _break(breaker, 1)
    with pytest.raises(Unavailable):
        _call(breaker)


def test_probes_are_bounded() -> None:
    """The half-open breakers of the usual libraries let every concurrent probe through."""
    clock = HeldClock()
    breaker = _open(clock)
    clock.time += 0.6
    with breaker.around("openai"):
        for _ in range(50):
            with pytest.raises(Unavailable):
                _call(breaker)
    _call(breaker)


def test_a_probe_that_hangs_does_not_keep_the_next_one_waiting() -> None:
    clock = HeldClock()
    breaker = _open(clock)
    with ExitStack() as hanging:
        for _ in range(4):
            clock.time += 0.6
            hanging.enter_context(breaker.around("openai"))
        clock.time += 0.6
        with pytest.raises(Unavailable):
            _call(breaker)


def test_late_failures_of_calls_from_before_do_not_keep_it_open() -> None:
    clock = HeldClock()
    breaker = HardenedBreaker(settings(), clock)
    with ExitStack() as under_way:
        for _ in range(3):
            under_way.enter_context(_swallowing(breaker))
        _break(breaker, 5)
        clock.time += 0.6
        under_way.close()
        _call(breaker)
    assert breaker.states() == {"openai": "closed"}


def test_a_cancelled_probe_says_nothing() -> None:
    clock = HeldClock()
    breaker = _open(clock)
    clock.time += 0.6
    with pytest.raises(asyncio.CancelledError):
        _call(breaker, asyncio.CancelledError())
    assert breaker.states() == {"openai": "half-open"}
    _call(breaker)
    assert breaker.states() == {"openai": "closed"}


def test_a_bug_of_ours_is_no_failure_of_theirs() -> None:
    breaker = HardenedBreaker(settings(), HeldClock())
    for _ in range(10):
        with pytest.raises(KeyError):
            _call(breaker, KeyError())
    assert breaker.states() == {"openai": "closed"}


def test_upstreams_break_apart_from_each_other() -> None:
    breaker = _open(HeldClock())
    with breaker.around("tts"):
        pass
    assert breaker.states() == {"openai": "open", "tts": "closed"}


def test_proposed_one_stays_open_for_ever_and_counts_our_bugs() -> None:
    breaker = ProposedBreaker()
    for _ in range(5):
        with pytest.raises(KeyError), breaker.around("openai"):
            raise KeyError
    for _ in range(1000):
        with pytest.raises(Unavailable), breaker.around("openai"):
            pass
    assert breaker.states() == {"openai": "open"}
