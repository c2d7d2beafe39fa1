"""Is a success that makes no sense taken for what it is: the upstream's trouble, not a bug of ours?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx2
import openai
import pytest

from reference_agent.errors import NotUnderstood
from reference_agent.trouble import trouble_in
from reference_agent.wire import settled

_JSON = {"content-type": "application/json"}
_NONSENSE = {
    "no JSON": (b"<<<", _JSON),
    "nothing": (b"", _JSON),
    "no text": (b'{"id": "\xff\xfe"}', _JSON),
    "a page": (b"<html>busy</html>", {"content-type": "text/html"}),
    "a list": (b"[]", _JSON),
    "a number": (b"7", _JSON),
    "no id": (b"{}", _JSON),
    "an id that is none": (b'{"id": 7}', _JSON),
}


def _client(body: bytes, headers: dict[str, str]) -> openai.AsyncOpenAI:
    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers=headers)

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return openai.AsyncOpenAI(base_url="http://openai/v1", api_key="sk-test", http_client=http, max_retries=0)


_CALLS: dict[str, Callable[[Any], Any]] = {
    "conversation": lambda api: api.conversations.create(),
    "thread": lambda api: api.beta.threads.create(),
    "response": lambda api: api.responses.create(input="hi", model="gpt-4o"),
    "chat": lambda api: api.chat.completions.create(messages=[{"role": "user", "content": "hi"}], model="gpt-4o"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("call", _CALLS.values(), ids=_CALLS)
@pytest.mark.parametrize(("body", "headers"), _NONSENSE.values(), ids=_NONSENSE)
async def test_a_success_that_makes_no_sense_is_trouble_of_the_upstream(
    call: Callable[[Any], Any], body: bytes, headers: dict[str, str]
) -> None:
    async with _client(body, headers) as api:
        with pytest.raises(NotUnderstood) as seen:
            await settled(call(api))
    trouble = trouble_in(seen.value)
    assert trouble is not None
    assert trouble.upstream_is_down
    assert not trouble.never_arrived, "what was asked for may have been done"


async def test_what_makes_sense_comes_through_and_so_does_nothing() -> None:
    async with _client(b'{"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}}', _JSON) as api:
        assert (await settled(api.conversations.create())).id == "conv_1"
        assert await settled(api.responses.delete("resp_1")) is None
