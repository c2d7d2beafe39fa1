"""Work that takes long is done beside the event loop: others are answered meanwhile, and nobody works for nobody."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import soundfile

from harness.upstreams import sound, wire
from harness.upstreams.epoch import EpochSettings
from harness.upstreams.server import Server
from tests.unit.upstreams.conftest import Caller
from tests.unit.upstreams.test_connection import connected

WITHIN_S = 30
"""Whatever waits, waits for something that happens; this only ends a test that hangs."""


async def comes_true(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.001)


async def http(server: Server, upstream: str, request: bytes) -> tuple[int, bytes]:
    """Make one call and return (status, body); the body is whole when the connection is closed."""
    port = int(server.addresses.upstreams[upstream].removesuffix("/v1").rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def speech(**fields: Any) -> bytes:
    body = json.dumps({"model": "tts-1", "voice": "alloy", **fields}).encode()
    return (
        b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def test_others_are_answered_while_a_very_long_speech_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, answered, order = threading.Event(), threading.Event(), []
    write = soundfile.SoundFile.buffer_write

    def held_up(file: Any, samples: Any, dtype: str) -> None:
        begun.set()
        # Before the first piece is encoded somebody else has to be answered.
        assert answered.wait(WITHIN_S)
        write(file, samples, dtype)

    monkeypatch.setattr(soundfile.SoundFile, "buffer_write", held_up)
    monkeypatch.setattr(sound, "_long", sound._Files(1))
    server = Server(settings=EpochSettings(latency_scale=0.0))
    await server.serve()
    try:
        text = "あ" * 4096
        long = asyncio.create_task(http(server, "openai", speech(input=text, speed=4, response_format="flac")))
        long.add_done_callback(lambda _: order.append("speech"))
        assert await asyncio.to_thread(begun.wait, WITHIN_S)
        for _ in range(3):
            assert (await http(server, "tts", HEALTH))[0] == 200
            order.append("health")
        answered.set()
        status, body = await asyncio.wait_for(long, WITHIN_S)
    finally:
        answered.set()
        server.close()
    assert order == ["health", "health", "health", "speech"]
    assert status == 200
    assert sound.encoded(sound.seconds_to_speak(text, speed=4), encoding="flac", rate_hz=24_000)[:100] in body


async def test_what_nobody_waits_for_any_more_is_not_encoded_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, begun, left = [], threading.Event(), threading.Event()
    ended = threading.Event()
    encode = sound._encoded

    def held_up(file: Any, samples: Any, dtype: str) -> None:
        pieces.append(len(samples))
        begun.set()
        assert left.wait(WITHIN_S)

    def watched(*given: Any) -> bytes:
        try:
            return encode(*given)
        finally:
            ended.set()

    monkeypatch.setattr(soundfile.SoundFile, "buffer_write", held_up)
    monkeypatch.setattr(sound, "_encoded", watched)
    server = Server(settings=EpochSettings(latency_scale=0.0))
    await server.serve()
    try:
        caller = asyncio.create_task(http(server, "openai", speech(input="い" * 4096, response_format="mp3")))
        assert await asyncio.to_thread(begun.wait, WITHIN_S)
        caller.cancel()
        await comes_true(lambda: server.epoch.ledger.summary().calls)
        left.set()
        assert await asyncio.to_thread(ended.wait, WITHIN_S)
    finally:
        left.set()
        server.close()
    assert len(pieces) == 1


def worked(do: Callable[[Callable[[], bool]], None]) -> Iterator[wire.Step]:
    yield wire.Work(do)
    yield wire.Head(200, (), 1)
    yield wire.Data(b"x")


async def test_a_bounded_number_of_works_is_done_at_once() -> None:
    lock, free, at_once = threading.Lock(), threading.Event(), [0, 0]

    def work(is_given_up: Callable[[], bool]) -> None:
        with lock:
            at_once[0] += 1
            at_once[1] = max(at_once)
        assert free.wait(WITHIN_S)
        with lock:
            at_once[0] -= 1

    calls = [connected(wire.scripted(worked(work)))[2] for _ in range(6)]
    await comes_true(lambda: at_once[0] == 2)
    free.set()
    await comes_true(lambda: all(one.finished for one in calls))
    assert at_once == [0, 2]


async def test_a_work_that_breaks_is_our_mistake_and_ends_the_connection(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(is_given_up: Callable[[], bool]) -> None:
        raise KeyError("ours")

    _, transport, calls = connected(wire.scripted(worked(broken)))
    await comes_true(lambda: calls.finished)
    assert transport.ended == "reset"
    assert "KeyError: 'ours'" in capsys.readouterr().err


async def test_nothing_is_sent_to_a_connection_that_was_taken_away_during_the_work() -> None:
    go_on, done = threading.Event(), threading.Event()

    def work(is_given_up: Callable[[], bool]) -> None:
        assert go_on.wait(WITHIN_S)
        assert is_given_up()
        done.set()

    connection, transport, calls = connected(wire.scripted(worked(work)))
    connection.pause_writing()
    connection.resume_writing()  # what takes more does not go on before the work is done
    connection.end_by("refuse")
    go_on.set()
    assert await asyncio.to_thread(done.wait, WITHIN_S)
    await asyncio.sleep(0)
    assert (transport.written, transport.ended) == (b"", "reset")
    assert calls.finished == [{"status": None, "response_bytes": 0, "client_gone": False}]


@pytest.mark.parametrize("response_format", ["mp3", "flac"])
def test_what_is_encoded_in_pieces_is_what_is_encoded_in_one(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, response_format: Any
) -> None:
    in_pieces = sound._encoded(2 * 24_000 * 25, response_format, 24_000, lambda: False)
    monkeypatch.setattr(sound, "_ENCODED_AT_ONCE_S", 1000)
    assert sound._encoded(2 * 24_000 * 25, response_format, 24_000, lambda: False) == in_pieces


def test_what_was_encoded_is_no_work_the_second_time(caller: Caller) -> None:
    body = {"model": "tts-1", "voice": "alloy", "input": "二度目は早いにゃん", "response_format": "mp3"}
    first, second = (caller.call("openai", "POST", "/v1/audio/speech", body) for _ in range(2))
    assert [sum(isinstance(step, wire.Work) for step in answer.steps) for answer in (first, second)] == [1, 0]
    assert first.body == second.body


def test_of_the_encoded_the_last_wanted_are_kept() -> None:
    files = sound._Files(2)
    for size in (1, 2):
        files.keep((size, "mp3", 8000), b"x")
    assert files.find((1, "mp3", 8000)) == b"x"
    files.keep((3, "mp3", 8000), b"x")
    assert [size for size in (1, 2, 3) if files.find((size, "mp3", 8000))] == [1, 3]
