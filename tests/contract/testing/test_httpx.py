"""The agent's other upstreams through httpx and httpx2, sync and async."""

from __future__ import annotations

import socket
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest

TEXT = "こんにちは、とても嬉しい #h12345678"


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def is_sound(body: bytes) -> bool:
    with wave.open(BytesIO(body)) as sound:
        return sound.getnframes() > 0


def test_speech_and_emotion(library: ModuleType, speech_upstream: Any, emotion_upstream: Any, ledger: Any) -> None:
    with library.Client() as client:
        spoken = client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})
        assert spoken.status_code == 200
        assert is_sound(spoken.content)
        assert spoken.headers["content-length"] == str(len(spoken.content))
        felt = client.post(f"{emotion_upstream.url}/analyze", json={"text": TEXT})
        assert felt.status_code == 200
        assert felt.json()
    assert [call.upstream for call in ledger.entries(mark="#h12345678")] == ["tts", "emotion"]


async def test_speech_and_emotion_async(library: ModuleType, speech_upstream: Any, emotion_upstream: Any) -> None:
    async with library.AsyncClient() as client:
        spoken = await client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})
        assert is_sound(spoken.content)
        assert (await client.post(f"{emotion_upstream.url}/analyze", json={"text": TEXT})).json()


def test_a_query(library: ModuleType, weather_upstream: Any) -> None:
    with library.Client(base_url=weather_upstream.url) as client:
        found = client.get("/data/2.5/weather", params={"q": "東京", "appid": "k"})
    assert found.status_code == 200
    assert weather_upstream.calls[0].text == "東京"


@pytest.mark.parametrize(
    ("fault", "fields", "name"),
    [
        ("refuse", {}, "ConnectError"),
        ("blackhole", {}, "ConnectTimeout"),
        ("reset", {}, "ReadError"),
        ("hang", {}, "ReadTimeout"),
        ("slow", {"delay_s": 30}, "ReadTimeout"),
        ("stall", {"after_bytes": 5}, "ReadTimeout"),
        ("cut", {"after_bytes": 5}, "RemoteProtocolError"),
    ],
)
async def test_the_transports_own_exceptions(
    library: ModuleType, speech_upstream: Any, faults: Any, fault: str, fields: dict[str, Any], name: str
) -> None:
    faults.arm(fault, upstream="tts", **fields)
    with library.Client() as client, pytest.raises(getattr(library, name)):
        client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})
    async with library.AsyncClient() as client:
        with pytest.raises(getattr(library, name)):
            await client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})


def test_a_crash_takes_the_server_down_for_a_while(speech_upstream: Any, upstreams: Any, faults: Any) -> None:
    faults.arm("crash_on_emoji", down_s=5)
    with httpx.Client(base_url=speech_upstream.url) as client:
        with pytest.raises(httpx.ReadError):
            client.post("/speak", json={"text": "🔥"})
        with pytest.raises(httpx.ConnectError):
            client.post("/speak", json={"text": "にゃん"})
        upstreams.clock.jump(5)
        assert client.post("/speak", json={"text": "にゃん"}).status_code == 200


def test_without_a_time_out_a_hang_is_for_ever(speech_upstream: Any, faults: Any) -> None:
    faults.arm("hang", upstream="tts")
    with httpx.Client(timeout=None) as client, pytest.raises(pytest.fail.Exception, match="no time-out"):
        client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})


def test_a_huge_body_is_read_piece_by_piece(speech_upstream: Any, faults: Any) -> None:
    faults.arm("huge_body", upstream="tts", megabytes=4000)
    url = f"{speech_upstream.url}/speak"
    with httpx.Client() as client, client.stream("POST", url, json={"text": TEXT}) as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        assert len(next(pieces)) == 1 << 20
    assert speech_upstream.calls[0].client_gone


def test_other_routers_of_respx_stay_in_force(speech_upstream: Any, respx_mock: Any) -> None:
    respx_mock.get("https://example.com/").respond(204)
    with httpx.Client() as client:
        assert client.get("https://example.com/").status_code == 204
        assert client.post(f"{speech_upstream.url}/speak", json={"text": TEXT}).status_code == 200


def test_a_proxy_before_what_is_no_http(fault_proxy: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        proxy = fault_proxy(f"127.0.0.1:{listening.getsockname()[1]}")
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as caller:
            proxy.arm("reset")
            with pytest.raises(ConnectionResetError):
                caller.recv(1)


@pytest.mark.upstreams(clock="real")
def test_real_time_where_it_is_wanted(speech_upstream: Any, faults: Any) -> None:
    faults.arm("slow", upstream="tts", delay_s=0.1)
    with httpx.Client() as client:
        begin_s = time.monotonic()
        client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})
        assert time.monotonic() - begin_s >= 0.1


@pytest.mark.upstreams(clock="real")
async def test_real_time_in_a_loop(speech_upstream: Any, faults: Any) -> None:
    faults.arm("hang", upstream="tts")
    async with httpx2.AsyncClient(timeout=0.05) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(f"{speech_upstream.url}/speak", json={"text": TEXT})


def test_clients_of_many_threads(speech_upstream: Any, faults: Any) -> None:
    faults.arm("status", upstream="tts", status=503, probability=0.5)
    with httpx.Client(base_url=speech_upstream.url) as client, ThreadPoolExecutor(8) as threads:
        statuses = list(
            threads.map(lambda number: client.post("/speak", json={"text": f"{number}"}).status_code, range(80))
        )
    assert set(statuses) == {200, 503}
    assert len(speech_upstream.calls) == 80
    assert len({call.seq for call in speech_upstream.calls}) == 80


def test_a_thread_that_hangs_is_let_go_by_who_lifts_the_fault(speech_upstream: Any, faults: Any) -> None:
    hang = faults.arm("hang", upstream="tts")
    with httpx.Client(base_url=speech_upstream.url, timeout=None) as client, ThreadPoolExecutor(1) as threads:
        call = threads.submit(client.post, "/speak", json={"text": TEXT})
        while hang.fired == 0:
            time.sleep(0.001)
        hang.lift()
        with pytest.raises(httpx.RemoteProtocolError):
            call.result(10)
