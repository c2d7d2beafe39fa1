"""How is an answer of the model's API read while it is still being made?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from reference_agent.clock import Deadline
from reference_agent.errors import OutOfTime, Unavailable
from reference_agent.trouble import trouble_in

_OPENAI = "openai"


async def events_of(stream: Any, deadline: Deadline) -> AsyncIterator[Any]:
    """Yield the (further) events of a stream of the openai client, and close it in the end.

    Raises:
        Unavailable: it broke off, or what came is no event.
        OutOfTime: the deadline passed before the next event.
    """
    try:
        while True:
            try:
                async with asyncio.timeout(deadline.remaining_s()):
                    event = await next_event(stream)
            except TimeoutError:
                what = "the model"
                raise OutOfTime(what) from None
            if event is None:
                return
            yield event
    finally:
        await stream.close()


async def next_event(stream: Any) -> Any:
    """Return the next event of a stream of the openai client; None: it is over.

    Raises:
        Unavailable: it broke off, or what came is no event.
    """
    try:
        return await anext(stream, None)
    except ValueError as nonsense:
        raise Unavailable(_OPENAI, "stream not understood", never_arrived=False) from nonsense
    except Exception as failure:
        trouble = trouble_in(failure)
        if trouble is None:
            raise
        raise Unavailable(_OPENAI, trouble.reason, never_arrived=False) from failure
