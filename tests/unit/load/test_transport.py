"""What a caller lives through on a real socket: every way in which an answer comes, and nothing is asked for twice."""

from __future__ import annotations

import contextlib
import socket as plain_socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.ssl import SSLContext

from harness.load import connection as connection_module
from harness.load.transport import Exchange, Transport
from harness.model import Outcome
from harness.target import Target, parse_target
from tests.unit.load.server import ANSWER, Server, answering

TARGET = parse_target({"reply": {"text": {"json": "reply"}, "audio": "none"}}, "")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def speaking(host: int | str, *, deadline_s: float = 5.0, target: Target = TARGET) -> Iterator[Callable[..., Exchange]]:
    """Speak to a port of 127.0.0.1, or to a URL; the block is given `ask(message) -> Exchange`."""
    transport = Transport(target, f"http://127.0.0.1:{host}" if isinstance(host, int) else host, deadline_s)

    def ask(message: str = "hi", user_id: str = "user_7") -> Exchange:
        done = Exchange()
        transport.exchange(user_id, message, done)
        return done

    yield ask
    transport.close()


def ask_once(host: int | str, message: str = "hi", **options: Any) -> Exchange:
    with speaking(host, **options) as ask:
        return ask(message)


def answer(body: bytes = b'{"reply": "a"}', *headers: str, status: str = "200 OK", measured: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", *headers, *([f"Content-Length: {len(body)}"] if measured else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_what_goes_over_the_wire() -> None:
    with answering(ANSWER) as server:
        done = ask_once(server.port, "今日は")

    ((_, request),) = server.requests
    assert (request.method, request.path, request.version) == ("POST", "/chat-agent", "HTTP/1.1")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": "agent-harness",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
    }
    assert request.body.decode() == '{"user_id":"user_7","message":"今日は"}'
    assert (done.outcome, done.status, done.text, done.error) == (Outcome.ANSWERED, 200, "a", "")
    assert done.sent_ns is not None
    assert done.first_byte_ns is not None
    assert done.sent_ns < done.first_byte_ns <= done.end_ns


def test_a_targets_own_headers_and_path_win_but_never_the_length_of_a_body() -> None:
    target = parse_target(
        {
            "request": {
                "path": "/chat/{user_id}",
                "headers": {
                    "Host": "agent.example",
                    "user-agent": "mine",
                    "Content-Length": "3",
                    "Connection": "close",
                },
            },
            "reply": {"text": {"json": "reply"}, "audio": "none"},
        },
        "",
    )
    with answering(ANSWER) as server, speaking(f"http://127.0.0.1:{server.port}/below/", target=target) as ask:
        assert [ask(user_id="a/b").outcome for _ in range(2)] == [Outcome.ANSWERED] * 2

    assert [number for number, _ in server.requests] == [0, 1]  # `Connection: close` is meant
    request = server.requests[0][1]
    assert request.path == "/below/chat/a%2Fb"
    assert (request.headers["host"], request.headers["user-agent"]) == ("agent.example", "mine")
    assert request.headers["content-length"] == str(len(request.body)) != "3"


@pytest.mark.parametrize(
    ("method", "length"), [("GET", None), ("POST", "0")], ids=["a GET has no length", "an empty POST says so"]
)
def test_a_request_without_a_body(method: str, length: str | None) -> None:
    request = {"method": method, "path": "/ask?q={message}"} | ({"json": None} if method == "POST" else {})
    target = parse_target({"request": request, "reply": {"text": {"json": "reply"}, "audio": "none"}}, "")
    with answering(ANSWER) as server:
        done = ask_once(server.port, target=target)

    assert done.outcome is Outcome.ANSWERED
    assert server.requests[0][1].headers.get("content-length") == length


@pytest.mark.parametrize(
    ("wire", "kept"),
    [
        (answer(), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (answer(b'{"reply": "a"}', "Connection: close"), False),
        (answer(b'{"reply": "a"}', "X-Twice: 1", "X-Twice: 2"), True),
        (answer().replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (answer().replace(b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK\r\nConnection: keep-alive"), True),
        (CHUNKED + b'4\r\n{"re\r\na\r\nply": "a"}\r\n0\r\n\r\n', True),
        (CHUNKED + b'e\r\n{"reply": "a"}\r\n0\r\nX-Sum: 7\r\n\r\n', True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(), True),
        (answer() + b"what nobody asked for", False),
        (answer() + answer(b"a second answer"), False),
    ],
    ids=[
        "content-length", "204", "connection: close", "a header twice", "HTTP/1.0", "HTTP/1.0 kept", "chunked",
        "chunked with a trailer", "1xx", "garbage after it", "an answer after it",
    ],
)  # fmt: skip
def test_an_answer_is_read_to_its_end_and_no_further(wire: bytes, kept: bool) -> None:
    with answering(wire) as server, speaking(server.port) as ask:
        first, second = ask(), ask()

    if b"204" not in wire:
        assert [(done.outcome, done.text) for done in (first, second)] == [(Outcome.ANSWERED, "a")] * 2
    assert first.status == (204 if b"204" in wire else 200)
    assert [number for number, _ in server.requests] == ([0, 0] if kept else [0, 1])


def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    with answering(answer(measured=False), close=True) as server:
        assert ask_once(server.port).text == "a"


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        answer()[:-3],
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{"re\r\n',
        b"SSH-2.0-OpenSSH_9.6\r\n",
    ],
    ids=["nothing", "half a head", "short of its length", "chunks without an end", "no HTTP"],
)
def test_an_answer_that_is_not_whole_is_a_broken_connection(wire: bytes) -> None:
    with answering(wire, close=True) as server:
        done = ask_once(server.port)

    assert done.outcome is Outcome.DISCONNECTED
    assert done.error
    assert len(server.requests) == 1


def test_the_first_byte_of_the_body_is_timed_when_it_comes_and_the_end_when_it_ends() -> None:
    pause_s = 0.15

    def deed(number: int, sock: Any) -> None:
        server.request(number, sock)
        for piece in (ANSWER[:-14], ANSWER[-14:-13], ANSWER[-13:]):
            gevent.sleep(pause_s)
            sock.sendall(piece)

    server = Server(deed)
    with server.running():
        done = ask_once(server.port)

    assert done.sent_ns is not None
    assert done.first_byte_ns is not None
    assert (done.first_byte_ns - done.sent_ns) / 1e9 >= 2 * pause_s * 0.95
    assert (done.end_ns - done.first_byte_ns) / 1e9 >= pause_s * 0.95
    assert (done.first_byte_ns - done.sent_ns) / 1e9 < (done.end_ns - done.sent_ns) / 1e9 - pause_s * 0.9


def test_a_kept_connection_that_the_server_has_closed_is_replaced_before_anything_is_written() -> None:
    with answering(ANSWER, close=True) as server:
        outcomes = []
        with speaking(server.port) as ask:
            for number in range(1, 4):
                outcomes.append(ask().outcome)
                with gevent.Timeout(5):
                    while server.closed < number:
                        gevent.sleep(0.01)

    assert outcomes == [Outcome.ANSWERED] * 3
    assert [number for number, _ in server.requests] == [0, 1, 2]


def test_a_kept_connection_that_is_closed_upon_a_request_is_never_asked_again() -> None:
    def deed(number: int, sock: Any) -> None:
        server.request(number, sock)
        sock.sendall(ANSWER)
        server.request(number, sock)  # it takes the second request, and says nothing

    server = Server(deed)
    with server.running(), speaking(server.port) as ask:
        first, second = ask(), ask()

    assert first.outcome is Outcome.ANSWERED
    assert second.outcome is Outcome.DISCONNECTED
    assert "kept one, and the request was not sent again" in second.error
    assert (second.status, second.first_byte_ns) == (None, None)
    assert [number for number, _ in server.requests] == [0, 0]


def test_a_connection_that_rested_too_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_IDLE_NS", 0)
    with answering(ANSWER) as server, speaking(server.port) as ask:
        assert [ask().outcome for _ in range(2)] == [Outcome.ANSWERED] * 2

    assert [number for number, _ in server.requests] == [0, 1]


def test_a_refusal_is_read_although_the_server_does_not_take_the_whole_request() -> None:
    refusal = answer(b'{"error": "too long"}', "Connection: close", status="413 Content Too Large")

    def deed(_number: int, sock: Any) -> None:
        sock.recv(1)
        sock.sendall(refusal)

    server = Server(deed)
    with server.running():
        # What is in flight when the server closes is answered with a reset, which may overtake the refusal.
        done = ask_once(server.port, "x" * 4_000_000)

    assert (done.outcome, done.status) in {(Outcome.REFUSED, 413), (Outcome.DISCONNECTED, None)}


@pytest.mark.parametrize("sent", [b"", ANSWER[:40], ANSWER[:-1]], ids=["nothing", "half a head", "not the last byte"])
def test_a_caller_gives_up_at_the_deadline(sent: bytes) -> None:
    def deed(number: int, sock: Any) -> None:
        server.request(number, sock)
        sock.sendall(sent)
        sock.recv(1)

    server = Server(deed)
    with server.running():
        done = ask_once(server.port, deadline_s=1.0)

    assert done.outcome is Outcome.TIMEOUT
    assert done.error == "no complete answer within 1 s"
    assert done.status == (200 if sent == ANSWER[:-1] else None)


def test_a_connection_that_cannot_be_had_in_time_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.load.transport.CONNECT_WITHIN_S", 0.2)
    with plain_socket.socket() as full:
        # A queue of one that nobody takes from: further connections stay half open.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = []
        for _ in range(3):
            one = plain_socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            waiting.append(one)
        done = ask_once(port, deadline_s=3)
        for one in waiting:
            one.close()

    assert (done.outcome, done.error) == (Outcome.TIMEOUT, "no connection within 0.2 s")


def test_nobody_listens() -> None:
    with plain_socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        done = ask_once(holder.getsockname()[1])

    assert done.outcome is Outcome.DISCONNECTED
    assert "ConnectionRefusedError" in done.error


def test_a_name_that_nobody_knows() -> None:
    done = ask_once("http://agent.invalid:80")

    assert done.outcome is Outcome.DISCONNECTED
    assert done.error


def test_an_address_of_ipv6() -> None:
    if not plain_socket.has_ipv6:
        pytest.skip("this Python has no IPv6")

    def deed(number: int, sock: Any) -> None:
        server.request(number, sock)
        sock.sendall(ANSWER)

    server = Server(deed, ("::1", 0))
    with server.running():
        done = ask_once(f"http://[::1]:{server.port}")

    assert done.outcome is Outcome.ANSWERED
    assert server.requests[0][1].headers["host"] == f"[::1]:{server.port}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that no authority has signed, its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", str(path), "-out", f"{path}.crt", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_tls_with_a_certificate_that_is_trusted_and_one_that_is_not(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def deed(number: int, sock: Any) -> None:
        while server.request(number, sock) is not None:
            sock.sendall(ANSWER)

    server = Server(deed, ssl_context=context)
    with server.running():
        monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
        with speaking(f"https://localhost:{server.port}") as ask:
            answers = [ask() for _ in range(2)]
        monkeypatch.delenv("SSL_CERT_FILE")
        refused = ask_once(f"https://localhost:{server.port}")

    assert [done.outcome for done in answers] == [Outcome.ANSWERED] * 2
    assert len({number for number, _ in server.requests}) == 1  # kept, also under TLS
    assert refused.outcome is Outcome.DISCONNECTED
    assert "CERTIFICATE_VERIFY_FAILED" in refused.error


def test_who_is_killed_in_the_middle_leaves_no_connection_behind() -> None:
    seen: list[bytes] = []

    def deed(number: int, sock: Any) -> None:
        server.request(number, sock)
        seen.append(sock.recv(1))

    server = Server(deed)
    with server.running():
        done = Exchange()
        transport = Transport(TARGET, f"http://127.0.0.1:{server.port}", 5)
        under_way = gevent.spawn(transport.exchange, "u", "hi", done)
        with gevent.Timeout(5):
            while not server.requests:
                gevent.sleep(0.01)
            under_way.kill()
            while not seen:
                gevent.sleep(0.01)
        transport.close()

    assert seen == [b""]
    assert done.outcome is Outcome.ABANDONED
    assert done.end_ns > 0
