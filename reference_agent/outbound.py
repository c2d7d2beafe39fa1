"""How do tools, emotion and speech reach their servers?"""

from __future__ import annotations

from typing import Any

import httpx2

from reference_agent.clock import Deadline
from reference_agent.conversation import BadArguments
from reference_agent.errors import NotUnderstood, Unavailable
from reference_agent.parts.retries import Retries
from reference_agent.wire import Body, Wire

_NOT_LIKE_THIS = frozenset({400, 404, 414, 422})


class Outbound:
    """Calls over one shared pool of connections, made the way the retries part makes calls."""

    def __init__(self, wire: Wire, retries: Retries) -> None:
        self._wire = wire
        self._retries = retries

    async def get_json(self, upstream: str, url: str, deadline: Deadline, **params: str) -> Any:
        """GET and return the JSON that comes back.

        Raises:
            httpx2.HTTPStatusError: the answer is 4xx or 5xx.
            Unavailable: the upstream does not do its work.
            BadArguments: the upstream is well, but there is nothing of what was asked about (a city, a country).
        """

        async def attempt() -> Any:
            return _json_of(await self._wire.request("GET", url, params=params))

        try:
            # What bounds a tool's time is the part that runs tools; here the deadline of the turn does.
            return await self._retries.call(
                upstream, attempt, deadline, repeatable=True, attempt_s=max(0.0, deadline.remaining_s())
            )
        except Unavailable as failure:
            cause = failure.__cause__
            if isinstance(cause, httpx2.HTTPStatusError) and cause.response.status_code in _NOT_LIKE_THIS:
                msg = f"{upstream} knows nothing about that"
                raise BadArguments(msg) from failure
            raise

    async def post_json(self, upstream: str, url: str, body: Any, deadline: Deadline, attempt_s: float) -> Any:
        """POST something that does no harm when it arrives twice; return the JSON that comes back. Raises as above."""

        async def attempt() -> Any:
            return _json_of(await self._wire.request("POST", url, json=body))

        return await self._retries.call(upstream, attempt, deadline, repeatable=True, attempt_s=attempt_s)

    async def open(self, upstream: str, url: str, body: Any, deadline: Deadline, attempt_s: float) -> Body:
        """POST something that does no harm when it arrives twice; return the answer unread, once its headers are there.

        Raises as above.
        """

        async def attempt() -> Body:
            answer = await self._wire.open("POST", url, json=body)
            try:
                answer.raise_for_status()
            except httpx2.HTTPStatusError:
                await answer.close()
                raise
            return answer

        return await self._retries.call(upstream, attempt, deadline, repeatable=True, attempt_s=attempt_s)


def _json_of(response: httpx2.Response) -> Any:
    response.raise_for_status()
    try:
        return response.json()
    except ValueError as failure:
        msg = "a success without JSON"
        raise NotUnderstood(msg) from failure
