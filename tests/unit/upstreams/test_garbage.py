"""A call that is over leaves nothing behind that only the garbage collector would find."""

from __future__ import annotations

import gc

import msgspec
import pytest

from harness.upstreams.epoch import Epoch
from harness.upstreams.wire import Request

SAID = {"role": "user", "content": "やあ #h12345678"}
CALLS = {
    "/v1/chat/completions": {"model": "gpt-4o", "messages": [SAID]},
    "/v1/chat/completions?stream": {"model": "gpt-4o", "messages": [SAID], "stream": True},
    "/v1/responses": {"model": "gpt-4o", "input": "やあ #h12345678", "store": False},
    "/v1/responses?stream": {"model": "gpt-4o", "input": "やあ #h12345678", "store": False, "stream": True},
    "/v1/threads": {"messages": [SAID]},
    "/v1/audio/speech": {"model": "tts-1", "voice": "alloy", "input": "やあ", "response_format": "wav"},
}


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("client_gone", [False, True])
def test_a_call_is_freed_when_it_is_over(epoch: Epoch, path: str, client_gone: bool) -> None:
    route, _, query = path.partition("?")
    headers = {"authorization": "Bearer key", "openai-beta": "assistants=v2"}

    def call(now_ns: int) -> None:
        request = Request("POST", route, query, headers, msgspec.json.encode(CALLS[path]))
        exchange = epoch.begin("openai", request, now_ns)
        assert exchange.reply is not None
        steps = list(exchange.reply.steps())
        assert steps
        epoch.finish(exchange, now_ns + 1_000_000, status=200, response_bytes=1, client_gone=client_gone)
        epoch.advance(now_ns + 10**11)

    call(10**9)  # what the first call brings with it, caches and the like, is none of the second's
    gc.collect()
    gc.disable()
    try:
        call(2 * 10**11)
        assert gc.collect() == 0
    finally:
        gc.enable()
