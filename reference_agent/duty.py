"""Which turns are under way, and how does the process get from its work to its end?

Told to end, it is not ready any more, and begins nothing new; what is under way may finish within a bound, and is
cancelled then, upstream too. Only then are the connections closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from types import FrameType
from typing import Any

import uvicorn

from reference_agent.errors import Refused
from reference_agent.settings import Settings

_PATIENT_SIGNALS = 2


class Duty:
    """All turns of this process that can be cancelled."""

    def __init__(self, settings: Settings) -> None:
        self._shutdown_s = settings.shutdown_s
        self._turns: set[asyncio.Future[Any]] = set()
        self._hurry = asyncio.Event()
        self._leaving = asyncio.Event()
        self.is_leaving = False

    def attend(self) -> asyncio.Future[None]:
        """Return what stands for a turn that is played in its caller's own task.

        Whoever plays it says that it has ended by setting it, and ends it when it is cancelled.
        """
        turn = asyncio.get_running_loop().create_future()
        self._turns.add(turn)
        turn.add_done_callback(self._turns.discard)
        return turn

    async def pause(self, seconds: float) -> bool:
        """Return after so many seconds, or as soon as the process is told to end; and whether it was.

        For what can be gone on with elsewhere at any moment, such as a stream that only watches.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()
        return self._leaving.is_set()

    async def leave(self) -> float:
        """Begin nothing new, wait for what is under way, cancel it in the end; return the seconds left for the rest."""
        self.is_leaving = True
        self._leaving.set()
        loop = asyncio.get_running_loop()
        until = loop.time() + self._shutdown_s
        if self._turns:
            hurry = asyncio.create_task(self._hurry.wait())
            ended = asyncio.create_task(_all_over(set(self._turns)))
            await asyncio.wait({ended, hurry}, timeout=self._shutdown_s, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            ended.cancel()
        for turn in self._turns:
            turn.cancel()
        return max(0.0, until - loop.time())

    def hurry(self) -> None:
        """Wait for nothing that is under way any more."""
        self._hurry.set()


async def _all_over(turns: set[asyncio.Future[Any]]) -> bool:
    await asyncio.wait(turns)
    return True


def left_alone() -> Refused:
    """Return what a caller is told whose turn the end of the process cut off."""
    return Refused(503, "shutting_down", 1.0)


class Server(uvicorn.Server):
    """Serves until it is told to end. The first signal asks it to, the second one waits for no turn, the third for
    nothing."""

    def __init__(self, config: uvicorn.Config, duty: Duty) -> None:
        super().__init__(config)
        self._duty = duty
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signals = 0
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._loop is None or self._signals > _PATIENT_SIGNALS:
            super().handle_exit(sig, frame)
        elif self._duty.is_leaving:
            self._loop.call_soon_threadsafe(self._duty.hurry)
        else:
            self._duty.is_leaving = True
            self._loop.call_soon_threadsafe(self._begin_to_leave)

    def _begin_to_leave(self) -> None:
        self._leaving = asyncio.create_task(self._leave())

    async def _leave(self) -> None:
        left_s = await self._duty.leave()
        # For speech that is still on its way, and streams that say that they end.
        self.config.timeout_graceful_shutdown = max(1, math.ceil(left_s))
        self.should_exit = True
