"""What does a request hold while its turn is played: a thread of the pool, or nothing but memory?"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from reference_agent.api_page import READ, SPOKEN
from reference_agent.door import post_straight
from reference_agent.duty import Duty
from reference_agent.errors import Refused
from reference_agent.event_stream import EventStream
from reference_agent.parts.audio import Speech
from reference_agent.parts.failures import Failures
from reference_agent.presence import Arrival, Presence, when_it_waits
from reference_agent.said import hints_in, said_in
from reference_agent.settings import Settings
from reference_agent.turn import Answer, Turn
from reference_agent.wire import run_without_loop

PATH = "/chat-agent"
STREAM_PATH = "/chat-agent/stream"


class ChatRequest(BaseModel):
    """What somebody says."""

    user_id: str
    message: str


class Handler(Protocol):
    """Plays turns for callers."""

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...


def _response(answer: Answer) -> Response:
    headers = {"X-GPT-Reply": quote(answer.reply)}
    if answer.speech is None:
        # A text-only answer: a success whose JSON has `reply` and a null `audio`, and no `error`.
        return JSONResponse({"reply": answer.reply, "audio": None}, headers=headers)
    return SpokenResponse(answer.speech, headers)


class SpokenResponse(StreamingResponse):
    """Speech on its way, which is let go of when its caller has it, or has left: not when somebody collects garbage."""

    def __init__(self, speech: Speech, headers: dict[str, str]) -> None:
        super().__init__(speech.content, media_type=speech.media_type, headers=headers)
        self._speech = speech

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._speech.aclose()


class DocumentedHandler:
    """A synchronous function: FastAPI runs it on its pool of 40 threads, and the 41st caller waits for one of them."""

    blocking = True

    def __init__(self, turn: Turn, failures: Failures) -> None:
        self._turn = turn
        self._failures = failures

    def install(self, app: FastAPI) -> None:
        @app.post(PATH)
        def chat_agent(said: ChatRequest) -> Response:
            try:
                return _response(run_without_loop(self._turn.answer(said.user_id, said.message)))
            except Exception as failure:
                response = self._failures.answer(failure)
                if response is None:
                    raise
                return response


class ProposedHandler:
    """A coroutine on the event loop: whatever holds the loop holds everybody. A caller who hangs up changes nothing."""

    blocking = False
    needs_loop = True

    def __init__(self, turn: Turn, failures: Failures) -> None:
        self._turn = turn
        self._failures = failures

    def install(self, app: FastAPI) -> None:
        @app.post(PATH)
        async def chat_agent(said: ChatRequest) -> Response:
            try:
                return _response(await self._turn.answer(said.user_id, said.message))
            except Exception as failure:
                response = self._failures.answer(failure)
                if response is None:
                    raise
                return response


class HardenedHandler:
    """A coroutine on the event loop that ends when its caller hangs up; a request is bounded in size as it arrives."""

    blocking = False
    needs_loop = True

    def __init__(self, settings: Settings, turn: Turn, failures: Failures, duty: Duty) -> None:
        self._heartbeat_s = settings.heartbeat_s
        self._duty = duty
        self._body_bytes = settings.body_bytes
        self._body_s = settings.body_s
        self._proxies = settings.proxies
        self._turn = turn
        self._failures = failures

    def install(self, app: FastAPI) -> None:
        async def chat_agent(request: Request) -> Response:
            """Say something, and hear the answer."""
            try:
                said = await said_in(request, self._body_bytes, Arrival(self._duty, self._body_s))
                asked = said.get("user_id"), said.get("message"), hints_in(request, said, self._proxies)
                presence = Presence(self._duty, request.receive)
                return _response(await when_it_waits(presence, self._turn.answer(*asked)))
            except Exception as failure:
                response = self._failures.answer(failure)
                if response is None:
                    raise
                return response

        async def chat_agent_stream(request: Request) -> Response:
            """Say something, and read the answer while it is made: server-sent events."""
            try:
                said = await said_in(request, self._body_bytes, Arrival(self._duty, self._body_s))
                asked = said.get("user_id"), said.get("message"), hints_in(request, said, self._proxies)
                play = functools.partial(self._turn.write, *asked)
                return EventStream(play, self._duty, self._failures, self._heartbeat_s)
            except Exception as failure:
                response = self._failures.answer(failure)
                if response is None:
                    raise
                return response

        @app.exception_handler(HTTPException)
        async def not_there(request: Request, refused: HTTPException) -> Response:
            code, plainly = _NOT_THERE.get(refused.status_code, ("refused", refused.detail))
            return self._refused(Refused(refused.status_code, code, plainly=plainly), refused.headers)

        @app.exception_handler(RequestValidationError)
        async def not_understood(request: Request, refused: RequestValidationError) -> Response:
            where, *name = map(str, refused.errors()[0]["loc"])
            plainly = f"{'.'.join(name)} is missing in the {where}, or makes no sense there."
            return self._refused(Refused(422, "parameter_missing", plainly=plainly))

        page = {"response_class": Response, "openapi_extra": {"requestBody": BODY_SCHEMA}}
        post_straight(app, PATH, chat_agent, responses=SPOKEN, **page)
        post_straight(app, STREAM_PATH, chat_agent_stream, responses=READ, **page)

    def _refused(self, why: Refused, headers: Mapping[str, str] | None = None) -> Response:
        """Return what the framework refuses, said as all else is said."""
        response = self._failures.answer(why)
        assert response is not None
        response.headers.update(headers or {})
        return response


_NOT_THERE = {
    404: ("no_such_path", "There is nothing at this path; /docs shows what there is."),
    405: ("method_not_allowed", "This path does not know this method; the header Allow says which it knows."),
}

BODY_SCHEMA = {
    "required": True,
    "content": {
        "application/json": {
            "schema": ChatRequest.model_json_schema(),
            "example": {"user_id": "tama", "message": "今何時で、天気はどうで、ついでに運勢も教えて"},
        }
    },
}

VARIANTS = {"documented": DocumentedHandler, "proposed": ProposedHandler, "hardened": HardenedHandler}
