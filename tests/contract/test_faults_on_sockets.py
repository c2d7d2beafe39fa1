"""Each fault as raw sockets and the real client see it."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:The Assistants API is deprecated:DeprecationWarning")

WEATHER = b"GET /data/2.5/weather?q=Tokyo HTTP/1.1\r\nHost: x\r\n\r\n"


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


def split(received: bytes) -> tuple[int, bytes]:
    """Return (announced length of the body, body)."""
    head, _, body = received.partition(b"\r\n\r\n")
    announced = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return int(announced.split(b":")[1]), body


def test_slow(stand: Any) -> None:
    stand.arm("slow", upstream="weather", delay_s=0.3)
    with connected(stand.port("weather")) as connection:
        begin = time.monotonic()
        connection.sendall(WEATHER)
        assert connection.recv(1) == b"H"
        assert time.monotonic() - begin >= 0.3


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


def test_reset_is_a_true_rst(stand: Any) -> None:
    stand.arm("reset", upstream="weather")
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_cut_is_short_of_its_content_length(stand: Any) -> None:
    stand.arm("cut", upstream="weather", after_bytes=15)
    with connected(stand.port("weather")) as connection:
        connection.sendall(WEATHER)
        announced, body = split(everything(connection))
    assert len(body) == 15 < announced


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


@pytest.mark.parametrize(
    ("fault", "fields", "exception"),
    [
        ("status", {"status": 401}, openai.AuthenticationError),
        ("status", {"status": 429, "retry_after_s": 1}, openai.RateLimitError),
        ("status", {"status": 500}, openai.InternalServerError),
        ("status", {"status": 502}, openai.InternalServerError),
        ("status", {"status": 503}, openai.InternalServerError),
        ("reset", {}, openai.APIConnectionError),
        ("cut", {"after_bytes": 5}, openai.APIConnectionError),
        ("refuse", {}, openai.APIConnectionError),
        ("hang", {}, openai.APITimeoutError),
    ],
)
def test_faults_are_the_clients_exceptions(stand: Any, fault: str, fields: dict[str, Any], exception: Any) -> None:
    stand.arm(fault, upstream="openai", **fields)
    with stand.openai(timeout=0.3) as client, pytest.raises(exception):
        client.beta.threads.create()


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


def test_what_is_no_http_is_refused(stand: Any) -> None:
    with connected(stand.port("tts")) as connection:
        connection.sendall(b"\x16\x03\x01hello\r\n\r\n")
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
