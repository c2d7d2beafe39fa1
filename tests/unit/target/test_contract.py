"""Does a request carry exactly what was said, and is an answer read as the target's contract means it?"""

from __future__ import annotations

import json
import tomllib
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Outcome
from harness.target import ReadReply, Target, bare_target, build_request, parse_target, read_reply
from tests.unit.target.sound import wav

BARE = bare_target("http://127.0.0.1:8000")
SPOKEN = {"content-type": "audio/wav", "x-gpt-reply": quote("晴れですにゃん")}
any_text = st.text(st.characters(codec=None))  # lone surrogates too


def target(text: str) -> Target:
    return parse_target(tomllib.loads(text), "target.toml")


# --- requests -------------------------------------------------------------------------------------------------------


@given(any_text, any_text)
def test_any_text_comes_through_exactly(user_id: str, message: str) -> None:
    parts = build_request(BARE, user_id, message)
    assert (parts.method, parts.path, parts.headers) == ("POST", "/chat-agent", {"Content-Type": "application/json"})
    assert json.loads(parts.body) == {"user_id": user_id, "message": message}


@given(any_text)
def test_path_and_headers_carry_it_percent_encoded(message: str) -> None:
    chat = target('[request]\nmethod = "GET"\npath = "/c?m={message}"\nheaders = {X-M = "<{message}>"}')
    parts = build_request(chat, "u", message)
    assert parts.body == b""
    assert set(parts.headers) == {"X-M"}
    assert parts.headers["X-M"].isascii()
    assert parts.headers["X-M"].isprintable()
    asked = parse_qs(urlsplit(parts.path).query, keep_blank_values=True, errors="surrogatepass")
    assert asked == {"m": [message]}


def test_the_template_may_be_any_json() -> None:
    chat = target(
        "[request]\n"
        'json = {user = "{user_id}", stream = false, messages = [{role = "user", content = "{message} {{message}}"}]}\n'
        'headers = {content-type = "application/vnd.x+json", Authorization = "Bearer {user_id}"}'
    )
    parts = build_request(chat, "u1", "say {user_id}")
    assert json.loads(parts.body) == {
        "user": "u1",
        "stream": False,
        "messages": [{"role": "user", "content": "say {user_id} {message}"}],
    }
    assert parts.headers == {"content-type": "application/vnd.x+json", "Authorization": "Bearer u1"}


# --- replies --------------------------------------------------------------------------------------------------------


def test_an_answer_that_keeps_the_contract() -> None:
    assert read_reply(BARE, 200, SPOKEN, wav(0.5)) == ReadReply(
        outcome=Outcome.ANSWERED, text="晴れですにゃん", audio_bytes=len(wav(0.5)), audio_s=0.5
    )


@given(st.text())
def test_any_reply_text_comes_through_the_header(text: str) -> None:
    assert read_reply(BARE, 200, {"x-gpt-reply": quote(text)}, wav()).text == text


@pytest.mark.parametrize(
    ("status", "headers", "body", "outcome", "error"),
    [
        (200, SPOKEN, b"", Outcome.OPAQUE_ERROR, "the body is empty where audio was promised"),
        (200, SPOKEN, b"<html>", Outcome.OPAQUE_ERROR, "no audio that a player opens"),
        (200, SPOKEN, wav()[:-500], Outcome.OPAQUE_ERROR, "cut short"),
        (200, {}, wav(), Outcome.OPAQUE_ERROR, "the header X-GPT-Reply is missing"),
        (200, {}, b'{"reply": "hi"}', Outcome.OPAQUE_ERROR, "no audio that a player opens"),
        (200, {}, b'{"error": null, "x": 1}', Outcome.OPAQUE_ERROR, "no audio that a player opens"),
        (200, {}, b'{"error": "TTS failed"}', Outcome.CLEAR_ERROR, "TTS failed"),
        (200, {}, b'{"error": {"message": "TTS failed", "code": 3}}', Outcome.CLEAR_ERROR, "TTS failed"),
        (200, {}, b'{"error": {"code": 3}}', Outcome.CLEAR_ERROR, '{"code":3}'),
        (204, {}, b"", Outcome.OPAQUE_ERROR, "empty"),
        (302, {"location": "/login"}, b"", Outcome.OPAQUE_ERROR, "302"),
        (400, {}, b'{"error": "too long"}', Outcome.REFUSED, "400 too long"),
        (422, {}, b'{"detail": [{"msg": "field required"}]}', Outcome.REFUSED, '422 [{"msg":"field required"}]'),
        (429, {}, b"", Outcome.REFUSED, "429"),
        (500, {}, b"Internal Server Error", Outcome.OPAQUE_ERROR, "500 Internal Server Error"),
        (500, {}, b'{"detail": "Internal Server Error"}', Outcome.OPAQUE_ERROR, "500 Internal Server Error"),
        (500, {}, b'{"error": "model is down"}', Outcome.CLEAR_ERROR, "500 model is down"),
        (503, {}, b'{"error": "model is down"}', Outcome.CLEAR_ERROR, "503 model is down"),
        (503, {"retry-after": "3"}, b"busy", Outcome.CLEAR_ERROR, "503 busy"),
        (503, {}, b"busy", Outcome.OPAQUE_ERROR, "503 busy"),
        (502, {"content-type": "application/json"}, b"\xff\xfe{", Outcome.OPAQUE_ERROR, "502"),
    ],
)
def test_what_is_no_answer(status: int, headers: dict[str, str], body: bytes, outcome: Outcome, error: str) -> None:
    read = read_reply(BARE, status, headers, body)
    assert read.outcome is outcome
    assert error in read.error


def test_a_text_only_answer_counts_where_it_is_declared() -> None:
    declared = target('[reply]\ntext_only = {json = "reply"}')
    read = read_reply(declared, 200, {}, '{"reply": "声が出ないにゃん"}'.encode())
    assert read == ReadReply(outcome=Outcome.ANSWERED, text="声が出ないにゃん")
    assert read_reply(declared, 200, {}, b'{"reply": ""}').outcome is Outcome.OPAQUE_ERROR
    assert read_reply(declared, 200, {}, b'{"reply": "x", "error": "y"}').outcome is Outcome.CLEAR_ERROR
    assert read_reply(declared, 200, SPOKEN, wav()).audio_s > 0


def test_text_agents_of_several_kinds() -> None:
    chat = target('[reply]\ntext = {json = "choices.0.message.content"}\naudio = "none"\nerror = {json = "fault.why"}')
    body = json.dumps({"choices": [{"message": {"content": "hi 😀"}}]}).encode()
    assert read_reply(chat, 200, {}, body) == ReadReply(outcome=Outcome.ANSWERED, text="hi 😀")
    assert read_reply(chat, 200, {}, b'{"choices": []}').outcome is Outcome.OPAQUE_ERROR
    assert read_reply(chat, 200, {}, b'{"fault": {"why": "no"}}').error == "no"
    plain = target('[reply]\ntext = "body"\naudio = "none"')
    assert read_reply(plain, 200, {}, "にゃん".encode()).text == "にゃん"
    assert read_reply(plain, 200, {}, b"\xff").outcome is Outcome.OPAQUE_ERROR
    header = target('[reply]\ntext = {header = "X-R", encoding = "plain"}\naudio = "none"')
    assert read_reply(header, 200, {"x-r": "にゃん".encode().decode("latin-1")}, b"").text == "にゃん"
    silent = target('[reply]\ntext = "none"')
    assert read_reply(silent, 200, {}, wav()).outcome is Outcome.ANSWERED


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["content-type", "x-gpt-reply", "retry-after"]), st.text(max_size=9)),
    st.binary(max_size=64) | st.binary(max_size=40).map(lambda tail: wav()[:44] + tail),
)
def test_no_answer_breaks_the_reader(status: int, headers: dict[str, str], body: bytes) -> None:
    read = read_reply(BARE, status, headers, body)
    assert (read.outcome is Outcome.ANSWERED) == (read.error == "")
