"""The WebSocket mode of the Responses API, as the official client and raw frames see it."""

from __future__ import annotations

import json
import time
from typing import Any

import openai
import pytest
import websockets
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

HELLO: dict[str, Any] = {"model": "gpt-4o", "input": "hello"}


def until_the_end(connection: Any) -> list[Any]:
    """Return events up to the one that ends a response, or an error."""
    events = []
    while not events or events[-1].type not in ("response.completed", "response.failed", "error"):
        events.append(connection.recv())
    return events


def raw(stand: Any, **options: Any) -> ClientConnection:
    """Open a WebSocket without the official client."""
    headers = {"Authorization": "Bearer sk-x", **options.pop("headers", {})}
    url = stand.upstreams["openai"].replace("http", "ws") + "/responses"
    return connect(url, additional_headers=headers, open_timeout=20, **options)


def ask(connection: ClientConnection, **fields: Any) -> None:
    connection.send(json.dumps({"type": "response.create", **HELLO, **fields}))


def heard(connection: ClientConnection, within_s: float = 20.0) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(connection.recv(timeout=within_s))
    return message


def heard_to_the_end(connection: ClientConnection) -> list[dict[str, Any]]:
    events = [heard(connection)]
    while events[-1]["type"] not in ("response.completed", "response.failed", "error"):
        events.append(heard(connection))
    return events


# --- what is said ----------------------------------------------------------------------------------------------------


def test_turn_after_turn_on_one_connection(stand: Any) -> None:
    with stand.openai() as client, client.responses.connect() as connection:
        connection.response.create(model="gpt-4o", input="my colour is blue")
        first = until_the_end(connection)
        assert [event.sequence_number for event in first] == list(range(len(first)))
        assert first[0].type == "response.created"
        text = "".join(event.delta for event in first if event.type == "response.output_text.delta")
        assert text == first[-1].response.output_text
        previous = first[-1].response.id
        connection.response.create(model="gpt-4o", input="What did I just tell you?", previous_response_id=previous)
        assert "my colour is blue" in until_the_end(connection)[-1].response.output_text
        assert client.responses.retrieve(previous).output_text == text
    routes = [(call["route"], call["status"]) for call in stand.calls()]
    assert routes[:3] == [("GET /v1/responses", 101), ("POST /v1/responses", 200), ("POST /v1/responses", 200)]
    assert all(call["conversation"] == previous for call in stand.calls()[1:3])


def test_it_streams_what_the_same_call_over_http_streams(stand: Any) -> None:
    tool: Any = {"type": "function", "name": "get_time", "strict": False, "parameters": {"type": "object"}}
    with stand.openai() as client, client.responses.connect() as connection:
        for asked in ({"input": "hello"}, {"input": "今何時？", "tools": [tool]}):
            connection.response.create(model="gpt-4o", **asked)
            over_socket = [event.type for event in until_the_end(connection)]
            over_http = [event.type for event in client.responses.create(model="gpt-4o", stream=True, **asked)]
            assert over_socket == over_http


def test_what_is_not_stored_can_be_gone_on_from_on_its_own_connection_only(stand: Any) -> None:
    with raw(stand) as own, raw(stand) as other:
        ask(own, store=False, input="my colour is red")
        previous = heard_to_the_end(own)[-1]["response"]["id"]
        follow_up = {"store": False, "previous_response_id": previous, "input": "What did I just tell you?"}
        ask(other, **follow_up)
        error = heard(other)
        assert (error["type"], error["status"]) == ("error", 400)
        assert (error["error"]["code"], error["error"]["param"]) == (
            "previous_response_not_found",
            "previous_response_id",
        )
        ask(own, **follow_up)
        assert "my colour is red" in json.dumps(heard_to_the_end(own)[-1]["response"]["output"])


def test_a_response_can_be_prepared_without_generating_anything(stand: Any) -> None:
    with raw(stand) as connection:
        ask(connection, generate=False, input="my colour is green")
        prepared = heard_to_the_end(connection)[-1]["response"]
        assert (prepared["status"], prepared["output"]) == ("completed", [])
        ask(connection, previous_response_id=prepared["id"], input="What did I just tell you?")
        assert "my colour is green" in json.dumps(heard_to_the_end(connection)[-1]["response"]["output"])


def test_lanes_are_answered_side_by_side_and_each_in_turn(stand: Any) -> None:
    slow = stand.arm("slow", upstream="openai", text="slowly", delay_s=0.5)
    with raw(stand) as connection:
        ask(connection, stream_id="a", input="slowly")
        ask(connection, stream_id="a", input="second")
        ask(connection, stream_id="b", input="third")
        events: list[dict[str, Any]] = []
        while [event["type"] for event in events].count("response.completed") < 3:
            events.append(heard(connection))
    ends = [event for event in events if event["type"] == "response.completed"]
    assert [event["stream_id"] for event in ends] == ["b", "a", "a"]
    stand.lift(slow)
    said = [call["text"] for call in stand.calls() if call["route"].startswith("POST")]
    assert said == ["third", "slowly", "second"]


@pytest.mark.parametrize(
    ("message", "status", "said"),
    [
        ("{", 400, "could not parse the JSON body"),
        ("[1]", 400, "expected an object"),
        ('{"type": "response.create", "input": "x"}', 400, "Missing required parameter: 'model'"),
        ('{"type": "response.create", "model": "m", "background": true}', 400, "not supported over WebSocket"),
        ('{"type": "session.update"}', 400, "Supported values are: 'response.create' and 'response.steer'"),
    ],
)
def test_errors_are_events_and_the_connection_stays(stand: Any, message: str, status: int, said: str) -> None:
    with raw(stand) as connection:
        connection.send(message)
        error = heard(connection)
        assert (error["type"], error["status"], error["error"]["type"]) == ("error", status, "invalid_request_error")
        assert said in error["error"]["message"]
        ask(connection)
        assert heard_to_the_end(connection)[-1]["type"] == "response.completed"


def test_steering_is_refused_as_by_models_that_cannot_be_steered(stand: Any) -> None:
    with stand.openai() as client, client.responses.connect() as connection:
        connection.response.create(model="gpt-4o", input="hello")
        previous = until_the_end(connection)[-1].response.id
        connection.response.steer(input="faster", previous_response_id=previous)
        failed = connection.recv()
        assert failed.type == "response.steer.failed"
        assert failed.error.code == "steering_not_supported"
        assert failed.steer.input == "faster"


def test_limits_are_told_with_their_headers(stand: Any) -> None:
    stand.begin_epoch("limited", requests_per_minute=1)
    with raw(stand) as connection:
        ask(connection)
        assert heard_to_the_end(connection)[-1]["type"] == "response.completed"
        ask(connection)
        error = heard(connection)
    assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
    assert error["error"]["headers"]["x-ratelimit-limit-requests"] == "1"


# --- how it is carried -----------------------------------------------------------------------------------------------


def test_a_long_message_in_pieces_pings_and_a_closing_frame(stand: Any) -> None:
    connection = raw(stand)
    text = "にゃん" * 50_000
    whole = json.dumps({"type": "response.create", "model": "m", "input": text}, ensure_ascii=False)
    connection.send(whole[at : at + 7000] for at in range(0, len(whole), 7000))
    assert connection.ping().wait(20)
    assert heard_to_the_end(connection)[-1]["type"] == "response.completed"
    connection.close()
    assert connection.close_code == 1000
    assert stand.calls()[-1]["characters"] == len(text)


def test_who_only_offers_another_protocol_is_answered_in_http(stand: Any) -> None:
    import socket

    request = (
        b"GET /data/2.5/weather?q=Tokyo&appid=k HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", stand.port("weather")), timeout=20) as connection:
        for _ in range(2):
            connection.sendall(request)
            received = b""
            while not received.endswith(b"}"):
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        plain = b"GET /data/2.5/weather?q=Osaka&appid=k HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(request + request + plain + request + plain)
        received = b""
        while received.count(b"HTTP/1.1 200 OK\r\n") < 5:
            received += connection.recv(65536)


def test_messages_that_come_right_behind_the_handshake_are_heard(stand: Any) -> None:
    import socket

    from wsproto.connection import Connection, ConnectionType
    from wsproto.events import TextMessage

    frames = Connection(ConnectionType.CLIENT)
    message = json.dumps({"type": "response.create", **HELLO})
    with socket.create_connection(("127.0.0.1", stand.port("openai")), timeout=20) as connection:
        connection.sendall(
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-x\r\n\r\n"
            b"GET /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-x\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            + frames.send(TextMessage(data=message))
        )
        received = b""
        while b"response.completed" not in received:
            received += connection.recv(65536)
    # The key and its answer are those of RFC 6455, 1.3.
    assert b"HTTP/1.1 101 Switching Protocols\r\n" in received
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in received


def test_a_plain_get_is_not_there(stand: Any) -> None:
    with stand.openai() as client, pytest.raises(openai.NotFoundError):
        client.get("/responses", cast_to=object)
    assert stand.calls()[-1]["unexpected"] is True


# --- faults ----------------------------------------------------------------------------------------------------------


def test_a_key_that_is_refused_is_refused_at_the_door(stand: Any) -> None:
    stand.begin_epoch("locked", api_keys=["sk-right"])
    with pytest.raises(InvalidStatus) as refused, raw(stand):
        pass
    assert refused.value.response.status_code == 401
    with stand.openai() as client, pytest.raises(InvalidStatus), client.responses.connect():
        pass


def test_a_stuck_response_is_silence_and_leaving_cancels_it(stand: Any) -> None:
    stand.arm("stuck", upstream="openai")
    with raw(stand) as connection:
        ask(connection)
        assert [heard(connection)["type"], heard(connection)["type"]] == ["response.created", "response.in_progress"]
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0.2)
        assert connection.ping().wait(20)
    deadline = time.monotonic() + 20
    while json.loads(stand.ask("GET", "/open")[1]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [one["state"] for one in stand.lines("/ledger") if one["type"] == "generation"][-1] == "cancelled"
    assert stand.calls()[-1]["client_gone"] is True


def test_a_hang_that_is_lifted_ends_the_connection(stand: Any) -> None:
    id_ = stand.arm("hang", upstream="openai", route="POST /v1/responses")
    with raw(stand) as connection:
        ask(connection)
        with pytest.raises(TimeoutError):
            connection.recv(timeout=0.2)
        stand.lift(id_)
        with pytest.raises(ConnectionClosedError):
            connection.recv(timeout=20)


@pytest.mark.parametrize(("fault", "fields"), [("reset", {}), ("stream_cut", {"after_events": 2})])
def test_what_breaks_the_connection_breaks_it_without_a_closing_frame(
    stand: Any, fault: str, fields: dict[str, Any]
) -> None:
    stand.arm(fault, upstream="openai", route="POST /v1/responses", **fields)
    with stand.openai() as client, client.responses.connect() as connection:
        connection.response.create(**HELLO)
        with pytest.raises(ConnectionClosedError) as closed:
            until_the_end(connection)
        assert closed.value.rcvd is None


def test_an_outage_ends_every_lane(stand: Any) -> None:
    stand.arm("hang", upstream="openai", route="POST /v1/responses")
    with raw(stand) as connection:
        for lane in ("a", "b"):
            ask(connection, stream_id=lane)
        deadline = time.monotonic() + 20
        while [event["event"] for event in stand.lines("/events")].count("fired") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stand.arm("refuse", upstream="openai")
        with pytest.raises(ConnectionClosedError):
            connection.recv(timeout=20)
    with pytest.raises(ConnectionRefusedError), raw(stand):
        pass
    calls = [call for call in stand.calls() if call["route"].startswith("POST")]
    assert [call.get("client_gone", False) for call in calls] == [False, False]


def test_a_status_is_an_error_event(stand: Any) -> None:
    stand.arm("status", upstream="openai", route="POST /v1/responses", status=503, retry_after_s=2)
    stand.arm("status", upstream="openai", route="WS *", status=502)
    with raw(stand) as connection:
        ask(connection, stream_id="x")
        error = heard(connection)
        assert (error["status"], error["stream_id"], error["error"]["code"]) == (503, "x", "server_is_overloaded")
        assert error["error"]["headers"]["retry-after"] == "2"
        connection.send('{"type": "response.steer"}')
        error = heard(connection)
        assert (error["status"], error["error"]["type"]) == (502, "server_error")
        assert "Bad Gateway" in error["error"]["message"]


@pytest.mark.parametrize(
    ("fault", "fields", "exception"),
    [
        ("status", {"status": 429}, InvalidStatus),
        ("hang", {}, TimeoutError),
        ("reset", {}, (websockets.exceptions.InvalidMessage, ConnectionResetError)),
        ("garbage", {}, (websockets.exceptions.WebSocketException, ConnectionError)),
    ],
)
def test_the_handshake_has_faults_of_its_own(stand: Any, fault: str, fields: dict[str, Any], exception: Any) -> None:
    stand.arm(fault, upstream="openai", route="GET /v1/responses", **fields)
    options = {"open_timeout": 0.4 if fault == "hang" else 20}
    with (
        stand.openai() as client,
        pytest.raises(exception),
        client.responses.connect(websocket_connection_options=options) as connection,
    ):
        connection.recv()
