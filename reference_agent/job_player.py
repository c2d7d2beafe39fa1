"""How does a worker play a job, so that it is answered once, in its user's order, whoever dies meanwhile?

Messages only say that there is something in a user's box. Whoever gets one plays the *first* job of the box, under a
lease that nobody else has, and sends the next message when there is more. That keeps a user's order over any number of
workers, and between jobs lets everybody else have a go.

An attempt writes down what it has under way upstream. When its worker dies, the message is delivered again, and the
next attempt goes on with that: it waits for the same run, and starts no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal

from reference_agent.caller import ASKING, Asking
from reference_agent.clock import Clock
from reference_agent.errors import AgentError, OutOfTime, Refused, Unavailable
from reference_agent.job_queue import JobQueue
from reference_agent.job_store import LEASE_S, Claimed, Job, JobStore
from reference_agent.parts.audio import Speech
from reference_agent.parts.failures import Failures
from reference_agent.parts.logging import Logging
from reference_agent.request_id import REQUEST_ID
from reference_agent.settings import Settings
from reference_agent.trace import TRACE, Left
from reference_agent.turn import Turn

Why = Literal["", "erased", "lost", "stopping"]

_WORTH_WAITING_S = 30.0  # who refuses for longer (a budget that is spent until tomorrow) has refused the job
_OUT_OF_TIME_S = 1.0  # who waited for another turn of the user, or for a conversation, may get it next time
_SWEEP_S = 1.0
_GRACE_S = 2.0
"""How long attempts may go on when the worker is told to stop. Deployments give some 10 s in all before they kill."""


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to."""

    reply: str
    audio: bytes
    media_type: str


class JobTrace:
    """Writes a turn's progress into its job. What cannot be written is lost, and the turn goes on."""

    def __init__(self, store: JobStore, logging: Logging, claimed: Claimed) -> None:
        self._store = store
        self._logging = logging
        self._claimed = claimed
        self._left = claimed.job.left
        self.why: Why = ""
        """Why the attempt was cut off; empty: it was not."""
        self.spoke = False
        """True when this attempt has said something upstream that another one would have to say again."""

    @property
    def is_ours(self) -> bool:
        # What is under way upstream when a worker stops is gone on with by the next one. What a user had erased is not.
        return self.why in ("", "erased")

    def goes_on_in(self, conversation: str) -> bool:
        return self._left is not None and self._left.conversation == conversation

    def take_left(self, conversation: str) -> Left | None:
        left = self._left if self.goes_on_in(conversation) else None
        self._left = None
        return left

    def known_reply(self) -> str:
        return self._claimed.job.reply

    async def speaks(self, conversation: str) -> None:
        self.spoke = True
        await self._note(conversation=conversation, generation="")

    async def runs(self, generation: str) -> None:
        await self._note(generation=generation)

    async def replied(self, reply: str) -> None:
        self.spoke = not await self._note(reply=reply)

    async def _note(self, **fields: str) -> bool:
        try:
            await self._store.note(self._claimed, **fields)
        except Unavailable as failure:
            self._logging.noted("job_note_lost", reason=failure.reason)
            return False
        return True


class JobPlayer:
    """Plays jobs, in a worker."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        turn: Turn,
        failures: Failures,
        logging: Logging,
        job_store: JobStore,
        job_queue: JobQueue,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._turn = turn
        self._failures = failures
        self._logging = logging
        self._store = job_store
        self._queue = job_queue
        self._under_way: dict[asyncio.Task[Outcome], JobTrace] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look for jobs whose message was lost."""
        self._sweeping = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """Let attempts end, for a while; those that have not are gone on with by another worker."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._under_way:
            await asyncio.wait(set(self._under_way), timeout=_GRACE_S)
        for attempt in list(self._under_way):
            self._cancel(attempt, "stopping")

    async def play(self, box: str) -> None:
        """Play the first job of a box."""
        claimed = await self._store.claim(box)
        if claimed == "empty":
            return
        if claimed == "held":
            # By an attempt that has died perhaps, and whose message this is: it must not be the last one.
            await self._queue.knock(box, LEASE_S)
            return
        assert isinstance(claimed, Claimed)
        hints = claimed.job.hints
        ASKING.set(Asking(hints.language, claimed.job.text, accepts=hints.accepts))
        if claimed.job.attempt > 1:
            self._logging.noted("job_again", job=claimed.job.id, attempt=claimed.job.attempt)
        why = self._too_much(claimed)
        more, again_s = await (self._give_up(claimed, why) if why else self._attempt(claimed))
        if more > 0:
            await self._queue.knock(box, again_s)

    def _too_much(self, claimed: Claimed) -> str:
        if claimed.waited_s > self._settings.job_wait_s:
            return "waited_too_long"
        # Whatever kills three workers would kill the next one.
        return "workers_died" if claimed.job.attempt > self._settings.job_attempts else ""

    async def _give_up(self, claimed: Claimed, why: str) -> tuple[int, float]:
        """Returns, as everywhere here, how many jobs the box has left, and after how many seconds to go on with it."""
        left = claimed.job.left
        if left is not None and not left.reply:
            try:
                await self._turn.give_up(claimed.job.user_id, claimed.job.text, left)
            except (Unavailable, OutOfTime) as failure:
                self._logging.noted("job_run_not_ended", reason=str(failure))
                return await self._store.put_back(claimed), _WORTH_WAITING_S / 10
        self._logging.noted("job_given_up", job=claimed.job.id, why=why)
        error = {**self._error(Refused(503, why)), "code": why}
        return await self._finish_failed(claimed, error), 0.0

    async def _attempt(self, claimed: Claimed) -> tuple[int, float]:
        trace = JobTrace(self._store, self._logging, claimed)
        attempt = asyncio.create_task(self._outcome(claimed.job, trace))
        self._under_way[attempt] = trace
        keeping = asyncio.create_task(self._keep(claimed, attempt))
        await asyncio.wait({attempt})
        keeping.cancel()
        del self._under_way[attempt]
        if attempt.cancelled():
            if trace.why == "erased":
                return await self._store.finish(claimed, "failed", b""), 0.0
            # Where somebody else is at it already, this changes nothing.
            return await self._store.put_back(claimed), 0.0
        failure = attempt.exception()
        if failure is None:
            outcome = attempt.result()
            ended = self._store.finish(
                claimed, "done", outcome.audio, reply=outcome.reply, media_type=outcome.media_type
            )
            return await ended, 0.0
        if not isinstance(failure, Exception):
            raise failure
        wait_s = self._worth_waiting_s(failure, trace)
        if wait_s is not None:
            return await self._store.put_back(claimed), wait_s
        return await self._finish_failed(claimed, self._error(failure)), 0.0

    async def _outcome(self, job: Job, trace: JobTrace) -> Outcome:
        TRACE.set(trace)
        REQUEST_ID.set(job.request_id)
        until = asyncio.get_running_loop().time() + self._settings.job_s
        async with asyncio.timeout_at(until):
            answer = await self._turn.answer(job.user_id, job.text, job.hints)
        audio = b"" if answer.speech is None else await self._collected(answer.speech, until)
        media_type = answer.speech.media_type if answer.speech is not None and audio else ""
        return Outcome(answer.reply, audio, media_type)

    async def _collected(self, speech: Speech, until: float) -> bytes:
        """Return the whole speech; nothing when it breaks off, is not through in time, or longer than what is kept."""
        audio = bytearray()
        try:
            async with asyncio.timeout_at(until), contextlib.aclosing(speech):
                async for piece in _pieces(speech):
                    audio += piece
                    if len(audio) > self._settings.job_audio_bytes:
                        self._logging.noted("job_speech_too_long", bytes=len(audio))
                        return b""
        except Exception as failure:
            # The reply is there: without its speech it is better than nothing.
            self._logging.noted("job_speech_broke_off", bytes=len(audio), exception=type(failure).__name__)
            return b""
        return bytes(audio)

    async def _keep(self, claimed: Claimed, attempt: asyncio.Task[Outcome]) -> None:
        while True:
            await self._clock.sleep(LEASE_S / 3)
            try:
                kept = await self._store.renew(claimed)
            except Unavailable:
                continue  # whoever might take it over cannot reach Redis either
            if kept != "ours":
                self._logging.noted("job_not_kept", job=claimed.job.id, why=kept)
                self._cancel(attempt, kept)
                return

    def _cancel(self, attempt: asyncio.Task[Outcome], why: Why) -> None:
        if trace := self._under_way.get(attempt):
            trace.why = why
            attempt.cancel()

    def _worth_waiting_s(self, failure: Exception, trace: JobTrace) -> float | None:
        """Return after how long the job is worth another try, as nothing has come of this one; None: it is not."""
        if trace.spoke:
            return None  # said once more, it would be answered as if it had been said twice
        match failure:
            case Refused(status=429) if failure.retry_after_s is not None:
                wait_s = failure.retry_after_s
            case Unavailable():
                wait_s = failure.retry_after_s
            case OutOfTime():
                wait_s = _OUT_OF_TIME_S
            case _:
                return None
        return wait_s if wait_s <= _WORTH_WAITING_S else None

    def _error(self, failure: Exception) -> Mapping[str, object]:
        told: Exception = OutOfTime("the job") if isinstance(failure, TimeoutError) else failure
        response = self._failures.answer(told)
        said = None if response is None else json.loads(bytes(response.body))["error"]
        return said if isinstance(said, dict) else {"code": "failed", "message": said or type(failure).__name__}

    async def _finish_failed(self, claimed: Claimed, error: Mapping[str, object]) -> int:
        return await self._store.finish(claimed, "failed", b"", error=json.dumps(error, ensure_ascii=False))

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(_SWEEP_S)
            try:
                for box in await self._store.overdue():
                    self._logging.noted("job_message_lost")
                    await self._queue.knock(box)
            except AgentError:
                continue  # Redis is away
            except Exception as bug:
                self._logging.bug("sweep", bug)


async def _pieces(speech: Speech) -> AsyncIterator[bytes]:
    if isinstance(speech.content, AsyncIterator):
        async for piece in speech.content:
            yield piece
    else:
        for piece in speech.content:
            yield piece
