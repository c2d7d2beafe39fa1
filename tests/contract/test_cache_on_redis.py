"""Is what the cache keeps in a real Redis found by others, gone with its owner, and no error when it is down?"""

from __future__ import annotations

import asyncio
import time

import pytest
import redis

from reference_agent.cache_levels import Kept, Levels, RedisLevel
from reference_agent.clock import LoopClock

_PATIENT_S = 30.0  # a busy machine is no Redis that is down


async def test_what_one_machine_keeps_another_one_finds(redis_url: str) -> None:
    here, there = (RedisLevel(redis_url, 3600, _PATIENT_S) for _ in range(2))
    now = time.time()
    for key, owner in (("a", "u"), ("b", "u"), ("c", "v"), ("tool", "")):
        await here.put(key, Kept(f"{key}にゃん", now + 300, owner), now)
    assert await there.get("a") == Kept("aにゃん", now + 300, "u")
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl("agent:cache:a") <= 300_000
        assert 300_000 < client.pttl("agent:cache:of:u") <= 3_601_000, "it outlives all that it lists"
    for _ in range(2):
        await there.forget("u")
    assert [await here.get(key) is not None for key in ("a", "b", "c", "tool")] == [False, False, True, True]
    await here.close()
    await there.close()


async def test_what_somebody_else_wrote_is_not_run_and_not_said(redis_url: str) -> None:
    level = RedisLevel(redis_url, 3600, _PATIENT_S)
    for written in (b"\x80\x04\x95garbage", b"no JSON", b'{"unknown": 1}', b"[1]"):
        failed: list[str] = []
        levels = Levels([level], LoopClock(), lambda name, failure: failed.append(name))  # noqa: B023
        with redis.Redis.from_url(redis_url) as client:
            client.set("agent:cache:a", written)
        assert await levels.get("a") == (None, "")
        assert failed == ["redis"]
    await level.close()


@pytest.mark.parametrize("hangs", [False, True])
async def test_one_that_is_down_is_a_miss(hangs: bool) -> None:
    held: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if not hangs:
        server.close()
        await server.wait_closed()
    failed: list[str] = []
    level = RedisLevel(f"redis://127.0.0.1:{port}/0", 3600)
    levels = Levels([level], LoopClock(), lambda name, failure: failed.append(name))
    assert await levels.get("a") == (None, "")
    await levels.put("a", Kept("x", time.time() + 300, "u"))
    assert failed == ["redis"], "and it is left alone afterwards"
    assert not await levels.forget("u"), "but erasure asks all the same, and says that it is not done"
    await levels.close()
    for writer in held:
        writer.close()
    server.close()
