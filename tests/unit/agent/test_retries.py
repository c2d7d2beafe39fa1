"""Is a call tried again when it helps, and only then?"""

from __future__ import annotations

import contextlib
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from agent_stage import HeldClock, KeptLog, settings, wire_to

from reference_agent.clock import Deadline, LoopClock
from reference_agent.conversation import BadArguments
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.outbound import Outbound
from reference_agent.parts.breaker import DocumentedBreaker, HardenedBreaker
from reference_agent.parts.metrics import DocumentedMetrics, HardenedMetrics
from reference_agent.parts.retries import DocumentedRetries, HardenedRetries, ProposedRetries

_REQUEST = httpx2.Request("POST", "http://openai/v1/threads")


def _status(status: int, **headers: str) -> openai.APIStatusError:
    response = httpx2.Response(status, request=_REQUEST, headers=headers)
    kinds = {401: openai.AuthenticationError, 400: openai.BadRequestError, 429: openai.RateLimitError}
    return kinds.get(status, openai.InternalServerError)("no", response=response, body=None)


def _connection(cause: Exception) -> openai.APIConnectionError:
    failure = openai.APIConnectionError(request=_REQUEST)
    failure.__cause__ = cause
    return failure


class Attempts:
    def __init__(self, *failures: Exception) -> None:
        self.made = 0
        self._failures = list(failures)

    async def __call__(self) -> str:
        self.made += 1
        if self._failures:
            raise self._failures.pop(0)
        return "good"


def _hardened(clock: Any, **given: Any) -> HardenedRetries:
    return HardenedRetries(settings(**given), clock, DocumentedBreaker(), KeptLog(), DocumentedMetrics())


async def test_documented_one_leaves_all_to_the_sdk() -> None:
    attempts = Attempts(_status(503))
    assert DocumentedRetries().client_options() == {}
    with pytest.raises(openai.InternalServerError):
        await DocumentedRetries().call("openai", attempts, HeldClock().deadline(), repeatable=False)
    assert attempts.made == 1


@pytest.mark.parametrize(("retries", "runs"), [(DocumentedRetries(), 2), (None, 1)], ids=["documented", "hardened"])
def test_documented_one_starts_a_second_run_when_the_answer_to_the_first_is_lost(
    retries: DocumentedRetries | None, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0

    def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal started
        started += 1
        if started == 1:
            raise httpx2.ReadError("the answer was lost", request=request)
        return httpx2.Response(200, json={"id": "run_2", "object": "thread.run"})

    monkeypatch.setattr("time.sleep", lambda _: None)  # between the SDK's attempts
    options = (retries or _hardened(HeldClock())).client_options()
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        client = openai.OpenAI(base_url="http://openai/v1", api_key="sk-test", http_client=http, **options)
        with contextlib.nullcontext() if runs == 2 else pytest.raises(openai.APIConnectionError):
            client.post("/threads/thread_1/runs", cast_to=object, body={"assistant_id": "asst_1"})
    assert started == runs


def test_hardened_one_turns_the_sdk_off() -> None:
    assert _hardened(HeldClock()).client_options() == {"max_retries": 0}


@pytest.mark.parametrize(
    "failure", [_status(503), _connection(httpx2.ReadError("")), httpx2.ReadError(""), _status(429)]
)
async def test_what_is_repeatable_is_repeated(failure: Exception) -> None:
    attempts = Attempts(failure, failure)
    assert await _hardened(HeldClock()).call("openai", attempts, HeldClock().deadline(), repeatable=True) == "good"
    assert attempts.made == 3


async def test_a_create_is_repeated_only_when_it_never_arrived() -> None:
    """No second run from a retried create."""
    lost = Attempts(_connection(httpx2.ReadError("")))
    with pytest.raises(Unavailable) as unavailable:
        await _hardened(HeldClock()).call("openai", lost, HeldClock().deadline(), repeatable=False)
    assert (lost.made, unavailable.value.never_arrived) == (1, False)
    for below in (aiohttp.ServerDisconnectedError(), aiohttp.ClientOSError()):
        # What the client's transport makes of a connection of aiohttp's that breaks while an answer is waited for.
        broken = httpx2.ConnectTimeout("")
        broken.__cause__ = below
        lost = Attempts(_connection(broken))
        with pytest.raises(Unavailable) as unavailable:
            await _hardened(HeldClock()).call("openai", lost, HeldClock().deadline(), repeatable=False)
        assert (lost.made, unavailable.value.never_arrived) == (1, False)
    refused = Attempts(_connection(httpx2.ConnectError("")))
    assert await _hardened(HeldClock()).call("openai", refused, HeldClock().deadline(), repeatable=False) == "good"


@pytest.mark.parametrize("failure", [_status(401)])
async def test_a_revoked_key_is_not_tried_again(failure: Exception) -> None:
    attempts = Attempts(failure)
    with pytest.raises(Unavailable) as unavailable:
        await _hardened(HeldClock()).call("openai", attempts, HeldClock().deadline(), repeatable=True)
    assert (attempts.made, unavailable.value.never_arrived) == (1, True)


@pytest.mark.parametrize("failure", [_status(400), ZeroDivisionError()])
async def test_what_is_not_the_upstreams_fault_stays_what_it_is(failure: Exception) -> None:
    attempts = Attempts(failure)
    with pytest.raises(type(failure)):
        await _hardened(HeldClock()).call("openai", attempts, HeldClock().deadline(), repeatable=True)
    assert attempts.made == 1


async def test_a_quota_that_is_exhausted_is_not_waited_for() -> None:
    response = httpx2.Response(429, request=_REQUEST, headers={"retry-after": "1"})
    attempts = Attempts(openai.RateLimitError("no", response=response, body={"code": "insufficient_quota"}))
    with pytest.raises(Unavailable, match="quota exhausted"):
        await _hardened(HeldClock()).call("openai", attempts, HeldClock().deadline(), repeatable=True)
    assert attempts.made == 1


async def test_retry_after_is_honoured_within_the_deadline_and_not_beyond() -> None:
    clock = HeldClock()
    await _hardened(clock).call(
        "openai", Attempts(_status(429, **{"retry-after": "2"})), clock.deadline(3), repeatable=True
    )
    assert clock.slept == [2.0]
    with pytest.raises(Unavailable) as unavailable:
        await _hardened(clock).call(
            "openai", Attempts(_status(429, **{"retry-after": "120"})), clock.deadline(3), repeatable=True
        )
    assert unavailable.value.retry_after_s == 120
    assert clock.slept == [2.0]


def _http_status(status: int, **headers: str) -> httpx2.HTTPStatusError:
    response = httpx2.Response(status, request=_REQUEST, headers=headers)
    return httpx2.HTTPStatusError("no", request=_REQUEST, response=response)


_DATED = {"date": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:02 GMT"}


@pytest.mark.parametrize("make", [_status, _http_status])
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("headers", "waits_s"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 1.5),
        (_DATED, 2.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": _DATED["retry-after"]}, None),
        ({"retry-after": "-5"}, None),
    ],
)
async def test_retry_after_is_read_in_all_its_forms_of_every_upstream(
    make: Any, status: int, headers: dict[str, str], waits_s: float | None
) -> None:
    clock = HeldClock()
    await _hardened(clock).call("weather", Attempts(make(status, **headers)), clock.deadline(5), repeatable=True)
    if waits_s is None:
        assert 0 < clock.slept[0] < 0.1, "its own pause"
    else:
        assert clock.slept == [waits_s]


async def test_every_failed_attempt_is_written_down_and_counted() -> None:
    log, clock = KeptLog(), HeldClock()
    metrics = HardenedMetrics(clock, DocumentedBreaker(), None)  # type: ignore[arg-type]
    retries = HardenedRetries(settings(), clock, DocumentedBreaker(), log, metrics)
    await retries.call("weather", Attempts(_http_status(503)), clock.deadline(), repeatable=True)
    assert log.events == ["upstream_failed"]
    assert log.facts == [{"upstream": "weather", "attempt": 1, "reason": "503", "again": True}]
    counts = {dict(labels)["outcome"]: count for labels, count in metrics._counts["agent_upstream_calls_total"].items()}
    assert counts == {"503": 1, "answered": 1}


@pytest.mark.parametrize(("status", "failure"), [(404, BadArguments), (400, BadArguments), (401, Unavailable)])
async def test_what_a_model_asks_for_in_vain_is_not_an_outage(status: int, failure: type[Exception]) -> None:
    async with wire_to(lambda _: httpx2.Response(status)) as wire:
        with pytest.raises(failure):
            await Outbound(wire, _hardened(LoopClock())).get_json(
                "weather", "http://weather/", Deadline.after(LoopClock(), 5)
            )


@pytest.mark.parametrize(("calls", "seconds_between"), [(20, 0.0), (200, 0.0), (200, 1.0)])
async def test_the_whole_process_has_one_budget_by_the_calls_that_it_makes(calls: int, seconds_between: float) -> None:
    """However fast they come, and without a breaker: one repeat for ten calls, and what was in reserve."""
    clock = HeldClock()
    retries = _hardened(clock, retry_reserve=3, retries_per_s=0.05)
    clock.sleep = _no_time_passes  # type: ignore[method-assign]
    made = 0
    for _ in range(calls):
        attempts = Attempts(*(_status(503) for _ in range(9)))
        with pytest.raises(Unavailable):
            await retries.call("openai", attempts, clock.deadline(), repeatable=True)
        made += attempts.made
        clock.time += seconds_between
    most = 3 + calls * (0.1 + 0.05 * seconds_between)
    assert most - 2 < made - calls <= most


async def test_a_call_that_the_breaker_does_not_let_through_earns_no_repeat() -> None:
    """In an outage that is most of them, and then they would pay for repeats of the few probes."""
    clock = HeldClock()
    clock.sleep = _no_time_passes  # type: ignore[method-assign]
    chosen = settings(retry_reserve=3, retries_per_s=1e-9, retry_attempts=4, breaker_calls=1)
    breaker = HardenedBreaker(chosen, clock)
    retries = HardenedRetries(chosen, clock, breaker, KeptLog(), DocumentedMetrics())
    with pytest.raises(Unavailable):
        await retries.call("openai", Attempts(_status(503)), clock.deadline(), repeatable=True)
    assert breaker.states() == {"openai": "open"}
    without = retries._budget
    for _ in range(100):
        with pytest.raises(Unavailable):
            await retries.call("openai", Attempts(), clock.deadline(), repeatable=True)
    assert retries._budget == pytest.approx(without)


async def _no_time_passes(seconds: float) -> None:
    pass


async def test_a_hang_is_given_up() -> None:
    clock = LoopClock()

    async def hang() -> None:
        await clock.sleep(60)

    with pytest.raises(Unavailable, match="no answer in time"):
        await _hardened(clock, openai_call_s=0.01, retry_attempts=1).call(
            "openai", hang, Deadline.after(clock, 5), repeatable=True
        )


async def test_nothing_is_begun_after_the_deadline() -> None:
    attempts = Attempts()
    with pytest.raises(OutOfTime):
        await _hardened(HeldClock()).call("openai", attempts, HeldClock().deadline(0), repeatable=True)
    assert attempts.made == 0


async def test_proposed_one_multiplies_the_sdks_attempts_and_starts_a_second_run() -> None:
    retries = ProposedRetries(HeldClock(), DocumentedBreaker())
    assert retries.client_options() == {}, "three attempts of the SDK's in each of these"
    lost = Attempts(_connection(httpx2.ReadError("")))
    assert await retries.call("openai", lost, HeldClock().deadline(0), repeatable=False) == "good"
    assert lost.made == 2
