"""Does what users say end up in a log?"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from agent_stage import HeldClock, settings, wire_to
from fastapi import FastAPI, HTTPException

from reference_agent.errors import Unavailable
from reference_agent.parts.logging import DocumentedLogging, HardenedLogging
from reference_agent.request_id import REQUEST_ID

_SECRET = "私のメールは tama@example.com です"


class Log:
    """A hardened log, and the lines in it."""

    def __init__(self, **given: Any) -> None:
        self.stream = io.StringIO()
        self.logging = HardenedLogging(settings(**given), HeldClock(), self.stream)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def taken_over(log: Log) -> Iterator[Log]:
    """A log that stands in for the whole process's; what stood there before stands there again afterwards."""
    loggers = [logging.getLogger(name) for name in (None, "uvicorn", "uvicorn.error", "uvicorn.access")]
    before = [(one, one.handlers[:], one.level, one.propagate) for one in loggers]
    log.logging.take_over()
    yield log
    logging.captureWarnings(False)
    for one, handlers, level, propagate in before:
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


def _raised(failure: Exception, cause: Exception | None = None) -> Exception:
    try:
        raise failure from cause
    except Exception as raised:
        return raised


def test_documented_one_prints_it_in_clear_text(capsys: pytest.CaptureFixture[str]) -> None:
    log = DocumentedLogging()
    log.heard("tama", _SECRET)
    log.said("tama", "はいにゃん")
    log.bug("oh", ValueError("090-1234-5678"))
    log.noted("something", about=1)
    log.warned("something", about=1)
    assert capsys.readouterr().out == f"tama: {_SECRET}\nGPT: はいにゃん\noh 090-1234-5678\n"


def test_documented_one_leaves_the_rest_of_the_process_as_it_is() -> None:
    before = logging.getLogger().handlers[:]
    assert DocumentedLogging().take_over() == {"log_level": "warning"}
    assert logging.getLogger().handlers == before
    app = FastAPI()
    DocumentedLogging().install(app)
    assert app.user_middleware == []


def test_hardened_one_writes_lines_without_any_of_it(log: Log) -> None:
    log.logging.heard("tama@example.com", _SECRET)
    log.logging.said("tama@example.com", _SECRET)
    log.logging.bug("turn_failed", _raised(ValueError(_SECRET), KeyError(_SECRET)))
    heard, said, failed = log.lines
    assert [line["event"] for line in log.lines] == ["heard", "said", "turn_failed"]
    assert [line["level"] for line in log.lines] == ["info", "info", "error"]
    assert heard["at"] == "1970-01-01T00:16:40.000+00:00"
    assert heard["user"] == said["user"]
    assert heard["chars"] == len(_SECRET)
    assert (failed["exception"]["type"], failed["exception"]["cause"]["type"]) == ("ValueError", "KeyError")
    assert "test_logging.py" in failed["exception"]["places"][-1]
    assert "tama" not in log.stream.getvalue()
    assert "メール" not in log.stream.getvalue()


def test_users_are_hashed_with_a_key_that_replicas_share() -> None:
    logs = [Log(openai_api_key="sk-one-and-the-same"), Log(openai_api_key="sk-one-and-the-same"), Log()]
    for log in logs:
        log.logging.heard("tama", "hi")
    names = [log.lines[0]["user"] for log in logs]
    assert names[0] == names[1] != names[2]


@pytest.mark.parametrize(
    "secret", ["tama@example.com", "090-1234-5678", "+82 10-1234-5678", "4242 4242 4242 4242", "sk-test-0123456789"]
)
def test_hardened_one_redacts_facts_wherever_they_lie(log: Log, secret: str) -> None:
    log.logging.warned("upstream_failed", reason=f"said {secret}!", more={"of": [secret, (secret,)], secret: 1})
    log.logging.bug("bug", Unavailable("openai", f"quoted {secret}", never_arrived=True))
    assert secret not in log.stream.getvalue()
    assert len(log.lines) == 2


def test_upstream_errors_say_what_they_are_and_not_what_they_quote(log: Log) -> None:
    response = httpx2.Response(400, request=httpx2.Request("POST", "http://o"), headers={"x-request-id": "req_1"})
    body = {"message": _SECRET, "code": "invalid"}
    log.logging.bug("turn_failed", _raised(openai.BadRequestError(_SECRET, response=response, body=body)))
    exception = log.lines[0]["exception"]
    assert (exception["status"], exception["code"], exception["upstream_request_id"]) == (400, "invalid", "req_1")
    assert "メール" not in log.stream.getvalue()


def test_groups_are_told_one_by_one(log: Log) -> None:
    log.logging.bug("bug", ExceptionGroup("two", [ValueError(_SECRET), KeyError(_SECRET)]))
    assert [one["type"] for one in log.lines[0]["exception"]["of"]] == ["ValueError", "KeyError"]


def test_texts_are_there_when_asked_for_and_redacted_all_the_same() -> None:
    log = Log(log_texts=True)
    log.logging.heard("tama", _SECRET)
    log.logging.bug("bug", ValueError(_SECRET))
    assert log.lines[0]["text"] == "私のメールは [email] です"
    assert log.lines[1]["exception"]["text"] == "私のメールは [email] です"
    log.logging.heard("tama", "あ" * 100_000)
    assert len(log.lines[2]["text"]) < 5000


def test_levels_are_kept_to() -> None:
    log = Log(log_level="warning")
    log.logging.noted("little")
    log.logging.warned("more")
    assert [line["event"] for line in log.lines] == ["more"]


def test_a_line_that_cannot_be_written_harms_nobody(log: Log) -> None:
    log.logging.noted("half", pair="\ud83d", figure=float("nan"))
    assert "half" in log.stream.getvalue()
    log.stream.close()
    log.logging.noted("closed")


def test_everybody_elses_lines_come_out_the_same_way(taken_over: Log) -> None:
    logging.getLogger("some.library").warning("could not write to %s", "tama@example.com")
    logging.getLogger("some.library").info("sent: %s", _SECRET)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)  # pytest hooks in where warnings are shown, around every test
        warnings.warn_explicit("old, ask tama@example.com", UserWarning, "file.py", 1, registry={}, module="m")
    logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=_raised(ValueError(_SECRET)))
    logging.getLogger("uvicorn.access").info(
        '%s - "%s %s HTTP/%s" %d', "127.0.0.1:1", "DELETE", "/users/Tama%20Neko?x=1", "1.1", 200
    )
    logging.getLogger("asyncio").error("Task exception was never retrieved\nfuture: <%s>", _SECRET)
    library, warning, error, access, never = taken_over.lines
    assert (library["event"], library["logger"], library["level"]) == (
        "could not write to [email]",
        "some.library",
        "warning",
    )
    assert "ask [email]" in warning["event"]
    assert (error["exception"]["type"], error["logger"]) == ("ValueError", "uvicorn.error")
    assert access["event"].endswith('"DELETE /users/…?x=1 HTTP/1.1" 200')
    assert never["event"] == "Task exception was never retrieved"
    assert "tama" not in taken_over.stream.getvalue().lower()


def _app(log: Log) -> FastAPI:
    app = FastAPI()
    log.logging.install(app)

    @app.post("/users/{user_id}")
    async def turn(user_id: str) -> dict[str, str]:
        log.logging.noted("worked_on")

        async def tool() -> None:
            log.logging.noted("tool_ran")

        await asyncio.gather(tool(), tool())
        if user_id == "bug":
            raise ValueError(_SECRET)
        if user_id == "refused":
            raise HTTPException(429)
        return {}

    return app


async def _post(log: Log, path: str, **headers: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(_app(log))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
        return await client.post(path, headers=headers)


@pytest.mark.parametrize(("user", "status"), [("Tama Neko", 200), ("refused", 429), ("bug", 500)])
async def test_every_line_of_a_request_has_its_id_and_so_has_the_answer(log: Log, user: str, status: int) -> None:
    response = await _post(log, f"/users/{user}", **{"X-Request-ID": "mine-1"})
    assert (response.status_code, response.headers["x-request-id"]) == (status, "mine-1")
    assert [line["event"] for line in log.lines[:3]] == ["worked_on", "tool_ran", "tool_ran"]
    assert {line["request_id"] for line in log.lines} == {"mine-1"}
    last = log.lines[-1]
    assert (last["event"], last["path"], last["status"]) == ("request", "/users/{user_id}", status)
    assert "Tama" not in log.stream.getvalue()
    assert ("request_failed" in [line["event"] for line in log.lines]) == (status == 500)
    assert REQUEST_ID.get() == ""


@pytest.mark.parametrize("given", ["", "two\twords", "x" * 65, "名前", "09012345678", "sk-0123456789"])
async def test_an_id_is_made_where_none_fits(log: Log, given: str) -> None:
    response = await _post(log, "/users/u", **({"X-Request-ID": given.encode()} if given else {}))  # type: ignore[arg-type]
    made = response.headers["x-request-id"]
    assert len(made) == 32
    assert {line["request_id"] for line in log.lines} == {made}


async def test_a_request_that_leads_nowhere_is_written_down_without_its_path(log: Log) -> None:
    assert (await _post(log, "/tama@example.com")).status_code == 404
    assert log.lines[-1]["path"] == "(none)"


async def test_upstreams_are_told_the_id() -> None:
    told: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        told.append(request.headers.get("x-request-id"))
        return httpx2.Response(200)

    async with wire_to(answer) as wire:
        await wire.request("GET", "http://weather/")
        token = REQUEST_ID.set("mine-2")
        await wire.request("GET", "http://weather/")
        await (await wire.open("POST", "http://tts/")).close()
        REQUEST_ID.reset(token)
    assert told == [None, "mine-2", "mine-2"]
