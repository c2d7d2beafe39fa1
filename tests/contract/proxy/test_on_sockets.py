"""The fault proxy as raw sockets see it."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.faults import FaultError
from harness.proxy import Latency, ListenError, ThreadedProxy, proxy_in_thread
from tests.contract.proxy.conftest import Upstream, exactly, is_silent, reset, send_in_background

Dial = Callable[[int], socket.socket]


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[ThreadedProxy]:
    with proxy_in_thread(upstream.address, seed=1) as proxy:
        yield proxy


@pytest.fixture
def pair(proxy: ThreadedProxy, upstream: Upstream, dial: Dial) -> tuple[socket.socket, socket.socket]:
    """A caller's connection, and the one that the upstream got for it."""
    caller = dial(proxy.port)
    return caller, upstream.take()


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def fired(proxy: ThreadedProxy) -> list[str]:
    return [event.detail for event in proxy.events if event.event == "fired"]


Pair = tuple[socket.socket, socket.socket]


# --- without faults --------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways_and_unchanged(pair: Pair) -> None:
    caller, host = pair
    data = bytes(range(256)) * 8192
    sending = send_in_background(caller, data)
    assert exactly(host, len(data)) == data
    sending.join()
    host.sendall(b"thanks")
    assert exactly(caller, 6) == b"thanks"


def test_the_end_of_one_direction_is_passed_on_and_the_other_goes_on(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    caller.sendall(b"last words")
    caller.shutdown(socket.SHUT_WR)
    assert exactly(host, 10) == b"last words"
    assert host.recv(1) == b""
    host.sendall(b"understood")
    host.close()
    assert exactly(caller, 10) == b"understood"
    assert caller.recv(1) == b""
    until(lambda: proxy.open_connections == 0)


@pytest.mark.parametrize("who", [0, 1], ids=["caller", "upstream"])
def test_a_reset_of_one_side_is_a_reset_of_the_other(pair: Pair, who: int) -> None:
    reset(pair[who])
    with pytest.raises(ConnectionResetError):
        pair[1 - who].recv(1)


def test_an_upstream_that_is_not_there_resets_its_callers(
    proxy: ThreadedProxy, upstream: Upstream, dial: Dial, capsys: pytest.CaptureFixture[str]
) -> None:
    upstream.stop()
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            dial(proxy.port).recv(1)
    said = capsys.readouterr().err
    assert said == f"Cannot connect to the upstream {upstream.address}: Connection refused. Its callers are reset.\n"


def test_who_sends_too_much_is_stopped(pair: Pair, proxy: ThreadedProxy) -> None:
    """Memory stays bounded: what the far side does not read stays with who sends it."""
    caller, _ = pair
    proxy.arm("blackhole")
    caller.setblocking(False)
    sent = 0
    piece = b"x" * 65536
    while sent < 64 << 20:
        _, writable, _ = select.select([], [caller], [], 0.3)
        if not writable:
            break
        with contextlib.suppress(BlockingIOError):
            sent += caller.send(piece)
    assert 0 < sent < 32 << 20


def test_it_listens_on_loopback_only(proxy: ThreadedProxy) -> None:
    assert proxy.address.startswith("127.0.0.1:")
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", proxy.port), timeout=1):
        pass


# --- latency ---------------------------------------------------------------------------------------------------------


def test_latency_is_one_way(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    id_ = proxy.arm(Latency(delay_s=0.2, direction="up"))
    begin_s = time.monotonic()
    caller.sendall(b"a")
    assert exactly(host, 1) == b"a"
    up_s = time.monotonic() - begin_s
    host.sendall(b"b")
    assert exactly(caller, 1) == b"b"
    down_s = time.monotonic() - begin_s - up_s
    assert up_s >= 0.2
    assert down_s < 0.15
    assert fired(proxy) == ["connection 1"]
    proxy.lift(id_)
    begin_s = time.monotonic()
    caller.sendall(b"c")
    assert exactly(host, 1) == b"c"
    assert time.monotonic() - begin_s < 0.15


def test_a_line_with_latency_stays_wide(pair: Pair, proxy: ThreadedProxy) -> None:
    """Pieces travel side by side: a hundred of them take the time of one, and keep their order under jitter."""
    caller, host = pair
    proxy.arm("latency", delay_s=0.1, jitter_s=0.05, direction="up")
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    begin_s = time.monotonic()
    for number in range(100):
        caller.sendall(bytes([number]))
    assert exactly(host, 100) == bytes(range(100))
    assert 0.1 <= time.monotonic() - begin_s < 5


# --- bandwidth -------------------------------------------------------------------------------------------------------


def test_bandwidth(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    proxy.arm("bandwidth", bytes_per_s=100_000, direction="down")
    begin_s = time.monotonic()
    send_in_background(host, b"x" * 30_000)
    exactly(caller, 30_000)
    took_s = time.monotonic() - begin_s
    assert 0.25 <= took_s < 2
    begin_s = time.monotonic()
    caller.sendall(b"x" * 30_000)
    exactly(host, 30_000)
    assert time.monotonic() - begin_s < 0.25


def test_the_narrowest_line_counts(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    proxy.arm("bandwidth", bytes_per_s=1e9)
    proxy.arm("bandwidth", bytes_per_s=50)
    begin_s = time.monotonic()
    caller.sendall(b"x" * 15)
    exactly(host, 15)
    assert time.monotonic() - begin_s >= 0.25


# --- reset -----------------------------------------------------------------------------------------------------------


def test_reset_is_a_true_rst_to_both_sides(pair: Pair, proxy: ThreadedProxy) -> None:
    proxy.arm("reset")
    for side in pair:
        with pytest.raises(ConnectionResetError):
            side.recv(1)
    assert fired(proxy) == ["connection 1"]


def test_new_connections_are_reset_before_the_upstream_hears_of_them(
    proxy: ThreadedProxy, upstream: Upstream, dial: Dial
) -> None:
    id_ = proxy.arm("reset")
    with pytest.raises(ConnectionResetError):
        dial(proxy.port).recv(1)
    assert upstream.has_nobody()
    proxy.lift(id_)
    caller = dial(proxy.port)
    upstream.take().sendall(b"hello")
    assert exactly(caller, 5) == b"hello"


def test_a_reset_in_the_middle_of_an_answer(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    proxy.arm("reset", after_bytes=1000, direction="down")
    caller.sendall(b"q" * 5000)
    exactly(host, 5000)
    host.sendall(b"a" * 999)
    exactly(caller, 999)
    assert fired(proxy) == []
    host.sendall(b"a" * 1000)
    with pytest.raises(ConnectionResetError):
        exactly(caller, 1000)
    assert fired(proxy) == ["connection 1"]


# --- blackhole -------------------------------------------------------------------------------------------------------


def test_what_was_sent_into_a_blackhole_arrives_when_it_is_lifted(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    id_ = proxy.arm("blackhole")
    caller.sendall(b"anybody there?")
    host.sendall(b"hello?")
    assert is_silent(host)
    assert is_silent(caller)
    proxy.lift(id_)
    assert exactly(host, 14) == b"anybody there?"
    assert exactly(caller, 6) == b"hello?"
    assert [event.event for event in proxy.events] == ["armed", "fired", "lifted"]


def test_not_even_an_end_gets_out_of_a_blackhole(pair: Pair, proxy: ThreadedProxy) -> None:
    caller, host = pair
    id_ = proxy.arm("blackhole", direction="down")
    caller.sendall(b"x")
    assert exactly(host, 1) == b"x"
    host.close()
    assert is_silent(caller)
    proxy.lift(id_)
    assert caller.recv(1) == b""


# --- half-open -------------------------------------------------------------------------------------------------------


def test_half_open(pair: Pair, proxy: ThreadedProxy, upstream: Upstream, dial: Dial) -> None:
    caller, host = pair
    id_ = proxy.arm("half_open")
    assert host.recv(1) == b""
    caller.sendall(b"still there?")
    assert is_silent(caller)
    late = dial(proxy.port)
    late.sendall(b"and now?")
    assert is_silent(late)
    assert upstream.has_nobody()
    proxy.lift(id_)
    # Nothing is told to who says nothing.
    assert is_silent(caller)
    for dead in (caller, late):
        dead.sendall(b"hello?")
        with pytest.raises(ConnectionResetError):
            dead.recv(1)
    fresh = dial(proxy.port)
    fresh.sendall(b"x")
    assert exactly(upstream.take(), 1) == b"x"


def test_who_leaves_a_half_open_connection_leaves_nothing_behind(pair: Pair, proxy: ThreadedProxy) -> None:
    proxy.arm("half_open")
    pair[0].close()
    until(lambda: proxy.open_connections == 0)


# --- whom faults meet ------------------------------------------------------------------------------------------------


def test_times(proxy: ThreadedProxy, upstream: Upstream, dial: Dial) -> None:
    proxy.arm("reset", times=2)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            dial(proxy.port).recv(1)
    caller = dial(proxy.port)
    caller.sendall(b"x")
    assert exactly(upstream.take(), 1) == b"x"
    assert fired(proxy) == ["connection 1", "connection 2"]


def test_the_seed_says_which_connections_are_met(upstream: Upstream, dial: Dial) -> None:
    def is_met(port: int) -> bool:
        try:
            caller = dial(port)  # the RST may be there before this returns
            caller.sendall(b"x")
            return caller.recv(1) == b""
        except ConnectionError:
            return True

    def met() -> list[bool]:
        with proxy_in_thread(upstream.address, seed=3) as proxy:
            proxy.arm("reset", probability=0.5)
            return [is_met(proxy.port) for _ in range(12)]

    upstream.echo_in_background()
    first = met()
    assert True in first
    assert False in first
    assert met() == first


# --- clear errors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "fields", "said"),
    [
        ("latancy", {}, "Did you mean `latency`"),
        ("latency", {}, "delay_s"),
        ("latency", {"delay_s": -1}, "expected 0 or more"),
        ("bandwidth", {"bytes_per_s": 0}, "expected 1 or more"),
        ("reset", {"after": 3}, "Did you mean `after_bytes`"),
        ("blackhole", {"direction": "sideways"}, "sideways"),
        ("half_open", {"direction": "up"}, "both directions"),
        ("hang", {}, "There is no fault `hang`"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    proxy: ThreadedProxy, fault: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(FaultError, match=said):
        proxy.arm(fault, **fields)
    assert proxy.events == []


def test_a_port_that_is_taken(upstream: Upstream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with (
            pytest.raises(ListenError, match=f"Cannot listen at 127.0.0.1:{number}: .*in use"),
            proxy_in_thread(upstream.address, port=number),
        ):
            pass


def test_a_proxy_that_would_lead_to_itself() -> None:
    with (
        pytest.raises(ListenError, match="would lead to itself"),
        proxy_in_thread("127.0.0.1:45454", port=45454),
    ):
        pass


@pytest.mark.parametrize("text", ["6379", "localhost:", ":80", "http://x:80/", "x:99999", "x:http"])
def test_an_address_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="expected HOST:PORT"), proxy_in_thread(text):
        pass
