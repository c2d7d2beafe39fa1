"""What faults do beside the one answer: to the connection, to other callers, over time. See also `test_every_fault`."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from typing import Any

import httpx2
import openai
import pytest

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

WEATHER = b"GET /data/2.5/weather?q=Tokyo&appid=k HTTP/1.1\r\nHost: x\r\n\r\n"


@contextlib.contextmanager
def connected(port: int) -> Any:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        yield connection


def speak(text: str) -> bytes:
    body = json.dumps({"text": text}).encode()
    return b"POST /speak HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def everything(connection: socket.socket) -> bytes:
    """Read to the end of the connection."""
    received = b""
    while True:
        some = connection.recv(65536)
        if not some:
            return received
        received += some


def until_silent(connection: socket.socket) -> bytes:
    """Read until nothing comes for as long as the socket's time-out."""
    received = b""
    with contextlib.suppress(TimeoutError):
        while some := connection.recv(65536):
            received += some
    return received


def split(received: bytes) -> tuple[int, bytes]:
    """Return (announced length of the body, body)."""
    head, _, body = received.partition(b"\r\n\r\n")
    announced = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return int(announced.split(b":")[1]), body


def test_hang_until_it_is_lifted(stand: Any) -> None:
    id_ = stand.arm("hang", upstream="weather")
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        stand.lift(id_)
        connection.settimeout(5)
        assert connection.recv(1) == b""
    call = stand.calls()[-1]
    assert (call["status"], call["fault"], call.get("client_gone", False)) == (None, "hang", False)


def test_a_caller_that_leaves_is_recorded(stand: Any) -> None:
    stand.arm("hang", upstream="weather")
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        time.sleep(0.05)
    deadline = time.monotonic() + 5
    while not stand.calls() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stand.calls()[0]["client_gone"] is True


def test_refuse_closes_the_listening_socket_and_what_is_connected(stand: Any) -> None:
    port = stand.port("tts")
    with connected(port) as kept:
        kept.sendall(speak("x"))
        assert kept.recv(1) == b"H"
        id_ = stand.arm("refuse", upstream="tts")
        with pytest.raises(ConnectionResetError):
            everything(kept)
        with pytest.raises(ConnectionRefusedError), connected(port):
            pass
    with connected(stand.port("weather")) as other:
        other.sendall(WEATHER)
        assert other.recv(1) == b"H"
    stand.lift(id_)
    with connected(port) as again:
        again.sendall(speak("x"))
        assert again.recv(1) == b"H"
    assert [event["event"] for event in stand.lines("/events")] == ["armed", "fired", "lifted"]


def test_blackhole_swallows_connections_and_what_they_send(stand: Any) -> None:
    port = stand.port("weather")
    with connected(port) as kept:
        kept.sendall(WEATHER)
        assert kept.recv(1) == b"H"
        id_ = stand.arm("blackhole", upstream="weather")
        kept.settimeout(0.3)
        with pytest.raises(TimeoutError):
            everything(kept)
        kept.sendall(WEATHER)
        with pytest.raises(TimeoutError):
            kept.recv(1)
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), timeout=0.3)
        stand.lift(id_)
    with connected(port) as again:
        again.sendall(WEATHER)
        assert again.recv(1) == b"H"


def test_nobody_else_gets_a_port_that_refuses(stand: Any) -> None:
    stand.arm("refuse", upstream="tts")
    with socket.socket() as thief, pytest.raises(OSError, match="Address already in use"):
        thief.bind(("127.0.0.1", stand.port("tts")))


def test_crash_on_emoji_takes_everybody_down_for_a_while(stand: Any) -> None:
    port = stand.port("tts")
    stand.arm("crash_on_emoji", upstream="tts", down_s=0.4)
    with connected(port) as bystander, connected(port) as culprit:
        culprit.sendall(speak("🔥💥🎯にゃん"))
        for connection in (culprit, bystander):
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    with pytest.raises(ConnectionRefusedError), connected(port):
        pass
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            with connected(port) as again:
                again.sendall(speak("にゃん"))
                assert again.recv(1) == b"H"
                break
        except ConnectionRefusedError:
            time.sleep(0.02)
    assert [call.get("fault") for call in stand.calls()] == ["crash_on_emoji", None]


def test_a_new_epoch_is_without_the_faults_of_the_old_one(stand: Any) -> None:
    stand.arm("refuse", upstream="*")
    stand.begin_epoch("next")
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        assert connection.recv(1) == b"H"
    assert json.loads(stand.ask("GET", "/faults")[1]) == []


def test_the_client_retries_a_lost_answer_and_makes_a_second_thread(stand: Any) -> None:
    stand.arm("cut", upstream="openai", after_bytes=5, times=1)
    with stand.openai(max_retries=1) as client:
        client.beta.threads.create()
    assert json.loads(stand.ask("GET", "/summary")[1])["live_conversations"] == 2


def test_requests_are_answered_in_the_order_of_their_arrival(stand: Any) -> None:
    with connected(stand.port("weather")) as connection:
        connection.sendall(
            WEATHER + WEATHER.replace(b"Tokyo", b"Osaka") + b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        received = everything(connection)
    assert received.index(b"Tokyo") < received.index(b"Osaka") < received.index(b"404 Not Found")


def test_a_body_in_pieces_is_read_whole(stand: Any) -> None:
    with connected(stand.port("tts")) as connection:
        for piece in (speak("にゃん")[:30], speak("にゃん")[30:60], speak("にゃん")[60:]):
            connection.sendall(piece)
            time.sleep(0.01)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_head_has_no_body(stand: Any) -> None:
    with connected(stand.port("weather")) as connection:
        connection.sendall(b"HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = everything(connection)
    assert received.startswith(b"HTTP/1.1 404 ")
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("huge_body", {"megabytes": 1}),
        ("drip", {"bytes": 1000}),
        ("garbage", {}),
        ("keep_alive_closed", {}),
        ("clock_skew", {}),
    ],
)
def test_head_has_no_body_whatever_a_fault_makes_of_it(stand: Any, fault: str, fields: dict[str, Any]) -> None:
    stand.arm(fault, upstream="openai", **fields)
    received = answer_to(
        stand, b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n", upstream="openai"
    )
    assert received.count(b"HTTP/1.1 ") == 1
    assert received.endswith(b"\r\n\r\n")
    call = stand.calls()[-1]
    assert (call["fault"], call.get("response_bytes", 0)) == (fault, 0)


def statuses(received: bytes) -> list[int]:
    """Return the statuses of the answers that came over one connection."""
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", received)]


GARBAGE = b"garbage\r\n\r\n"
LAST_WEATHER = WEATHER.replace(b"Host: x", b"Host: x\r\nConnection: close")


@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["at once", "with latency"])
@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (WEATHER + GARBAGE, [200, 400]),
        (WEATHER + WEATHER + GARBAGE + WEATHER, [200, 200, 400]),
        (WEATHER + LAST_WEATHER + WEATHER, [200, 200]),
        (WEATHER + LAST_WEATHER + GARBAGE, [200, 200]),
    ],
    ids=["garbage", "two and garbage", "behind the last", "garbage behind the last"],
)
def test_what_comes_behind_a_request_leaves_its_answer_whole(
    stand: Any, scale: float, sent: bytes, expected: list[int]
) -> None:
    stand.begin_epoch("behind", latency_scale=scale)
    with connected(stand.port("weather")) as connection:
        connection.sendall(sent)
        assert statuses(everything(connection)) == expected
    assert [call["status"] for call in stand.calls()] == expected, "garbage is on record too"


def test_garbage_behind_a_request_waits_for_the_end_of_its_stream(stand: Any) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
    with connected(stand.port("openai")) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            b"Content-Length: %d\r\n\r\n%b%b" % (len(body), body, GARBAGE)
        )
        stream, _, refusal = everything(connection).partition(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert (statuses(stream), statuses(refusal)) == ([200], [400])


@pytest.mark.parametrize(
    ("scale", "answered", "gone"), [(0.0, [200], False), (1.0, [], True)], ids=["at once", "with latency"]
)
def test_who_half_closes_is_sent_nothing_more(stand: Any, scale: float, answered: list[int], gone: bool) -> None:
    stand.begin_epoch("half", latency_scale=scale)
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        connection.shutdown(socket.SHUT_WR)
        assert statuses(everything(connection)) == answered
    call = stand.calls()[-1]
    assert (call["status"], call.get("client_gone", False)) == (answered[0] if answered else None, gone)


def test_who_half_closes_in_the_middle_of_a_stream_has_left(stand: Any) -> None:
    stand.begin_epoch("half", latency="realistic")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}).encode()
    with connected(stand.port("openai")) as connection:
        connection.settimeout(60)
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        received = b""
        while b"data: " not in received:
            received += connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        received += everything(connection)
    assert b"[DONE]" not in received
    assert stand.calls()[-1]["client_gone"] is True


def test_what_is_no_http_is_refused(stand: Any) -> None:
    with connected(stand.port("tts")) as connection:
        connection.sendall(b"\x16\x03\x01hello\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 400 ")


# --- bodies ----------------------------------------------------------------------------------------------------------


def answer_to(stand: Any, request: bytes = WEATHER, upstream: str = "weather") -> bytes:
    """Return all bytes of an answer, the connection being closed by the upstream."""
    with connected(stand.port(upstream)) as connection:
        connection.sendall(request.replace(b"Host: x", b"Host: x\r\nConnection: close"))
        return everything(connection)


def test_stall_in_the_middle_of_the_body(stand: Any) -> None:
    id_ = stand.arm("stall", upstream="weather", after_bytes=15)
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        connection.settimeout(0.3)
        received = until_silent(connection)
        assert len(split(received)[1]) == 15
        stand.lift(id_)
        connection.settimeout(5)
        assert everything(connection) == b""


def test_half_close_ends_the_answer_and_keeps_reading(stand: Any) -> None:
    stand.arm("half_close", upstream="weather", after_bytes=15)
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        announced, body = split(everything(connection))
        assert len(body) == 15 < announced
        for _ in range(3):
            connection.sendall(WEATHER)
            time.sleep(0.02)


def test_a_huge_body_is_sent_no_faster_than_it_is_read(stand: Any) -> None:
    import psutil

    stand.arm("huge_body", upstream="weather", megabytes=2000)
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        connection.recv(1000)
        time.sleep(0.2)
        assert psutil.Process(stand.process.pid).memory_info().rss < 300e6


def test_an_answer_that_is_lost_was_given_nonetheless(stand: Any) -> None:
    stand.arm("answer_lost", upstream="openai", times=1)
    with stand.openai(max_retries=1) as client:
        client.beta.threads.create()
    assert json.loads(stand.ask("GET", "/summary")[1])["live_conversations"] == 2


def test_every_answer_has_its_date_once(stand: Any) -> None:
    from email.utils import parsedate_to_datetime

    for skew_s in (0, -7200):
        if skew_s:
            stand.arm("clock_skew", upstream="weather", seconds=skew_s)
        head = answer_to(stand).partition(b"\r\n\r\n")[0].decode()
        (date,) = [line[6:] for line in head.split("\r\n") if line.startswith("date: ")]
        assert parsedate_to_datetime(date).timestamp() == pytest.approx(time.time() + skew_s, abs=5)


def test_clock_skew_and_the_ways_of_retry_after(stand: Any) -> None:
    from email.utils import parsedate_to_datetime

    def header(name: str) -> str:
        head = answer_to(stand).partition(b"\r\n\r\n")[0].decode()
        return next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.startswith(name + ":"))

    id_ = stand.arm("clock_skew", upstream="weather", seconds=-7200)
    assert parsedate_to_datetime(header("date")).timestamp() == pytest.approx(time.time() - 7200, abs=5)
    stand.lift(id_)
    id_ = stand.arm("status", upstream="weather", status=429, retry_after_s=7, retry_after_as="date")
    assert parsedate_to_datetime(header("retry-after")).timestamp() == pytest.approx(time.time() + 7, abs=3)
    stand.lift(id_)
    stand.arm("status", upstream="weather", status=429, retry_after_s=0.25, retry_after_as="ms")
    assert header("retry-after-ms") == "250"


@pytest.mark.parametrize(
    "sent", [b"no HTTP\r\n\r\n", "GET /audio_query?text=テスト HTTP/1.1\r\nhost: x\r\n\r\n".encode()]
)
def test_what_is_no_http_is_refused_and_on_record(stand: Any, sent: bytes) -> None:
    said = answer_to(stand, sent)
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"No HTTP/1.1 here: " in said
    (call,) = stand.calls()
    assert (call["upstream"], call["status"], call["unexpected"]) == ("weather", 400, True)
    assert call["error"] == "What arrived is no HTTP/1.1."


def test_a_fault_that_comes_later_and_goes_by_itself(stand: Any) -> None:
    stand.arm("reset", upstream="weather", from_s=0.3, for_s=0.5)
    assert json.loads(stand.ask("GET", "/faults")[1])[0]["in_force"] is False
    assert answer_to(stand).startswith(b"HTTP/1.1 200 ")
    deadline = time.monotonic() + 10
    while [event["event"] for event in stand.lines("/events")][-1] != "lifted" and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionResetError):
            answer_to(stand)
        time.sleep(0.02)
    seen = [event["event"] for event in stand.lines("/events")]
    assert seen[:2] == ["planned", "armed"]
    assert "fired" in seen
    assert seen[-1] == "lifted"
    assert answer_to(stand).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_client_that_loses_patience_ends_what_was_made_for_it(stand: Any, api: str, stream: bool) -> None:
    stand.arm("stuck", upstream="openai")
    with stand.openai(timeout=1.0) as client:
        create = {
            "chat": lambda: client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=stream
            ),
            "responses": lambda: client.responses.create(model="m", input="hi", stream=stream),
        }[api]
        with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
            list(create())
    deadline = time.monotonic() + 20
    while json.loads(stand.ask("GET", "/open")[1]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [one["state"] for one in stand.lines("/ledger") if one["type"] == "generation"] == [
        "in_progress",
        "cancelled",
    ]
