"""Is a message answered while its caller waits, or taken in now and answered later?"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from fastapi import FastAPI, Query, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from reference_agent.api_page import (
    CREATED,
    HEARD,
    IDEMPOTENCY_KEY,
    KEY_REUSED,
    LOOKED,
    TOO_MANY_STREAMS,
    WATCHED,
)
from reference_agent.clock import Clock
from reference_agent.door import post_straight
from reference_agent.duty import Duty, left_alone
from reference_agent.errors import Refused, Unavailable
from reference_agent.job_player import JobPlayer
from reference_agent.job_queue import PLAY, JobQueue, bare_celery
from reference_agent.job_store import Job, JobStore, KeyTaken, NoRoom, box_of
from reference_agent.parts.failures import Failures, answered
from reference_agent.parts.handler import BODY_SCHEMA, ChatRequest
from reference_agent.parts.input_guard import InputGuard
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.parts.sessions import Sessions
from reference_agent.presence import Arrival
from reference_agent.said import asked_by, hints_in, said_in
from reference_agent.server_sent import MEDIA_TYPE, STILL_THERE, STREAM_HEADERS, event
from reference_agent.settings import Settings
from reference_agent.turn import Turn

PATH = "/jobs"


@dataclass(frozen=True)
class Work:
    """What a worker does."""

    celery: Any
    tasks: Mapping[str, Callable[..., Coroutine[Any, Any, Any]]]
    """By the name that messages call them."""
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Coroutine[Any, Any, None]]
    """Comes back when nothing is under way any more, or will be in a moment."""
    shares_sessions: bool = False
    """Whether it only works with sessions that the agent sees as well."""


class Jobs(Protocol):
    """Takes messages in that are answered later, by a worker."""

    queues: bool
    """Whether anything is left to a worker at all."""

    def install(self, app: FastAPI) -> None:
        """Add the routes."""
        ...

    def work(self) -> Work | None:
        """Return what a worker does; None: there is nothing for one to do."""
        ...

    async def erase(self, user_id: str) -> list[str]:
        """Forget a user's jobs and what came of them; return what is left of them.

        A `job` that is being played is given up within a second or so, its run ended; to be called before the user's
        turn is waited for, and again while something is left.
        """
        ...


class DocumentedJobs:
    """None: every message is answered in its request, and a burst has to wait in the callers' sockets."""

    queues = False

    def install(self, app: FastAPI) -> None:
        pass

    def work(self) -> Work | None:
        return None

    async def erase(self, user_id: str) -> list[str]:
        return []


async def _nothing() -> None:
    pass


class ProposedJobs:
    """A Celery task per message, Redis as broker, all else as Celery comes: the race between turns of a user is back.

    A user's two messages are played at the same time by whichever workers are free, and the later one may overtake. A
    message is acknowledged before it is worked on, so that a worker that dies takes it along. The queue has no bound,
    what the user said lies in the broker, and whoever knows a task's id may read the answer, for a day.
    """

    needs_loop = True
    queues = True

    def __init__(self, settings: Settings, turn: Turn) -> None:
        self._turn = turn
        self._redis_url = settings.redis_url

    @functools.cached_property
    def _celery(self) -> Any:
        celery = bare_celery(self._redis_url)
        celery.conf.result_backend = self._redis_url
        return celery

    def install(self, app: FastAPI) -> None:
        if not self._redis_url:
            _install_nothing(app)
            return

        @app.post(PATH, status_code=202)
        def create(said: ChatRequest) -> dict[str, str]:
            return {"job_id": self._celery.send_task("chat", args=[said.user_id, said.message]).id, "state": "waiting"}

        @app.get(PATH + "/{job_id}")
        def look(job_id: str) -> dict[str, Any]:
            task = self._celery.AsyncResult(job_id)
            if not task.ready():
                return {"job_id": job_id, "state": "waiting"}
            if task.failed():
                return {"job_id": job_id, "state": "failed", "error": str(task.result)}
            return {"job_id": job_id, "state": "done", **task.result}

    def work(self) -> Work | None:
        return Work(self._celery, {"chat": self.chat}, _nothing, _nothing) if self._redis_url else None

    async def erase(self, user_id: str) -> list[str]:
        return []  # whose task is whose is written down nowhere: they stay, for a day

    async def chat(self, user_id: str, message: str) -> dict[str, str | None]:
        """Play one turn."""
        answer = await self._turn.answer(user_id, message)
        if answer.speech is None:
            return {"reply": answer.reply, "audio": None}
        content = answer.speech.content
        pieces = [piece async for piece in content] if isinstance(content, AsyncIterator) else list(content)
        return {"reply": answer.reply, "audio": base64.b64encode(b"".join(pieces)).decode()}


_USER = Query(..., description="whose job it is", examples=["tama"])

_KEY_CHARS = 200
_NEWCOMERS_SHARE = 0.5  # of the queue: a flood of new user ids leaves the rest to those who are known
_ROOM_AGAIN = 0.1
"""When is there room again? By Little's law the age of the oldest job is about the time in which the whole queue is
worked off; a caller who comes back after a tenth of it finds a tenth of the queue free."""
_LATEST_S = 60.0
_LOOK_S = (0.1, 0.5)  # first and longest pause between looks at a job whose end somebody waits for
_STILL_THERE_S = 15.0  # between signs of life on a stream: proxies cut what is silent for 30 to 60 s
_STREAM_S = 300.0  # a stream ends after that; its reader is told to come back
_BACK_S = 1.0  # after which they do: another replica is there, or the next process
_STREAMS = 500
"""Streams of one process at once. Each looks twice a second, and a thousand looks take a sixth of a core."""


class HardenedJobs:
    """`POST /jobs`: 202 at once; the answer can be asked for, or waited for as server-sent events.

    In the order in which a user's messages came, over any number of workers. The same `Idempotency-Key` gives the same
    job, and no second turn. The queue is bounded for each user, for newcomers, and for all; what does not fit is told
    when to come back (429). A job is shown to the user who asked, and to nobody else; what came of it expires.
    """

    needs_loop = True
    queues = True

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        input_guard: InputGuard,
        sessions: Sessions,
        failures: Failures,
        logging: Logging,
        metrics: Metrics,
        job_store: JobStore,
        job_queue: JobQueue,
        job_player: JobPlayer,
        duty: Duty,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._input_guard = input_guard
        self._sessions = sessions
        self._failures = failures
        self._logging = logging
        self._store = job_store
        self._queue = job_queue
        self._player = job_player
        self._duty = duty
        self._streams = 0
        if settings.redis_url:
            metrics.watch_jobs(job_store.figures)

    def work(self) -> Work | None:
        if not self._settings.redis_url:
            return None
        return Work(self._queue.celery, {PLAY: self._player.play}, self._player.start, self._player.stop, True)

    async def erase(self, user_id: str) -> list[str]:
        if not self._settings.redis_url:
            return []
        try:
            return [] if await self._store.forget_user(user_id) else ["job"]
        except Unavailable as failure:
            self._logging.warned("jobs_not_erased", reason=failure.reason)
            return ["jobs"]

    def install(self, app: FastAPI) -> None:
        if not self._settings.redis_url:
            _install_nothing(app)
            return
        self._queue.prepare()

        async def create(request: Request) -> Response:
            """Say something, and ask for the answer later."""
            return await self._answered(request, self._create(request))

        page = {"requestBody": BODY_SCHEMA, "parameters": IDEMPOTENCY_KEY}
        post_straight(app, PATH, create, status_code=202, responses=CREATED, openapi_extra=page)

        @app.get(PATH + "/{job_id}", responses=LOOKED)
        async def look(request: Request, job_id: str, user_id: str = _USER) -> Response:
            """How a job is, and its reply when there is one."""
            return await self._answered(request, self._look(job_id, user_id))

        @app.get(PATH + "/{job_id}/audio", responses=HEARD)
        async def listen(request: Request, job_id: str, user_id: str = _USER) -> Response:
            """The reply, spoken."""
            return await self._answered(request, self._listen(job_id, user_id))

        @app.get(PATH + "/{job_id}/events", responses=WATCHED)
        async def watch(request: Request, job_id: str, user_id: str = _USER) -> Response:
            """Each state of a job as it comes, to its end: server-sent events."""
            return await self._answered(request, self._watch(job_id, user_id))

    async def _answered(self, request: Request, answer: Awaitable[Response]) -> Response:
        asked_by(request)
        return await answered(answer, self._failures)

    async def _create(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", "")
        arrival = Arrival(self._duty, self._settings.body_s)
        said = await said_in(request, self._settings.body_bytes, arrival)
        hints = hints_in(request, said, self._settings.proxies)  # first of all: they say how to word what follows
        user, text = self._input_guard.check(said.get("user_id"), said.get("message"))
        if len(key) > _KEY_CHARS:
            msg = f"Idempotency-Key must not be longer than {_KEY_CHARS} characters."
            raise Refused(422, "idempotency_key_too_long", plainly=msg)
        accepted = await self._store.accept(user, text, hints, key=key, most=await self._room_for(user))
        match accepted:
            case KeyTaken():
                raise Refused(422, "idempotency_key_reused", plainly=KEY_REUSED)
            case NoRoom(of_user, oldest_s):
                wait_s = min(_LATEST_S, max(1.0, oldest_s * _ROOM_AGAIN))
                if of_user:
                    raise Refused(429, "too_many_jobs", wait_s)
                raise Refused(429, "queue_full", wait_s)
        if accepted.knock:
            await self._queue.knock(box_of(user))
        job = await self._store.job(accepted.id, user)
        if job is None:  # erased this very moment
            raise _no_such_job()
        return JSONResponse(_shown(job), 202, {"Location": _link(job), "Retry-After": "1"})

    async def _room_for(self, user: str) -> int:
        if await self._sessions.standing(user) == "returning":
            return self._settings.jobs_open
        return max(1, int(self._settings.jobs_open * _NEWCOMERS_SHARE))

    async def _job(self, job_id: str, user_id: str) -> Job:
        job = await self._store.job(job_id, user_id)
        if job is None:
            raise _no_such_job()
        return job

    async def _look(self, job_id: str, user_id: str) -> Response:
        job = await self._job(job_id, user_id)
        return JSONResponse(_shown(job), headers={} if job.has_ended else {"Retry-After": "1"})

    async def _listen(self, job_id: str, user_id: str) -> Response:
        job = await self._job(job_id, user_id)
        audio = await self._store.audio(job.id)
        if audio is None:
            raise Refused(404, "no_audio", plainly="There is nothing to hear of this job, or not any more.")
        return Response(audio, media_type=job.media_type, headers={"X-GPT-Reply": quote(job.reply)})

    async def _watch(self, job_id: str, user_id: str) -> Response:
        if self._duty.is_leaving:
            raise left_alone()
        if self._streams >= _STREAMS:
            raise Refused(429, "too_many_streams", 1.0, plainly=TOO_MANY_STREAMS)
        job = await self._job(job_id, user_id)
        return StreamingResponse(self._events(job), media_type=MEDIA_TYPE, headers=STREAM_HEADERS)

    async def _events(self, job: Job) -> AsyncIterator[bytes]:
        self._streams += 1
        try:
            seen, said_at = "", self._clock.now()
            until = said_at + _STREAM_S
            pause_s, longest_s = _LOOK_S
            while True:
                now = self._clock.now()
                if job.state != seen:
                    seen, said_at = job.state, now
                    yield event(job.state, _shown(job))
                elif now - said_at > _STILL_THERE_S:
                    said_at = now
                    yield STILL_THERE
                if job.has_ended:
                    return
                if now > until or await self._duty.pause(pause_s):
                    yield event("come_back", {"retry_after_s": _BACK_S, "events": _link(job, "/events")}, _BACK_S)
                    return
                pause_s = min(pause_s * 1.5, longest_s)
                looked = await self._again(job)
                if looked is None:
                    yield event("gone", {})
                    return
                job = looked
        finally:
            self._streams -= 1

    async def _again(self, job: Job) -> Job | None:
        try:
            return await self._store.job(job.id, job.user_id)
        except Unavailable:
            return job  # as far as anybody knows


def _install_nothing(app: FastAPI) -> None:
    @app.post(PATH, status_code=501)
    async def create() -> dict[str, Any]:
        message = "This agent has no queue: start it with REDIS_URL set, and a worker beside it."
        return {"error": {"code": "no_queue", "message": message}}


def _no_such_job() -> Refused:
    return Refused(404, "no_such_job", plainly="This user has no such job, or not any more.")


def _link(job: Job, what: str = "") -> str:
    return f"{PATH}/{job.id}{what}?user_id={quote(job.user_id, safe='')}"


def _shown(job: Job) -> dict[str, Any]:
    """Return what a job's user is shown of it."""
    shown: dict[str, Any] = {"job_id": job.id, "state": job.state, "attempts": job.attempt}
    if job.state == "done":
        shown |= {"reply": job.reply, "audio": _link(job, "/audio") if job.media_type else None}
    elif job.state == "failed":
        shown["error"] = json.loads(job.error)
    else:
        shown |= {"look": _link(job), "events": _link(job, "/events")}
    return shown


VARIANTS = {"documented": DocumentedJobs, "proposed": ProposedJobs, "hardened": HardenedJobs}
