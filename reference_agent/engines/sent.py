"""What becomes of a call that makes something upstream, when nobody waits for its answer any more?

Cut off, it would still be carried out, and what it made would run, cost and hold what was said, under an id that nobody
was ever told. So it is carried through, and whoever ends the generation is told what it came to, however late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import openai

from reference_agent.trouble import trouble_in

T = TypeVar("T")

_PATIENCE = 2.0
"""How many times as long as its answer is waited for a call holds up its conversation: an upstream that is only slow
has answered by then, and the user whose conversation waits for it has not gone away."""
_LISTENS = 30.0
"""How many times as long it is listened to in all: a minute, by default. A connection that is silent for so long brings
nothing any more, and keeping it for the client's own ten minutes would exhaust the pool in an outage."""


class Sent(Generic[T]):
    """The latest call of a generation that makes something upstream.

    Args:
        is_carried_through: False: a call ends with whoever waits for it.
        call_s: seconds after which an answer is not waited for any more.
        leaving: set: the process ends, and there is no time left to wait for an answer.
    """

    def __init__(self, call_s: float, leaving: asyncio.Event, *, is_carried_through: bool) -> None:
        self._call_s = call_s
        self._leaving = leaving
        self._is_carried_through = is_carried_through
        self._call: asyncio.Task[T] | None = None
        self._until = 0.0
        self._is_lost = False

    async def answer(self, call: Coroutine[Any, Any, T]) -> T:
        """Make a call and return its answer; whoever stops waiting for it leaves it on its way."""
        if not self._is_carried_through:
            return await call
        self._is_lost = False
        loop = asyncio.get_running_loop()
        self._until = loop.time() + _PATIENCE * self._call_s
        self._call = asyncio.create_task(self._bounded(call))
        try:
            answer = await asyncio.shield(self._call)
        except Exception as failure:
            self._call = None
            self._is_lost = _may_have_arrived(failure)
            raise
        self._call = None
        return answer

    def is_on_its_way(self) -> bool:
        """Return whether there is a call whose answer nobody has taken."""
        return self._call is not None

    def is_lost(self) -> bool:
        """Return whether the upstream may have acted on a call whose answer will never come."""
        return self._is_lost

    async def late_answer(self) -> T | None:
        """Return the answer that nobody has taken, as soon as it is there; None: not while that can be waited for."""
        patience_s = self._until - asyncio.get_running_loop().time()
        return await self._taken(max(0.0, patience_s))

    async def last_answer(self, *, patiently: bool) -> T | None:
        """Return the answer that nobody has taken, however late it is; None: there is none, and none will come.

        Args:
            patiently: False: it is not waited for.
        """
        answer = await self._taken(None if patiently else 0.0)
        if self._call is not None:
            self._call.cancel()
            self._call, self._is_lost = None, True
        return answer

    async def _taken(self, within_s: float | None) -> T | None:
        call = self._call
        if call is None:
            return None
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({call, leaving}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not call.done():
            return None
        self._call = None
        if call.cancelled():
            self._is_lost = True
        elif failure := call.exception():
            self._is_lost = _may_have_arrived(failure)
        else:
            return call.result()
        return None

    def settle(self) -> None:
        """Whatever has become of a lost call is settled."""
        self._is_lost = False

    def disown(self) -> None:
        """Leave to somebody else what comes of it."""
        self._call = None
        self._is_lost = False

    async def _bounded(self, call: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(_LISTENS * self._call_s):
            return await call


def _may_have_arrived(failure: BaseException) -> bool:
    """Return whether a call that failed may have been acted on: not one that was answered, if only with an error."""
    trouble = trouble_in(failure)
    return trouble is not None and not trouble.never_arrived and not isinstance(failure, openai.APIStatusError)
