"""Does the balancer find the end of a message, wherever the pieces are cut?"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stack.framing import Body, Chunked, FramingError, Measured, UntilClosed, request_head, response_head

CHUNKED = b"5;ext=1\r\nhello\r\n1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: x\r\n\r\n"


def taken(body: Body, data: bytes, cuts: list[int]) -> int:
    """Feed a body in pieces; return how many bytes it took."""
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    took = 0
    for begin, end in itertools.pairwise(edges):
        step = body.take(data[begin:end])
        took += step
        if body.done:
            break
        assert step == end - begin, "all of it belongs to the message as long as that has not ended"
    return took


@given(st.lists(st.integers(0, 200)))
def test_chunks_end_at_their_end_whatever_comes_behind_and_however_they_are_cut(cuts: list[int]) -> None:
    body = Chunked()
    assert taken(body, CHUNKED + b"HTTP/1.1 200 OK\r\n", cuts) == len(CHUNKED)
    assert body.done


@given(st.lists(st.integers(0, 200)))
def test_a_measured_body_ends_at_its_length(cuts: list[int]) -> None:
    body = Measured(10)
    assert taken(body, b"0123456789rest", cuts) == 10
    assert body.done


@pytest.mark.parametrize(
    ("head", "method", "kind", "done", "keeps_open", "is_final"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", Measured, False, True, True),
        (b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 0\r\n\r\n", "GET", Measured, True, True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: Close\r\n\r\n", "GET", Measured, False, False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD", Measured, True, True, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET", Measured, True, True, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "GET", Chunked, False, True, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", "GET", UntilClosed, False, False, True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", "GET", Measured, False, False, True),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "POST", UntilClosed, False, True, False),
    ],
)
def test_what_a_response_says(
    head: bytes, method: str, kind: type, done: bool, keeps_open: bool, is_final: bool
) -> None:
    found = response_head(head, method)
    assert type(found.body) is kind
    assert (found.body.done, found.keeps_open, found.is_final) == (done, keeps_open, is_final)


def test_what_a_request_says() -> None:
    found = request_head(b"POST /chat-agent HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n")
    assert (found.method, type(found.body), found.body.done, found.keeps_open) == ("POST", Measured, False, True)
    assert request_head(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").keeps_open is False
    assert request_head(b"GET / HTTP/1.1\r\n\r\n").body.done


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_what_is_no_request_is_said_to_be_none(head: bytes) -> None:
    with pytest.raises(FramingError, match=r" is (no|')|not a number"):
        request_head(head)


@pytest.mark.parametrize("head", [b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"hello\r\n\r\n"])
def test_what_is_no_response_is_said_to_be_none(head: bytes) -> None:
    with pytest.raises(FramingError, match="is no response"):
        response_head(head, "GET")


@pytest.mark.parametrize("data", [b"xyz\r\n", b"1" * 5000])
def test_chunks_that_are_none(data: bytes) -> None:
    with pytest.raises(FramingError, match="chunk's size"):
        Chunked().take(data)
