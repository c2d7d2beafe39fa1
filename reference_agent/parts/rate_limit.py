"""Who may have a turn now, when not everybody can?"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Literal, Protocol

from reference_agent.clock import Clock
from reference_agent.errors import Refused
from reference_agent.loop_lag import LoopLag
from reference_agent.settings import Settings
from reference_agent.shared_limits import Counting, Limit, SharedLimits

Standing = Literal["newcomer", "returning"]

_LATE_S = 0.1  # an event loop that is later than this has more to do than it can
_FEWEST_NEWCOMERS = 2
_REMEMBERED = 10_000  # buckets of users, and as many of addresses; 200 to 400 bytes each, so 4 MB at most


class RateLimit(Protocol):
    """Lets turns in, or refuses them at once."""

    def admit(self, user_id: str, standing: Standing, address: str = "") -> AbstractAsyncContextManager[None]:
        """Return the permission for one turn, to be held as long as it lasts.

        Args:
            user_id: who wants it.
            standing: whether a conversation of theirs is alive.
            address: where on the network the request comes from; empty: from this machine, or nobody knows.

        Raises:
            Refused: not now; at once, or as the context is entered.
        """
        ...

    async def let_in(self, address: str) -> None:
        """Let a request in that wants no turn.

        Args:
            address: as for `admit`.

        Raises:
            Refused: not now.
        """
        ...

    def counting(self) -> Counting | Literal["none"]:
        """Return by whom turns are counted now, as far as was last seen."""
        ...

    async def look_again(self) -> None:
        """Find out by whom they are."""
        ...


class DocumentedRateLimit:
    """Lets everybody in: one user can spend everything."""

    def admit(self, user_id: str, standing: Standing, address: str = "") -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def let_in(self, address: str) -> None:
        pass

    def counting(self) -> Literal["none"]:
        return "none"

    async def look_again(self) -> None:
        pass


class ProposedRateLimit:
    """A list of times per user, ten a minute: a new id per request walks past it, and each leaves a list behind."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: dict[str, list[float]] = {}

    def admit(self, user_id: str, standing: Standing, address: str = "") -> AbstractAsyncContextManager[None]:
        now = self._clock.now()
        recent = [at for at in self._requests.get(user_id, []) if now - at < _PROPOSED_WINDOW_S]
        if len(recent) >= _PROPOSED_TURNS:
            raise Refused(429, "rate_limited", _PROPOSED_WINDOW_S)
        self._requests[user_id] = [*recent, now]
        return nullcontext()

    async def let_in(self, address: str) -> None:
        pass

    def counting(self) -> Literal["own"]:
        return "own"

    async def look_again(self) -> None:
        pass


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


class _Buckets:
    """One bucket for each of many; those not seen for longest are forgotten, and begin anew with a full one."""

    def __init__(self, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._of: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_s(self, name: str, now: float) -> float:
        """Take a token of `name`'s, or return the seconds until there is one."""
        bucket = self._of.get(name)
        if bucket is None:
            bucket = self._of[name] = _Bucket(self._per_s, self._burst, now)
            if len(self._of) > _REMEMBERED:
                self._of.popitem(last=False)
        self._of.move_to_end(name)
        return bucket.wait_s(now)

    def limit(self, name: str) -> Limit:
        """Return the same limit for all replicas together."""
        return Limit(name, self._per_s, self._burst)

    def __len__(self) -> int:
        return len(self._of)


class HardenedRateLimit:
    """Limits users one by one, network addresses one by one, newcomers together, and everybody together.

    Newcomers (no conversation of theirs is alive) share one rate and a part of the places. A new id per request, the
    way past every limit per user, therefore meets the narrowest limit of all, and cannot take a place from somebody
    who is known. When the event loop runs late, whatever the reason, newcomers have fewer places still: what the
    machine can do then belongs to those who are known.

    One address may bring newcomers more slowly still, so that whoever makes up ids from one place does not keep the
    newcomers of all others out; its limits are wide enough for an office or a school behind one address. Calls from
    this machine, and those of a trusted proxy that does not say for whom it calls, have no address: what comes in
    there is everybody, and a limit on it would be a limit on all.

    Memory is bounded: of users and of addresses the latest ten thousand are remembered, of newcomers nothing.

    What turns may be under way at once counts per process, as it is the process that it protects. The rates hold over
    all replicas that share a Redis (sessions in one, or REDIS_URL): each turn takes its tokens there as well, from all
    limits at once or from none. What its own count refuses a process refuses by itself, so that a flood does not reach
    Redis; and when Redis is down, its own count is what is left, N times as much over N replicas, until it is back.

    Replicas that share nothing but a SQLite file count each for itself. They are on one machine, which is what the
    rates protect there, and a file would have to be written for every turn that is asked for, granted or not, by all of
    them, one at a time. What may not be exceeded in any case is in that file: one turn of a user at a time, the number
    of conversations alive upstream, and the budgets.
    """

    needs_loop = True

    def __init__(self, settings: Settings, clock: Clock, loop_lag: LoopLag, shared_limits: SharedLimits) -> None:
        self._loop_lag = loop_lag
        self._shared = shared_limits
        self._settings = settings
        self._clock = clock
        self._turns = 0
        self._newcomer_turns = 0
        of = settings
        self._own: dict[str, _Buckets] = {
            "newcomers_of": _Buckets(of.address_newcomers_per_s, of.address_newcomer_burst),
            "address": _Buckets(of.address_turns_per_s, of.address_burst),
            "newcomers": _Buckets(of.newcomers_per_s, of.newcomer_burst),
            "user": _Buckets(of.user_turns_per_s, of.user_burst),
            "everybody": _Buckets(of.turns_per_s, of.turn_burst),
        }

    def admit(self, user_id: str, standing: Standing, address: str = "") -> AbstractAsyncContextManager[None]:
        if self._turns >= self._settings.max_turns:
            raise Refused(429, "busy", 1.0)
        if standing == "newcomer" and self._newcomer_turns >= self._newcomer_places():
            raise Refused(429, "busy_for_newcomers", 1.0)
        whose = _whose(user_id, standing, address)
        now = self._clock.now()
        # From the narrowest first: what is refused there is not taken from others.
        for kind, name in whose.items():
            wait_s = self._own[kind].wait_s(name, now)
            if wait_s > 0:
                raise Refused(429, "rate_limited", wait_s)
        return _Place(self, standing, whose)

    async def let_in(self, address: str) -> None:
        # Not by the limits of users, whom anybody can name, nor of everybody: who wants to be erased is not to be kept
        # from it by a flood of others.
        if not address:
            return
        whose = {"address": address}
        wait_s = self._own["address"].wait_s(address, self._clock.now()) or await self.wait_for_others_s(whose)
        if wait_s > 0:
            raise Refused(429, "rate_limited", wait_s)

    async def wait_for_others_s(self, whose: dict[str, str]) -> float:
        """Take what a turn takes of what all replicas let in together, or return the seconds until there is enough."""
        if not self._shared.are_shared:
            return 0.0
        return await self._shared.wait_s([self._own[kind].limit(f"{kind}:{name}") for kind, name in whose.items()])

    def take_place(self, standing: Standing, places: Literal[1, -1]) -> None:
        """Take one, or give it back."""
        self._turns += places
        if standing == "newcomer":
            self._newcomer_turns += places

    def counting(self) -> Counting:
        return self._shared.counting()

    async def look_again(self) -> None:
        await self._shared.wait_s([])

    def _newcomer_places(self) -> float:
        lag_s = self._loop_lag.seconds()
        most = self._settings.newcomer_turns
        return most if lag_s <= _LATE_S else max(_FEWEST_NEWCOMERS, most * _LATE_S / lag_s)


class _Place:
    """What one turn holds as long as it lasts. By hand: a generator would be half of what a refusal costs here."""

    __slots__ = ("_limit", "_standing", "_whose")

    def __init__(self, limit: HardenedRateLimit, standing: Standing, whose: dict[str, str]) -> None:
        self._limit = limit
        self._standing = standing
        self._whose = whose

    async def __aenter__(self) -> None:
        self._limit.take_place(self._standing, 1)
        try:
            wait_s = await self._limit.wait_for_others_s(self._whose)
            if wait_s > 0:
                raise Refused(429, "rate_limited", wait_s)
        except BaseException:
            self._limit.take_place(self._standing, -1)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._limit.take_place(self._standing, -1)


def _whose(user_id: str, standing: Standing, address: str) -> dict[str, str]:
    """Return by whose limits a turn goes, the narrowest first: name by kind."""
    if standing == "newcomer":
        return {**({"newcomers_of": address, "address": address} if address else {}), "newcomers": "", "everybody": ""}
    return {**({"address": address} if address else {}), "user": user_id, "everybody": ""}


VARIANTS = {"documented": DocumentedRateLimit, "proposed": ProposedRateLimit, "hardened": HardenedRateLimit}
