"""How is what the first call of the openai client costs paid before anybody waits for it?

At the first use of an API the client imports its resources and builds the validators of its types: several tenths of a
second of CPU, in which the event loop stands still for everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx2
import openai


async def rehearse(
    client: openai.OpenAI | openai.AsyncOpenAI, play: Callable[[Any], Awaitable[None]], answers: Mapping[str, Any]
) -> None:
    """Play calls against answers that are at hand. Nothing leaves the process, nothing is created upstream.

    Args:
        client: whose calls they are.
        play: makes them, with the client that it is given.
        answers: the JSON that is answered, by method and last word of the path, e.g. `POST responses`.
    """

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=answers[f"{request.method} {request.url.path.rpartition('/')[2]}"])

    transport = httpx2.MockTransport(answer)
    if isinstance(client, openai.AsyncOpenAI):
        async with openai.DefaultAsyncHttpxClient(transport=transport) as stage:
            await play(client.copy(http_client=stage))
    else:
        with openai.DefaultHttpxClient(transport=transport) as stage_of_threads:
            await play(client.copy(http_client=stage_of_threads))
