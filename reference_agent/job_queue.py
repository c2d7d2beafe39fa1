"""How is a worker told that there is something to do? Celery, over Redis."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import Any

from redis.exceptions import RedisError

from reference_agent.errors import Unavailable
from reference_agent.job_store import PREFIX, QUEUE, JobStore
from reference_agent.parts.logging import Logging
from reference_agent.settings import Settings

PLAY = "jobs.play"
_CONNECT_S = 2.0
_SENT_S = 2.0  # a caller does not wait longer for a worker to be told; what is sent twice is no harm
_ANSWER_S = 5.0  # a Redis that stands still keeps threads no longer; workers ask it for messages a second at a time
_RETRY = {"max_retries": 1, "interval_start": 0.0}  # a connection that was kept may have been cut meanwhile
_RESTORE_S = 1.0  # between looks for messages of workers that have died; kombu's own figures make it 100 s
_RESTORING_S = 10.0  # whoever dies while looking keeps others from it that long; kombu's own figure is 300 s


class JobQueue:
    """Messages for workers, each of which is nothing but the name of a box.

    A message is acknowledged when its work is done. That of a worker which has died is delivered again by whichever
    worker notices first.
    """

    def __init__(self, settings: Settings, job_store: JobStore, logging: Logging) -> None:
        self._redis_url = settings.redis_url
        self._redelivered_after_s = job_store.redelivered_after_s
        self._store = job_store
        self._logging = logging

    @functools.cached_property
    def celery(self) -> Any:
        """The Celery that messages go through."""
        celery = bare_celery(self._redis_url)
        celery.conf.update(
            broker_transport_options={
                "global_keyprefix": PREFIX,
                "visibility_timeout": self._redelivered_after_s,
                "unacked_restore_interval": _RESTORE_S,
                "unacked_restore_throttle": 1,
                "unacked_mutex_expire": int(_RESTORING_S),
                "socket_connect_timeout": _CONNECT_S,
                "socket_timeout": _ANSWER_S,
            },
            task_default_queue=QUEUE,
            task_acks_late=True,
            task_ignore_result=True,
            # No more messages in a worker than it can work on: the others would wait there while their time runs.
            worker_prefetch_multiplier=1,
        )
        return celery

    def prepare(self) -> None:
        """Load what is slow to load, before the first caller would have to wait for it."""
        _ = self.celery

    async def knock(self, box: str, after_s: float = 0.0) -> None:
        """Tell a worker that there is something in this box.

        Args:
            box: which.
            after_s: not before so many seconds.

        When it cannot be told, the job is not lost: workers look for boxes that nobody was told of.
        """
        from kombu.exceptions import OperationalError  # see `bare_celery`

        try:
            async with asyncio.timeout(_SENT_S):
                await asyncio.to_thread(self._send, box, after_s)
        except (OperationalError, RedisError, OSError) as failure:
            self._logging.warned("job_message_not_sent", reason=type(failure).__name__)
            with contextlib.suppress(Unavailable):
                await self._store.not_told(box)

    def _send(self, box: str, after_s: float) -> None:
        self.celery.send_task(PLAY, args=[box], countdown=after_s or None, retry=True, retry_policy=_RETRY)

    def close(self) -> None:
        """Close all connections."""
        if "celery" in self.__dict__:
            self.celery.close()


def bare_celery(redis_url: str) -> Any:
    """Return a Celery that is configured for nothing but what it may be sent: JSON, over this Redis."""
    # Imported where there is a queue: it adds half a second of CPU to the start of every process.
    from celery import Celery

    celery = Celery("reference_agent", broker=redis_url, set_as_current=False)
    celery.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,  # a worker waits for its Redis for as long as it takes
        worker_hijack_root_logger=False,
        # Nobody asks workers questions over the broker; whoever could might see what tasks were given.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
    )
    return celery
