"""How do limits hold for all replicas together? Token buckets in the Redis that they share, asked for in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, Protocol

from reference_agent.clock import Clock
from reference_agent.errors import Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.redis_link import RedisLink

Counting = Literal["own", "shared", "own_for_now"]
"""By whom turns are counted: each process for itself; all together; for itself, as the Redis is down."""

ANSWER_S: Final = 0.1
"""A turn waits so long for the others' count, and then goes by its own process's."""
_REST_S: Final = 1.0
"""A Redis that did not answer is not asked for so long: in an outage one turn in a second waits, not every one."""

_TAKE: Final = """
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local longest_us, taken = 0, {}
for i = 1, #ARGV, 3 do
  local key, each_us, burst = KEYS[1] .. 'limit:' .. ARGV[i], 1000000 / ARGV[i + 1], tonumber(ARGV[i + 2])
  -- When the bucket will be full again: that one number says how much is in it, and after that nothing has to be kept.
  local full_at_us = math.max(tonumber(redis.call('GET', key) or 0), now_us) + each_us
  longest_us = math.max(longest_us, full_at_us - burst * each_us - now_us)
  taken[#taken + 1] = {key, full_at_us}
end
if longest_us > 0 then return math.ceil(longest_us) end
for _, one in ipairs(taken) do
  redis.call('SET', one[1], string.format('%.0f', one[2]), 'PX', math.max(1, math.ceil((one[2] - now_us) / 1000)))
end
return 0
"""


class Limit(NamedTuple):
    """A bucket of tokens that come back at a steady rate."""

    name: str
    per_s: float
    burst: float
    """Tokens in it when it is full."""


class SharedLimits(Protocol):
    """What all replicas let in together."""

    are_shared: bool
    """False: there is nothing to ask."""

    async def wait_s(self, limits: Sequence[Limit]) -> float:
        """Take a token from each and return 0, or take none and return the seconds until all have one.

        Where the others' count is not known, it is 0.
        """
        ...

    def counting(self) -> Counting:
        """Return by whom turns are counted now."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class NoSharedLimits:
    """Nothing that replicas share could count: each does for itself."""

    are_shared = False

    async def wait_s(self, limits: Sequence[Limit]) -> float:
        return 0.0

    def counting(self) -> Counting:
        return "own"

    async def close(self) -> None:
        pass


class RedisLimits:
    """In Redis, by its clock. What is kept of a bucket goes when it is full again: seconds, under usual limits.

    Args:
        url: of the database.
        clock: tells when a Redis that was down is asked again.
        logging: is told that it is down.
        answer_s: seconds that it has to answer.
    """

    are_shared = True

    def __init__(self, url: str, clock: Clock, logging: Logging, answer_s: float = ANSWER_S) -> None:
        self._link = RedisLink(url, "limits", answer_s)
        self._take = self._link.script(_TAKE)
        self._clock = clock
        self._logging = logging
        self._rests_until = 0.0

    async def wait_s(self, limits: Sequence[Limit]) -> float:
        if self._clock.now() < self._rests_until:
            return 0.0
        try:
            wait_us: int = await self._take([value for limit in limits for value in limit])
        except Unavailable as failure:
            self._rests_until = self._clock.now() + _REST_S
            self._logging.warned("limits_not_shared", reason=failure.reason)
            return 0.0
        return wait_us / 1e6

    def counting(self) -> Counting:
        return "own_for_now" if self._link.trouble else "shared"

    async def close(self) -> None:
        await self._link.close()
