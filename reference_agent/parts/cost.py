"""What was spent, on whom, and is there a point where it stops?"""

from __future__ import annotations

import re
from collections import deque
from contextvars import ContextVar
from typing import NamedTuple, Protocol

from reference_agent.clock import Clock
from reference_agent.conversation import Usage
from reference_agent.errors import Refused, Unavailable
from reference_agent.parts.logging import Logging
from reference_agent.parts.metrics import Metrics
from reference_agent.session_store import DAY_S, SessionStore
from reference_agent.settings import Settings


class Cost(Protocol):
    """Keeps the books."""

    async def allow(self, user_id: str) -> None:
        """Let a turn begin.

        Raises:
            Refused: the budget of the user, or of everybody, is spent for today.
        """
        ...

    async def thought(self, user_id: str, usage: Usage) -> None:
        """The model was used."""
        ...

    async def spoke(self, user_id: str, characters: int) -> None:
        """So many characters were spoken."""
        ...


class DocumentedCost:
    """Nobody knows what was spent; the bill tells, at the end of the month."""

    async def allow(self, user_id: str) -> None:
        pass

    async def thought(self, user_id: str, usage: Usage) -> None:
        pass

    async def spoke(self, user_id: str, characters: int) -> None:
        pass


SPEECH = "speech"
"""What speech is booked under, where thoughts are booked under their model."""
ESTIMATED = "{} (estimated)"
"""What thoughts are booked under of which no upstream tells what they took: so much of the bill may differ."""


_SNAPSHOT = re.compile(r"-\d{4}-\d\d-\d\d$")
_LATE = 1000
"""Bookings that wait for the store, at most: of the turns that were under way when it went down, as it lets in none."""


class _Booking(NamedTuple):
    """What the session store is told; see `SessionStore.spend`."""

    day: int
    user_id: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    characters: int
    usd: float
    erasures: int | None


class _LetIn(NamedTuple):
    """Whose turn this is, of which day, and how often they had been erased on it."""

    user_id: str
    day: int
    erasures: int | None


_LET_IN: ContextVar[_LetIn | None] = ContextVar("let_in", default=None)


class HardenedCost:
    """Metered per user, model and day, by the figures of the model's upstream; a spent budget refuses politely.

    A turn is let in while there is budget left, so that those under way as it is spent (of one user: the one that is
    played and the few that wait for it) overdraw it by what they cost. An answer that is there is not withheld because
    it cannot be booked: that is done later, before the next turn is let in. Only what may have been booked after all (a
    Redis that took it and did not say so) is not booked again, but logged.

    What a turn takes is booked on who its user was as it was let in, on the day of that: speech, repeats and what comes
    late find an erasure that was in between, and are booked on nobody. The budget of the day holds all the same.
    """

    needs_loop = True

    def __init__(
        self, settings: Settings, clock: Clock, session_store: SessionStore, logging: Logging, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._store = session_store
        self._logging = logging
        self._metrics = metrics
        self._late: deque[_Booking] = deque(maxlen=_LATE)

    async def allow(self, user_id: str) -> None:
        day = self._day()
        user_usd, all_usd, erasures = await self._store.spent(day, user_id)
        if self._late:
            await self._book_late()
            user_usd, all_usd, erasures = await self._store.spent(day, user_id)
        _LET_IN.set(_LetIn(user_id, day, erasures))
        if all_usd >= self._settings.budget_usd:
            self._logging.warned("budget_spent", usd=round(all_usd, 4))
            raise Refused(429, "budget_spent", self._until_tomorrow_s())
        if user_usd >= self._settings.user_budget_usd:
            raise Refused(429, "user_budget_spent", self._until_tomorrow_s())

    async def thought(self, user_id: str, usage: Usage) -> None:
        of_prompt, of_completion = self._prices_of(usage.model)
        usd = (usage.prompt_tokens * of_prompt + usage.completion_tokens * of_completion) / 1000
        self._metrics.spent(
            usage.model, usage.prompt_tokens + usage.completion_tokens, usd, is_estimate=usage.is_estimate
        )
        kind = ESTIMATED.format(usage.model) if usage.is_estimate else usage.model
        await self._book(user_id, kind, usage.prompt_tokens, usage.completion_tokens, 0, usd)

    async def spoke(self, user_id: str, characters: int) -> None:
        usd = characters * self._settings.usd_per_1k_spoken / 1000
        self._metrics.spent(SPEECH, characters, usd)
        await self._book(user_id, SPEECH, 0, 0, characters, usd)

    def _prices_of(self, model: str) -> tuple[float, float]:
        usual = self._settings.usd_per_1k_tokens
        table = self._settings.price_table
        # An upstream may say which snapshot of a model it was: gpt-4o-2024-08-06.
        return table.get(model) or table.get(_SNAPSHOT.sub("", model)) or (usual, usual)

    async def _book(self, user_id: str, *what: *tuple[str, int, int, int, float]) -> None:
        let_in = _LET_IN.get()
        if let_in is None or let_in.user_id != user_id:  # no turn: what was left of a job that is still there
            let_in = _LetIn(user_id, self._day(), None)
        await self._write(_Booking(let_in.day, user_id, *what, let_in.erasures))

    async def _write(self, booking: _Booking) -> None:
        try:
            await self._store.spend(*booking)
        except Unavailable as failure:
            later = failure.never_arrived
            self._logging.warned("spend_not_booked", usd=round(booking.usd, 6), reason=failure.reason, later=later)
            if later:
                self._late.append(booking)

    async def _book_late(self) -> None:
        for booking in [self._late.popleft() for _ in range(len(self._late))]:
            await self._write(booking)

    def _day(self) -> int:
        return int(self._clock.wall() // DAY_S)

    def _until_tomorrow_s(self) -> float:
        return DAY_S - self._clock.wall() % DAY_S


VARIANTS = {
    "documented": DocumentedCost,
    "proposed": DocumentedCost,  # nothing was proposed
    "hardened": HardenedCost,
}
