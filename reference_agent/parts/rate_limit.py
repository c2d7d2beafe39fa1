"""Who may have a turn now, when not everybody can?"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal, Protocol

from reference_agent.clock import Clock
from reference_agent.errors import Refused
from reference_agent.loop_lag import LoopLag
from reference_agent.settings import Settings

Standing = Literal["newcomer", "returning"]

_LATE_S = 0.1  # an event loop that is later than this has more to do than it can
_FEWEST_NEWCOMERS = 2
_USERS_REMEMBERED = 10_000  # buckets of users; about 200 bytes each, so 2 MB at most


class RateLimit(Protocol):
    """Lets turns in, or refuses them at once."""

    def admit(self, user_id: str, standing: Standing) -> AbstractContextManager[None]:
        """Return the permission for one turn, to be held as long as it lasts.

        Raises:
            Refused: not now.
        """
        ...


class DocumentedRateLimit:
    """Lets everybody in: one user can spend everything."""

    def admit(self, user_id: str, standing: Standing) -> AbstractContextManager[None]:
        return nullcontext()


class ProposedRateLimit:
    """A list of times per user, ten a minute: a new id per request walks past it, and each leaves a list behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: dict[str, list[float]] = {}

    def admit(self, user_id: str, standing: Standing) -> AbstractContextManager[None]:
        now = self._clock.now()
        recent = [at for at in self._requests.get(user_id, []) if now - at < _PROPOSED_WINDOW_S]
        if len(recent) >= _PROPOSED_TURNS:
            raise Refused(429, "rate_limited", "ちょっと早すぎるにゃん。すこし待ってにゃん", _PROPOSED_WINDOW_S)
        self._requests[user_id] = [*recent, now]
        return nullcontext()


_PROPOSED_WINDOW_S = 60.0
_PROPOSED_TURNS = 10


class _Bucket:
    """Tokens that come back at a steady rate, up to a burst."""

    __slots__ = ("_at", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at = now

    def wait_s(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._per_s


class HardenedRateLimit:
    """Limits users one by one, newcomers together, and everybody together.

    Newcomers (no conversation of theirs is alive) share one rate and a part of the places. A new id per request, the
    way past every limit per user, therefore meets the narrowest limit of all, and cannot take a place from somebody
    who is known. When the event loop runs late, whatever the reason, newcomers have fewer places still: what the
    machine can do then belongs to those who are known. Nothing is remembered of a newcomer, so the limiter's own memory
    is bounded.
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, loop_lag: LoopLag) -> None:
        self._loop_lag = loop_lag
        self._settings = settings
        self._clock = clock
        self._turns = 0
        self._newcomer_turns = 0
        self._newcomers = _Bucket(settings.newcomers_per_s, settings.newcomer_burst, clock.now())
        self._users: OrderedDict[str, _Bucket] = OrderedDict()

    def admit(self, user_id: str, standing: Standing) -> AbstractContextManager[None]:
        if self._turns >= self._settings.max_turns:
            raise Refused(429, "busy", "いまとても混んでいるにゃん。すこし後で話しかけてにゃん", 1.0)
        if standing == "newcomer":
            if self._newcomer_turns >= self._newcomer_places():
                raise Refused(429, "busy_for_newcomers", "いまとても混んでいるにゃん。すこし後で話しかけてにゃん", 1.0)
            wait_s = self._newcomers.wait_s(self._clock.now())
        else:
            wait_s = self._bucket_of(user_id).wait_s(self._clock.now())
        if wait_s > 0:
            raise Refused(429, "rate_limited", "ちょっと早すぎるにゃん。すこし待ってにゃん", wait_s)
        return self._place(standing)

    def _newcomer_places(self) -> float:
        lag_s = self._loop_lag.seconds()
        most = self._settings.newcomer_turns
        return most if lag_s <= _LATE_S else max(_FEWEST_NEWCOMERS, most * _LATE_S / lag_s)

    def _bucket_of(self, user_id: str) -> _Bucket:
        bucket = self._users.get(user_id)
        if bucket is None:
            bucket = _Bucket(self._settings.user_turns_per_s, self._settings.user_burst, self._clock.now())
            self._users[user_id] = bucket
            if len(self._users) > _USERS_REMEMBERED:
                self._users.popitem(last=False)
        self._users.move_to_end(user_id)
        return bucket

    @contextmanager
    def _place(self, standing: Standing) -> Iterator[None]:
        self._turns += 1
        self._newcomer_turns += standing == "newcomer"
        try:
            yield
        finally:
            self._turns -= 1
            self._newcomer_turns -= standing == "newcomer"


VARIANTS = {"documented": DocumentedRateLimit, "proposed": ProposedRateLimit, "hardened": HardenedRateLimit}
