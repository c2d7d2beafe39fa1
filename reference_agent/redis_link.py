"""How is a Redis spoken to that all replicas share? In calls and scripts that are waited for a bounded time, once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, ResponseError

from reference_agent.errors import Unavailable

PREFIX: Final = "{reference-agent}:"
"""Before every key. The braces keep them together where Redis is a cluster."""
_CONNECTIONS: Final = 16
"""At once, per process. What finds none free waits, within the time for an answer."""

Script = Callable[[Sequence[Any]], Awaitable[Any]]
"""Runs with these arguments; `KEYS[1]` is the prefix of all keys."""


class RedisLink:
    """Connections to one Redis.

    Args:
        url: `redis://[user:password@]host:port/database`, `rediss://...` or `unix:///path`.
        name: what it is called in errors.
        answer_s: seconds after which it counts as down. One that is well answers within a millisecond.
        decodes: whether answers are texts; else they are bytes, where not all of them are text.

    Raises:
        ValueError: the URL makes no sense.
    """

    def __init__(self, url: str, name: str, answer_s: float, *, decodes: bool = True) -> None:
        self._name = name
        self._answer_s = answer_s
        self.trouble = ""
        """What was wrong when it was last used; empty: nothing."""
        # Nothing is repeated by the client: the second attempt of a booking would be a second booking.
        self.redis: Redis = Redis(
            connection_pool=BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=answer_s,
                socket_connect_timeout=answer_s,
                socket_timeout=answer_s,
                retry=Retry(NoBackoff(), 0),
                decode_responses=decodes,
            )
        )

    def script(self, source: str, prefix: str = PREFIX) -> Script:
        """Return a script, which Redis carries out as one transaction."""
        script = self.redis.register_script(source)

        def run(arguments: Sequence[Any]) -> Awaitable[Any]:
            return self.do(script(keys=[prefix], args=arguments))

        return run

    async def do(self, deed: Awaitable[Any]) -> Any:
        """Wait for Redis, but not for long; finish what was begun even when the caller is cancelled.

        Raises:
            Unavailable: it did not answer, or not like this.
        """
        doing = asyncio.ensure_future(self._within_time(deed))
        doing.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, if nobody waits for it
        return await asyncio.shield(doing)

    async def close(self) -> None:
        """Close all connections."""
        await self.redis.aclose(close_connection_pool=True)

    async def _within_time(self, deed: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._answer_s):
                result = await deed
        except (RedisError, OSError) as failure:  # a time-out is an OSError
            # What Redis says of a command or a script may quote what it was given; what a connection says does not.
            said = "" if isinstance(failure, (ResponseError, DataError)) else f": {failure}"
            self.trouble = f"{type(failure).__name__}{said}"[:200]
            refused = isinstance(failure.__context__, ConnectionRefusedError)
            raise Unavailable(self._name, self.trouble, never_arrived=refused) from failure
        self.trouble = ""
        return result
