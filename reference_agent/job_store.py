"""Where are jobs written down, from the moment they are accepted until nobody may ask for them any more?

In Redis, and only there: what travels through the broker is the name of a box, so that no text and no user ever lies
where neither erasure nor expiry reaches. Each step is one script (`job_scripts.py`).

    waiting --claimed--> running --finished--> done | failed --(kept for a while)--> (forgotten)
       ^                    |  ^
       |------put back------|  |--claimed again, when the worker has died
"""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from reference_agent import job_scripts
from reference_agent.caller import Hints
from reference_agent.redis_link import RedisLink, Script
from reference_agent.request_id import REQUEST_ID
from reference_agent.settings import Settings
from reference_agent.trace import Left

State = Literal["waiting", "running", "done", "failed"]
Keeping = Literal["ours", "lost", "erased"]

PREFIX = "reference-agent:jobs:"
QUEUE = "work"
"""What the list is called in which messages wait for workers, after the prefix."""
LEASE_S = 3.0
"""How long an attempt may be silent before another one may go on with its job. It renews three times as often."""
_MARGIN_S = 2.0
_ANSWER_S = 2.0
_OVERDUE_AT_ONCE = 1000


@dataclass(frozen=True)
class Job:
    """A job, as it is now. Times are seconds since 1970, by Redis' clock."""

    id: str
    box: str
    user_id: str
    state: State
    accepted_at: float
    attempt: int
    text: str = ""
    hints: Hints = field(default_factory=Hints)
    reply: str = ""
    media_type: str = ""
    """Of what there is to hear; empty: nothing."""
    error: str = ""
    """Why it failed, as JSON."""
    conversation: str = ""
    generation: str = ""
    request_id: str = ""
    """Of the request that handed it in: its lines and its attempts' lines in the log belong together."""

    @property
    def has_ended(self) -> bool:
        """True when nothing about it will change any more."""
        return self.state in ("done", "failed")

    @property
    def left(self) -> Left | None:
        """What an earlier attempt has left behind; None: there was none, or it did not come to speak."""
        return Left(self.conversation, self.generation, self.reply) if self.conversation else None


@dataclass(frozen=True)
class Accepted:
    """The job is in."""

    id: str
    is_new: bool
    """False: the idempotency key stands for it already."""
    knock: bool
    """True when a worker has to be told."""


@dataclass(frozen=True)
class NoRoom:
    """Too many jobs have not ended."""

    of_user: bool
    """True when it is the user's own jobs that take the room."""
    oldest_s: float


@dataclass(frozen=True)
class KeyTaken:
    """The idempotency key stands for a job with another text."""


@dataclass(frozen=True)
class Claimed:
    """An attempt has the job now."""

    job: Job
    token: str
    waited_s: float
    """Since it was accepted."""


@dataclass(frozen=True)
class Figures:
    """How the queue is."""

    open: int
    """Jobs that have not ended."""
    running: int
    oldest_s: float
    """Age of the oldest one that has not ended."""
    messages: int
    """Messages that wait for a worker."""
    audio_bytes: int
    counts: Mapping[str, int]
    """So far: accepted, refused, begun, redelivered, put_back, done, failed, audio_displaced; and, in milliseconds,
    waited_ms (until the first attempt) and took_ms (until the end)."""


def box_of(user_id: str) -> str:
    """Return the box of a user: a name that does not tell who it is."""
    return hashlib.sha256(user_id.encode()).hexdigest()[:32]


class JobStore:
    """The jobs in Redis.

    Every method raises Unavailable when Redis cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._scripts: dict[str, Script] = {}

    @functools.cached_property
    def _link(self) -> RedisLink:
        # Made when it is first used: where there is no Redis there are no jobs.
        return RedisLink(self._settings.redis_url, "jobs", _ANSWER_S, decodes=False)

    @property
    def redelivered_after_s(self) -> float:
        """Seconds after which the message of a worker that has died goes to another one.

        Longer than an attempt may take: what is redelivered earlier is still being played.
        """
        return self._settings.job_s + LEASE_S

    @property
    def _awake_ms(self) -> int:
        """How long a message is believed to be on its way before another one is sent."""
        return _ms(self.redelivered_after_s + LEASE_S + _MARGIN_S)

    @property
    def _keep_ms(self) -> int:
        """The longest that anything is kept of a job that never ends."""
        return _ms(self._settings.job_wait_s + self._settings.job_result_s)

    async def accept(
        self, user_id: str, text: str, hints: Hints, *, key: str, most: int
    ) -> Accepted | NoRoom | KeyTaken:
        """Take a job in.

        Args:
            user_id: whose.
            text: what was said.
            hints: what else the request says of its caller.
            key: idempotency key; empty: none.
            most: jobs that have not ended, at most, this one included.
        """
        box = box_of(user_id)
        hashed_key = _digest(key) if key else ""
        fingerprint = _digest(text)
        limits = (most, self._settings.user_jobs, self._keep_ms, self._awake_ms)
        about = {
            "user": user_id,
            "text": text,
            "request_id": REQUEST_ID.get(),
            "language": hints.language,
            "time_zone": hints.time_zone,
            "address": hints.address,
            "accepts": hints.accepts,
        }
        # 128 random bits: an id is not guessed.
        id_ = secrets.token_urlsafe(16)
        what, which, number = await self._run(
            job_scripts.ACCEPT, box, id_, hashed_key, fingerprint, *limits, *_flat(about)
        )
        match what.decode():
            case "another":
                return KeyTaken()
            case "full" | "full_of_user":
                return NoRoom(what == b"full_of_user", number / 1000)
        return Accepted(which.decode(), what == b"new", bool(number))

    async def job(self, id_: str, user_id: str) -> Job | None:
        """Return a job of this user; None: there is none, or it is somebody else's."""
        fields = await self._link.do(self._link.redis.hgetall(f"{PREFIX}job:{id_}"))
        job = _job(id_, fields) if fields else None
        return job if job is not None and secrets.compare_digest(job.user_id.encode(), user_id.encode()) else None

    async def audio(self, id_: str) -> bytes | None:
        """Return what there is to hear; None: nothing (any more)."""
        audio: bytes | None = await self._link.do(self._link.redis.get(f"{PREFIX}audio:{id_}"))
        return audio

    async def claim(self, box: str) -> Claimed | Literal["held", "empty"]:
        """Begin an attempt at the first job of a box.

        Returns:
            The job; or that another attempt is at it; or that there is none.
        """
        token = secrets.token_hex(8)
        what, *of_job = await self._run(job_scripts.CLAIM, box, token, _ms(LEASE_S), self._awake_ms)
        if what != b"job":
            return cast('Literal["held", "empty"]', what.decode())
        id_, now_ms, flat = of_job
        job = _job(id_.decode(), dict(zip(flat[::2], flat[1::2], strict=True)))
        return Claimed(job, token, now_ms / 1000 - job.accepted_at)

    async def renew(self, claimed: Claimed) -> Keeping:
        """Say that the attempt is alive; return whether the job is still its own."""
        renewed = await self._run(
            job_scripts.RENEW, claimed.job.box, claimed.job.id, claimed.token, _ms(LEASE_S), self._awake_ms
        )
        return cast(Keeping, renewed.decode())

    async def note(self, claimed: Claimed, **fields: str) -> None:
        """Write down how far the attempt is, unless the job is somebody else's by now."""
        await self._run(job_scripts.NOTE, claimed.job.id, claimed.token, *_flat(fields))

    async def finish(self, claimed: Claimed, state: Literal["done", "failed"], audio: bytes, **fields: str) -> int:
        """End a job; return how many jobs are left in its box, or -1 when it is somebody else's by now."""
        settings = self._settings
        keep_ms = _ms(settings.job_result_s)
        of_audio = (audio, keep_ms, settings.jobs_audio_bytes)
        return await self._let_go(job_scripts.FINISH, claimed, keep_ms, *of_audio, *_flat({"state": state} | fields))

    async def put_back(self, claimed: Claimed) -> int:
        """End an attempt that came to nothing; the job is to be tried again. Returns as `finish`."""
        return await self._let_go(job_scripts.PUT_BACK, claimed, self._keep_ms)

    async def overdue(self) -> list[str]:
        """Return the boxes for which a worker has to be told once more, as the message for them was lost."""
        boxes = await self._run(job_scripts.OVERDUE, PREFIX + QUEUE, self._awake_ms, _OVERDUE_AT_ONCE)
        return [box.decode() for box in boxes]

    async def not_told(self, box: str) -> None:
        """The worker could not be told: it has to be done again."""
        await self._link.do(self._link.redis.delete(f"{PREFIX}awake:{box}"))

    async def forget_user(self, user_id: str) -> bool:
        """Forget everything about a user's jobs; return True when none of them is being played any more.

        One that is being played is given up by its worker within a second or so, its run ended upstream; nothing is
        kept of it. Call again to see whether it has.
        """
        return bool(await self._run(job_scripts.ERASE, box_of(user_id)) == 0)

    async def figures(self) -> Figures:
        """Return how the queue is."""
        open_, running, oldest_ms, messages, audio_bytes, counts = await self._run(job_scripts.FIGURES, PREFIX + QUEUE)
        named = {name.decode(): int(number) for name, number in zip(counts[::2], counts[1::2], strict=True)}
        return Figures(open_, running, oldest_ms / 1000, messages, audio_bytes, named)

    async def close(self) -> None:
        """Close all connections."""
        if "_link" in self.__dict__:
            await self._link.close()

    async def _let_go(self, script: str, claimed: Claimed, keep_ms: int, *arguments: Any) -> int:
        job = claimed.job
        return int(await self._run(script, job.box, job.id, claimed.token, keep_ms, self._awake_ms, *arguments))

    async def _run(self, source: str, *arguments: Any) -> Any:
        if source not in self._scripts:
            self._scripts[source] = self._link.script(source, PREFIX)
        return await self._scripts[source](arguments)


def _job(id_: str, fields: Mapping[bytes, bytes]) -> Job:
    def text(name: str) -> str:
        return fields.get(name.encode(), b"").decode()

    return Job(
        id=id_,
        box=text("box"),
        user_id=text("user"),
        state=cast(State, text("state")),
        accepted_at=int(text("accepted_ms")) / 1000,
        attempt=int(text("attempt")),
        **{name: text(name) for name in ("text", "reply", "media_type", "error", "conversation", "generation")},
        request_id=text("request_id"),
        hints=Hints(text("language"), text("time_zone"), text("address"), accepts=text("accepts")),
    )


def _flat(fields: Mapping[str, str]) -> Sequence[str]:
    return [item for pair in fields.items() for item in pair]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
