"""How long is one call to an upstream waited for, and how often is it tried again?"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from reference_agent.clock import Clock, Deadline
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.parts.breaker import Breaker
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.settings import Settings
from reference_agent.trouble import Trouble, trouble_in

T = TypeVar("T")


class Retries(Protocol):
    """Makes the calls to upstreams."""

    def client_options(self) -> dict[str, Any]:
        """Return what the openai client is constructed with."""
        ...

    async def call(
        self,
        upstream: str,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        *,
        repeatable: bool,
        attempt_s: float | None = None,
    ) -> T:
        """Make one call, with as many attempts as make sense.

        Args:
            upstream: openai, tts, weather, ...
            attempt: makes one attempt.
            deadline: after which nobody waits for the outcome.
            repeatable: whether a second call does no harm when the first one was carried out after all.
            attempt_s: seconds after which one attempt is given up; None: the setting for the model's API.

        Raises:
            Unavailable: the upstream does not do its work.
            Exception: what `attempt` raised, where the upstream is not to blame.
        """
        ...


class DocumentedRetries:
    """The SDK's own: two more attempts at everything, 600 s each, no matter who still waits.

    A `POST .../runs` whose answer was lost is sent again, and starts a second run.
    """

    def client_options(self) -> dict[str, Any]:
        return {}

    async def call(
        self,
        upstream: str,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        *,
        repeatable: bool,
        attempt_s: float | None = None,
    ) -> T:
        return await attempt()


class ProposedRetries(DocumentedRetries):
    """The SDK's own, and a loop around it: three times three attempts at everything, each up to 600 s."""

    def __init__(self, clock: Clock, breaker: Breaker) -> None:
        self._clock = clock
        self._breaker = breaker

    async def call(
        self,
        upstream: str,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        *,
        repeatable: bool,
        attempt_s: float | None = None,
    ) -> T:
        for number in range(1, _PROPOSED_ATTEMPTS + 1):
            try:
                with self._breaker.around(upstream):
                    return await attempt()
            except Exception:
                if number == _PROPOSED_ATTEMPTS:
                    raise
                await self._clock.sleep(2**number)
        raise AssertionError  # the last attempt returns or raises


_PROPOSED_ATTEMPTS = 3


class HardenedRetries:
    """The SDK's retries off; one budget for the whole process, within the caller's deadline.

    What is not repeatable is tried again only when it is certain that it never arrived. The budget keeps an outage from
    multiplying the load on an upstream that is trying to come back: each call adds a tenth of a repeat to it, up to a
    reserve, so that there is about one repeat for ten calls at most, however many turns fail (a budget by the second
    alone is most of the load where there are few turns).
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, breaker: Breaker, logging: Logging, metrics: Metrics) -> None:
        self._settings = settings
        self._logging = logging
        self._metrics = metrics
        self._clock = clock
        self._breaker = breaker
        self._budget = settings.retry_reserve
        self._budget_at = clock.now()

    def client_options(self) -> dict[str, Any]:
        return {"max_retries": 0}

    async def call(
        self,
        upstream: str,
        attempt: Callable[[], Awaitable[T]],
        deadline: Deadline,
        *,
        repeatable: bool,
        attempt_s: float | None = None,
    ) -> T:
        patience_s = attempt_s if attempt_s is not None else self._settings.openai_call_s
        for number in range(1, self._settings.retry_attempts + 1):
            limit_s = min(patience_s, deadline.remaining_s())
            if limit_s <= 0:
                raise OutOfTime(upstream)
            try:
                with self._breaker.around(upstream), self._metrics.upstream(upstream):
                    if number == 1:  # not for a call that the breaker does not let through
                        self._save_up(self._settings.retry_share)
                    async with asyncio.timeout(limit_s):
                        return await attempt()
            except Exception as failure:
                trouble = trouble_in(failure)
                if trouble is None:
                    raise
                wait_s = self._pause_s(trouble, number, deadline, repeatable)
                self._logging.warned(
                    "upstream_failed",
                    upstream=upstream,
                    attempt=number,
                    reason=trouble.reason,
                    again=wait_s is not None,
                )
                if wait_s is None:
                    wait_again_s = trouble.retry_after_s if trouble.retry_after_s is not None else 1.0
                    raise Unavailable(
                        upstream, trouble.reason, never_arrived=trouble.never_arrived, retry_after_s=wait_again_s
                    ) from failure
            await self._clock.sleep(wait_s)
        raise AssertionError  # the last attempt returns or raises

    def _pause_s(self, trouble: Trouble, number: int, deadline: Deadline, repeatable: bool) -> float | None:
        """Return how long to wait for the next attempt; None: there is none."""
        if number == self._settings.retry_attempts or not trouble.worth_repeating:
            return None
        if not (repeatable or trouble.never_arrived):
            return None
        pause_s: float = 0.05 * 2 ** (number - 1) * random.uniform(0.5, 1.5)
        if trouble.retry_after_s is not None:
            pause_s = max(pause_s, trouble.retry_after_s)
        if pause_s >= deadline.remaining_s() or not self._take_from_budget():
            return None
        return pause_s

    def _take_from_budget(self) -> bool:
        now = self._clock.now()
        self._save_up((now - self._budget_at) * self._settings.retries_per_s)
        self._budget_at = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True

    def _save_up(self, repeats: float) -> None:
        self._budget = min(self._settings.retry_reserve, self._budget + repeats)


VARIANTS = {"documented": DocumentedRetries, "proposed": ProposedRetries, "hardened": HardenedRetries}
