"""How does a worker run? Celery hands it messages, each on a thread; all turns are played on one event loop.

The loop lives as long as the process, with all its connections: a loop for each task would open them anew each time,
and let turns that wait for each other wait on different loops. A thread only waits until its turn is over.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from reference_agent.app import alive
from reference_agent.compose import Composition
from reference_agent.parts.jobs import Jobs, Work
from reference_agent.settings import PART_PREFIX, BadSetting, Settings

_STOP_S = 10.0  # what is under way has been told to end by then; a loop that is not through is left behind


def work(composition: Composition, turns_at_once: int, listener: socket.socket | None = None) -> int:
    """Play jobs until told to stop.

    Args:
        composition: its settings are those of `for_worker`.
        turns_at_once: turns under way at once.
        listener: where it can be asked how it is; None: nowhere.

    Returns:
        The exit code.

    Raises:
        BadSetting: there is nothing for a worker to do, or it could not do it.
    """
    from celery import signals  # see `bare_celery`

    todo = _todo(composition)
    log = composition.get("logging")
    log.take_over()  # before anything is served: it goes by what is there
    loop = _LoopThread(composition, todo, listener)
    loop.start()
    try:
        for name, play in todo.tasks.items():
            todo.celery.task(loop.waiting_for(play), name=name)
        signals.setup_logging.connect(_leave_logging_alone, weak=False)  # to the part that has just taken it over
        signals.worker_ready.connect(lambda **_: log.noted("worker_ready"), weak=False)
        signals.worker_shutting_down.connect(loop.begin_to_stop, weak=False)
        worker = todo.celery.Worker(
            pool="threads",
            concurrency=turns_at_once,
            # What workers would tell each other; nobody listens, and it takes connections.
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        return int(worker.exitcode or 0)
    finally:
        loop.stop()


def for_worker(settings: Settings) -> Settings:
    """Return the settings as they are for a worker: a job's answer is due later than that of a waiting caller."""
    return settings.model_copy(update={"answer_within_s": settings.job_s, "turn_deadline_s": None})


def _todo(composition: Composition) -> Work:
    settings: Settings = composition.get("settings")
    jobs: Jobs = composition.get("jobs")
    todo = jobs.work()
    if not jobs.queues:
        msg = (
            f"{PART_PREFIX}JOBS={composition.chosen['jobs']} answers every message in its request: there is nothing"
            " for a worker to do."
        )
        raise BadSetting(msg)
    if todo is None:
        msg = "REDIS_URL is not set: a worker gets its work from the Redis that the agent puts it into."
        raise BadSetting(msg)
    if todo.shares_sessions and settings.session_store == "memory":
        msg = "AGENT_SESSION_STORE=memory cannot be shared by agent and worker: name a sqlite:PATH that both can open."
        raise BadSetting(msg)
    host = urlsplit(settings.redis_url).hostname or ""
    if not composition.is_safe and not is_loopback(host):
        msg = f"Refusing to take work from {host} with parts that are vulnerable on purpose: use a Redis on 127.0.0.1."
        raise BadSetting(msg)
    return todo


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _leave_logging_alone(**_: Any) -> None:
    pass


class _LoopThread:
    """The event loop on which everything happens, in a thread beside Celery's."""

    def __init__(self, composition: Composition, todo: Work, listener: socket.socket | None) -> None:
        self._composition = composition
        self._listener = listener
        self._todo = todo
        self._loop = asyncio.new_event_loop()
        self._is_warm = threading.Event()
        self._stop: asyncio.Event = asyncio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="turns", daemon=True)

    def start(self) -> None:
        """Return when turns can be played."""
        self._thread.start()
        self._is_warm.wait()
        if self._failure is not None:
            raise self._failure

    def waiting_for(self, play: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        """Return a function that has a coroutine played on the loop, and waits for it."""

        def task(*arguments: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(play(*arguments), self._loop).result()

        return task

    def begin_to_stop(self, **_: Any) -> None:
        """Let what is under way end; for a signal handler."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._todo.stop()))

    def stop(self) -> None:
        """End the loop."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._live())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._is_warm.set()
            self._loop.close()

    async def _live(self) -> None:
        async with alive(self._composition):
            await self._todo.start()
            asked = self._begin_to_answer()
            self._is_warm.set()
            await self._stop.wait()
            await self._todo.stop()
            if asked is not None:
                asked.should_exit = True
                await asked.answering

    def _begin_to_answer(self) -> _Asked | None:
        """Say how this worker is, to whoever asks: what it has played is counted here, and nowhere else."""
        if self._listener is None:
            return None
        app = FastAPI(title="Worker of the reference chat agent")
        for part in ("health", "metrics"):
            self._composition.get(part).install(app)
        return _Asked(app, self._listener)


class _Asked(uvicorn.Server):
    """What answers, beside the turns and on their loop."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
        super().__init__(uvicorn.Config(app, ws="none", log_config=None, access_log=False, lifespan="off"))
        self.answering = asyncio.create_task(self.serve(sockets=[listener]))
