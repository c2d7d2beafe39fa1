"""What becomes of a call that makes something upstream, when nobody waits for its answer any more?

Cut off, it would still be carried out, and what it made would run, cost and hold what was said, under an id that nobody
was ever told. So it is carried through, and whoever ends the generation is told what it came to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_PATIENCE = 2.0
"""How many times as long as its answer is waited for a call is listened to: an upstream that is only slow has answered
by then, and the user whose conversation waits for it has not gone away."""


class Sent(Generic[T]):
    """The latest call of a generation that makes something upstream.

    What is answered later than it listens, or never, cannot be found again: the upstream lists no responses. Erasing
    the conversation takes what was said from it; a response that was made all the same stays for as long as the
    upstream keeps them (30 days at OpenAI).

    Args:
        is_carried_through: False: a call ends with whoever waits for it.
        call_s: seconds after which an answer is not waited for any more.
    """

    def __init__(self, call_s: float, *, is_carried_through: bool) -> None:
        self._longest_s = _PATIENCE * call_s
        self._is_carried_through = is_carried_through
        self._call: asyncio.Task[T] | None = None

    async def answer(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a call and return its answer; whoever stops waiting for it leaves it on its way."""
        if not self._is_carried_through:
            return await call
        self._call = asyncio.create_task(self._bounded(call))
        try:
            answer = await asyncio.shield(self._call)
        except Exception:
            self._call = None
            raise
        self._call = None
        return answer

    def is_on_its_way(self) -> bool:
        """Return whether there is a call whose answer nobody has taken."""
        return self._call is not None

    async def late_answer(self) -> T | None:
        """Return the answer that nobody has taken, as soon as it is there; None: there is none."""
        call = self._call
        if call is None:
            return None
        await asyncio.wait({call})
        self._call = None
        return None if call.cancelled() or call.exception() is not None else call.result()

    def disown(self) -> None:
        """Leave to somebody else what comes of it."""
        self._call = None

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(self._longest_s):
            return await call
