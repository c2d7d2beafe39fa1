"""What does a caller get when a turn fails?"""

from __future__ import annotations

import json

import pytest
from agent_stage import KeptLog, hardened_failures, settings
from starlette.requests import ClientDisconnect

from reference_agent.errors import Gone, HandledFailure, OutOfTime, Refused, Unavailable
from reference_agent.parts.failures import DocumentedFailures
from reference_agent.parts.locale import DocumentedLocale
from reference_agent.parts.persona import DocumentedPersona


def _documented() -> DocumentedFailures:
    return DocumentedFailures(DocumentedPersona(settings(), DocumentedLocale()))


def test_documented_one_calls_a_handled_failure_a_success() -> None:
    response = _documented().answer(HandledFailure("TTS failed: 500"))
    assert response is not None
    assert (response.status_code, json.loads(response.body)) == (200, {"error": "TTS failed: 500"})


def test_documented_one_has_nothing_to_say_about_the_rest() -> None:
    assert _documented().answer(ConnectionError()) is None


@pytest.mark.parametrize(
    ("failure", "status", "retry_after"),
    [
        (Refused(429, "busy", 0.2), 429, "1"),
        (Refused(413, "message_too_long", most=5), 413, None),
        (Unavailable("openai", "connection failed", never_arrived=True, retry_after_s=1.2), 503, "2"),
        (OutOfTime("the model"), 504, "1"),
        (HandledFailure("run failed"), 502, None),
        (Gone(), 503, "1"),
        (KeyError("a bug"), 500, None),
    ],
)
def test_hardened_one_says_what_is_wrong_and_when_to_come_back(
    failure: Exception, status: int, retry_after: str | None
) -> None:
    response = hardened_failures(KeptLog()).answer(failure)
    assert response is not None
    assert response.status_code == status
    assert response.headers.get("retry-after") == retry_after
    assert json.loads(response.body)["error"]["message"]


def test_hardened_one_writes_a_bug_down_and_tells_the_caller_nothing_of_it() -> None:
    log = KeptLog()
    response = hardened_failures(log).answer(KeyError("secret"))
    assert response is not None
    assert b"secret" not in response.body
    assert log.events == ["bug:turn_failed"]


def test_a_caller_who_left_is_no_bug_of_ours() -> None:
    log = KeptLog()
    response = hardened_failures(log).answer(ClientDisconnect())
    assert response is not None
    assert response.status_code == 499
    assert log.events == ["caller_left"]
