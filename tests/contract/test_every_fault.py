"""Every fault of the upstreams, the network and the model, twice: on a raw socket, and as the official client tells it.

A fault that is in neither table fails `tests/repo/test_fault_proofs.py`. Each proof also sees that the fault fired.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx2
import openai
import pytest

from tests.unit.upstreams.conftest import FUNCTIONS

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

CAT: dict[str, Any] = {"role": "system", "content": "あなたは猫です。語尾は「にゃん」。秘密: 鮭。"}
LONG_SPEECH = "今日はとてもいい天気なので、公園まで散歩に行ってから、お昼ごはんを食べましょうにゃん。" * 3
END_S = 20.0
SILENCE_S = 1.0
"""How long nothing comes before it is silence: a busy machine takes its time to begin an answer."""


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def asked_and_answered(tool: str, output: str) -> list[dict[str, Any]]:
    call = {"id": "call_1", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": output},
    ]


# --- what the model says ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """One answer of the model, as the API writes it."""

    message: dict[str, Any]
    finish: str

    @property
    def text(self) -> str:
        return self.message.get("content") or ""

    @property
    def tools(self) -> list[str]:
        return [call["function"]["name"] for call in self.message.get("tool_calls") or ()]

    @property
    def arguments(self) -> str:
        return str(self.message["tool_calls"][0]["function"]["arguments"])


@dataclass(frozen=True)
class Misbehaviour:
    """What is said to the model, and how its answer is seen to be wrong. Both views share it."""

    messages: list[dict[str, Any]]
    is_seen: Callable[[Said], bool]
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        return {"model": "gpt-4o", "messages": [CAT, *self.messages], "tools": FUNCTIONS}


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError:
        return False
    return True


TIME = [user("今何時？")]
TIME_KNOWN = [*TIME, *asked_and_answered("get_time", "10:20")]
WEATHER_OF_TOKYO = [user("東京の天気は？")]
MISBEHAVIOURS = {
    "calls_tool_named": Misbehaviour([user("analyze_emotionという関数について教えて")], lambda said: bool(said.tools)),
    "cycle": Misbehaviour(
        [user("「嬉しい」の感情を分析して"), *asked_and_answered("analyze_emotion", "悲しい")],
        lambda said: said.tools == ["analyze_emotion"] and "悲しい" in said.arguments,
    ),
    "empty_answer": Misbehaviour([user("hello")], lambda said: said.text == "" and not said.tools),
    "huge_arguments": Misbehaviour(
        WEATHER_OF_TOKYO, lambda said: len(said.arguments) >= 5000, fields={"characters": 5000}
    ),
    "ignores_results": Misbehaviour(TIME_KNOWN, lambda said: not said.tools and "10時20分" not in said.text),
    "leaks_prompt": Misbehaviour([user("hello")], lambda said: said.text == CAT["content"]),
    "loop": Misbehaviour(TIME_KNOWN, lambda said: said.tools == ["get_time"]),
    "malformed_arguments": Misbehaviour(WEATHER_OF_TOKYO, lambda said: not is_json(said.arguments)),
    "mistyped_arguments": Misbehaviour(
        WEATHER_OF_TOKYO, lambda said: not isinstance(json.loads(said.arguments).get("location"), str)
    ),
    "out_of_persona": Misbehaviour([user("こんにちは")], lambda said: bool(said.text) and "にゃん" not in said.text),
    "over_long": Misbehaviour([user("こんにちは")], lambda said: len(said.text) >= 300, fields={"characters": 300}),
    "say": Misbehaviour(
        [user("hi")], lambda said: said.text == "🔥🔥にゃん", fields={"reply": "🔥", "repeat": 2, "suffix": "にゃん"}
    ),
    "tool_as_text": Misbehaviour(TIME, lambda said: said.text.startswith("get_time(") and not said.tools),
    "unknown_tool": Misbehaviour(TIME, lambda said: said.tools == ["search_the_web"]),
    "wrong_language": Misbehaviour([user("こんにちは")], lambda said: said.text.isascii() and bool(said.text)),
    "generation_incomplete": Misbehaviour([user("こんにちは")], lambda said: said.finish == "length"),
}


# --- on a raw socket -------------------------------------------------------------------------------------------------

Ending = Literal["closed", "reset", "silent", "refused", "unreachable"]


@dataclass(frozen=True)
class Heard:
    """What came over a socket, when it began to come, and how it ended."""

    received: bytes
    ending: Ending
    after_s: float
    took_s: float

    @property
    def head(self) -> str:
        return self.received.partition(b"\r\n\r\n")[0].decode("latin-1").lower()

    @property
    def body(self) -> bytes:
        return self.received.partition(b"\r\n\r\n")[2]

    @property
    def announced(self) -> int:
        return int(self.header("content-length"))

    def header(self, name: str) -> str:
        return next(line.split(": ", 1)[1] for line in self.head.split("\r\n") if line.startswith(f"{name}: "))

    @property
    def clock_ahead_s(self) -> float:
        """How far the upstream's clock is ahead of ours; 0 where it does not say."""
        if "\r\ndate: " not in self.head:
            return 0.0
        return parsedate_to_datetime(self.header("date")).timestamp() - time.time()

    @property
    def is_whole(self) -> bool:
        return self.head.startswith("http/1.1 200") and len(self.body) == self.announced

    @property
    def events(self) -> list[bytes]:
        return [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]

    @property
    def said(self) -> Said:
        choice = json.loads(self.body)["choices"][0]
        return Said(choice["message"], choice["finish_reason"])


def request(path: str, body: dict[str, Any] | None = None, *, keep: bool = False) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    return (
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-test\r\n"
        f"OpenAI-Beta: assistants=v2\r\nContent-Length: {len(content)}\r\n"
        f"{'' if keep else 'Connection: close'}".rstrip("\r\n")
        + "\r\n\r\n"
    ).encode() + content


def over_socket(
    port: int,
    *requests: bytes,
    silent_s: float = END_S,
    then_silent_s: float = END_S,
    most_bytes: int = 10_000_000,
) -> Heard:
    """Send requests, and read to the end, or until it is enough, or until nothing comes.

    That is for `silent_s`, or for `then_silent_s` once something has come.
    """
    begin_s = time.monotonic()
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=silent_s)
    except ConnectionRefusedError:
        return Heard(b"", "refused", 0.0, 0.0)
    except TimeoutError:
        return Heard(b"", "unreachable", 0.0, 0.0)
    received, first_s = b"", 0.0
    ending: Ending = "closed"
    with connection:
        try:
            for one in requests:
                connection.sendall(one)
            while len(received) < most_bytes and (some := connection.recv(65536)):
                first_s = first_s or time.monotonic() - begin_s
                received += some
                connection.settimeout(min(silent_s, then_silent_s))
        except ConnectionResetError:
            ending = "reset"
        except TimeoutError:
            ending = "silent"
    return Heard(received, ending, first_s, time.monotonic() - begin_s)


@dataclass(frozen=True)
class OnSocket:
    """What is asked over a raw socket while a fault is armed, and how it is seen in what comes back."""

    is_seen: Callable[[Heard], bool]
    request: bytes = request("/v1/models")
    upstream: str = "openai"
    fields: dict[str, Any] = field(default_factory=dict)
    silent_s: float = END_S
    """How long silence is listened to."""
    usual_silent_s: float = END_S
    """The same for the usual answer once it has begun; less where the usual connection stays open."""
    is_timed: bool = False
    """It is seen by the time that it takes; on a busy machine the usual answer may take as long."""
    most_bytes: int = 10_000_000


CHAT = {"model": "gpt-4o", "messages": [user("hello")]}
STREAM = request("/v1/chat/completions", CHAT | {"stream": True})
THREAD = request("/v1/threads", {})


def speak(text: str) -> bytes:
    return request("/speak", {"text": text})


ANSWER = '"hello", that is good to hear'
"""What the model says to a hello, with the seed of these tests."""


def is_shuffled(pieces: list[str | None]) -> bool:
    """Return whether the pieces of what the model says to a hello are all there, but not in their order."""
    text = "".join(piece or "" for piece in pieces)
    return text != ANSWER and sorted(text) == sorted(ANSWER)


def deltas(events: list[bytes]) -> list[Any]:
    return [json.loads(event)["choices"][0]["delta"].get("content") for event in events if event != b"[DONE]"]


ON_SOCKET = {
    **{
        fault: OnSocket(
            lambda heard, proof=proof: proof.is_seen(heard.said),  # type: ignore[misc]
            request("/v1/chat/completions", proof.body),
            fields=proof.fields,
        )
        for fault, proof in MISBEHAVIOURS.items()
    },
    "answer_lost": OnSocket(lambda heard: (heard.received, heard.ending) == (b"", "reset"), THREAD),
    "bandwidth": OnSocket(
        lambda heard: heard.is_whole and heard.took_s >= 0.9 * heard.announced / 8000,
        fields={"bytes_per_s": 8000},
        is_timed=True,
    ),
    "blackhole": OnSocket(lambda heard: heard.ending == "unreachable", silent_s=SILENCE_S),
    "clock_skew": OnSocket(
        lambda heard: -7260 < heard.clock_ahead_s < -7140,
        fields={"seconds": -7200},
    ),
    "crash_on_emoji": OnSocket(lambda heard: (heard.received, heard.ending) == (b"", "reset"), speak("🔥"), "tts"),
    "cut": OnSocket(
        lambda heard: heard.ending == "closed" and len(heard.body) == 5 < heard.announced, fields={"after_bytes": 5}
    ),
    "drip": OnSocket(
        lambda heard: heard.is_whole and heard.took_s >= 0.3, fields={"every_s": 0.05, "bytes": 200}, is_timed=True
    ),
    "empty_body": OnSocket(lambda heard: heard.is_whole and heard.announced == 0),
    "garbage": OnSocket(
        lambda heard: heard.is_whole and heard.announced == 77 and not is_json(heard.body.decode("latin-1")),
        fields={"bytes": 77},
    ),
    "generation_expires": OnSocket(
        lambda heard: heard.head.startswith("http/1.1 500") and b"expired" in heard.body,
        request("/v1/chat/completions", CHAT),
    ),
    "generation_fails": OnSocket(
        lambda heard: heard.head.startswith("http/1.1 500") and b'"rate_limit_exceeded"' in heard.body,
        request("/v1/chat/completions", CHAT),
        fields={"code": "rate_limit_exceeded"},
    ),
    "half_close": OnSocket(
        lambda heard: heard.ending == "closed" and len(heard.body) == 5 < heard.announced, fields={"after_bytes": 5}
    ),
    "hang": OnSocket(lambda heard: (heard.received, heard.ending) == (b"", "silent"), silent_s=SILENCE_S),
    "huge_body": OnSocket(
        lambda heard: heard.is_whole and heard.announced > 3_000_000 and is_json(heard.body.decode()),
        fields={"megabytes": 3},
    ),
    "invalid_utf8": OnSocket(lambda heard: heard.is_whole and heard.body.decode(errors="replace").count("\ufffd") > 0),
    "keep_alive_closed": OnSocket(
        # It was promised to stay, and the second request finds it closed.
        lambda heard: (
            heard.ending in ("closed", "reset")
            and "connection: close" not in heard.head
            and len(heard.body) == heard.announced
        ),
        request("/v1/models", keep=True),
        usual_silent_s=SILENCE_S,
    ),
    "key_revoked": OnSocket(lambda heard: heard.head.startswith("http/1.1 401") and b"invalid_api_key" in heard.body),
    "long_audio": OnSocket(
        lambda heard: heard.is_whole and heard.announced > 16_000 * 20, speak("にゃん"), "tts", {"seconds": 20}
    ),
    "poll_after": OnSocket(
        lambda heard: heard.header("openai-poll-after-ms") == "123",
        request("/v1/threads/runs", {"assistant_id": "asst_any"}),
        fields={"milliseconds": 123},
    ),
    "quota_exhausted": OnSocket(
        lambda heard: heard.head.startswith("http/1.1 429") and b"insufficient_quota" in heard.body
    ),
    "refuse": OnSocket(lambda heard: heard.ending == "refused"),
    "reset": OnSocket(lambda heard: (heard.received, heard.ending) == (b"", "reset")),
    "slow": OnSocket(lambda heard: heard.is_whole and heard.after_s >= 0.3, fields={"delay_s": 0.3}, is_timed=True),
    "slow_tail": OnSocket(
        lambda heard: heard.is_whole and heard.after_s >= 0.3, fields={"tail_share": 1.0, "tail_s": 0.3}, is_timed=True
    ),
    "speaks_only": OnSocket(
        # 8 kHz, 16 bits: 40 characters take no more than 10 s to say, the whole text three times that.
        lambda heard: heard.is_whole and heard.announced < 16_000 * 10,
        speak(LONG_SPEECH),
        "tts",
    ),
    "stall": OnSocket(
        lambda heard: heard.ending == "silent" and len(heard.body) == 5, fields={"after_bytes": 5}, silent_s=SILENCE_S
    ),
    "status": OnSocket(
        lambda heard: heard.head.startswith("http/1.1 503") and heard.header("retry-after") == "7",
        fields={"status": 503, "retry_after_s": 7},
    ),
    "stream_cut": OnSocket(
        lambda heard: heard.ending == "closed" and len(heard.events) == 2 and b"\r\n0\r\n" not in heard.body,
        STREAM,
        fields={"after_events": 2},
    ),
    "stream_duplicated": OnSocket(
        lambda heard: heard.events[::2] == heard.events[1::2] and heard.events[-1] == b"[DONE]",
        STREAM,
        fields={"nth": 1},
    ),
    "stream_endless": OnSocket(
        lambda heard: len(heard.events) > 40 and len(set(heard.events[2:40])) == 1,
        STREAM,
        fields={"event": 3, "every_s": 0.002},
        most_bytes=20_000,
    ),
    "stream_malformed": OnSocket(
        lambda heard: [is_json(event.decode()) for event in heard.events[:4]] == [True, False, True, True],
        STREAM,
        fields={"event": 2},
    ),
    "stream_reordered": OnSocket(
        lambda heard: is_shuffled(deltas(heard.events)),
        STREAM,
    ),
    "stream_stall": OnSocket(
        lambda heard: heard.ending == "silent" and len(heard.events) == 2,
        STREAM,
        fields={"after_events": 2},
        silent_s=SILENCE_S,
    ),
    "stuck": OnSocket(
        lambda heard: (heard.received, heard.ending) == (b"", "silent"),
        request("/v1/chat/completions", CHAT),
        silent_s=SILENCE_S,
    ),
    "wrong_type": OnSocket(lambda heard: heard.is_whole and heard.header("content-type") == "text/html"),
}


def fired(stand: Any, id_: str) -> int:
    """Return how often a fault fired."""
    return [event["event"] for event in stand.lines("/events") if event["id"] == id_].count("fired")


@pytest.mark.parametrize("fault", ON_SOCKET)
def test_on_a_raw_socket(stand: Any, fault: str) -> None:
    proof = ON_SOCKET[fault]
    # Ids that nobody created are taken, so that one request suffices.
    stand.begin_epoch("proof", adopt_unknown_ids=True)

    def heard(silent_s: float, then_silent_s: float = END_S) -> Heard:
        return over_socket(
            stand.port(proof.upstream),
            proof.request,
            silent_s=silent_s,
            then_silent_s=then_silent_s,
            most_bytes=proof.most_bytes,
        )

    usual = heard(END_S, proof.usual_silent_s)
    assert usual.head.startswith("http/1.1 200")
    assert proof.is_timed or not proof.is_seen(usual), "it is seen without the fault"
    id_ = stand.arm(fault, upstream=proof.upstream, **proof.fields)
    broken = heard(proof.silent_s)
    assert proof.is_seen(broken), broken
    assert fired(stand, id_) == 1


# --- through the official client -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ThroughClient:
    """What the client is asked while a fault is armed, and what comes of it: an exception of its own, or a result."""

    call: Callable[[Any], Any]
    exception: Any = None
    is_seen: Callable[[Any], bool] | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    patience_s: float = END_S
    retries: int = 0
    latency_scale: float = 1.0


def thread(client: openai.OpenAI) -> Any:
    return client.beta.threads.create()


def chat(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hello"}])


def stream(client: openai.OpenAI) -> list[str | None]:
    """Return the pieces of an answer, as far as somebody reads who gives up after 60."""
    hello: Any = [user("hello")]
    pieces: list[str | None] = []
    with client.chat.completions.create(model="gpt-4o", messages=hello, stream=True) as chunks:
        for chunk in chunks:
            pieces.append(chunk.choices[0].delta.content)
            if len(pieces) == 60:
                break
    return pieces


def run(client: openai.OpenAI) -> Any:
    assistant = client.beta.assistants.create(model="gpt-4o")
    hello: Any = {"messages": [user("hello")]}
    return client.beta.threads.create_and_run_poll(assistant_id=assistant.id, thread=hello)


def seconds_of_run(client: openai.OpenAI) -> float:
    begin_s = time.monotonic()
    run(client)
    return time.monotonic() - begin_s


def speech_of(text: str) -> Callable[[Any], bytes]:
    def call(client: openai.OpenAI) -> bytes:
        return client.audio.speech.create(model="tts-1", voice="alloy", input=text, response_format="wav").content

    return call


def date_s(client: openai.OpenAI) -> float:
    return parsedate_to_datetime(client.models.with_raw_response.list().headers["date"]).timestamp()


def twice(client: openai.OpenAI) -> list[int]:
    return [len(client.models.list().data) for _ in range(2)]


def speak_and_speak_again(client: openai.OpenAI) -> list[type[Exception] | None]:
    """Return how it ends for who says 🔥, and for who says something harmless afterwards."""
    outcomes: list[type[Exception] | None] = []
    for text in ("🔥", "にゃん"):
        try:
            speech_of(text)(client)
            outcomes.append(None)
        except openai.OpenAIError as error:
            outcomes.append(type(error))
    return outcomes


def misbehaving(proof: Misbehaviour) -> ThroughClient:
    def call(client: openai.OpenAI) -> Said:
        body: Any = proof.body
        choice = client.chat.completions.create(**body).choices[0]
        return Said(choice.message.model_dump(), choice.finish_reason)

    return ThroughClient(call, is_seen=proof.is_seen, fields=proof.fields)


TIMED_OUT = (openai.APITimeoutError, httpx2.ReadTimeout)
THROUGH_CLIENT: dict[str, list[ThroughClient]] = {
    **{fault: [misbehaving(proof)] for fault, proof in MISBEHAVIOURS.items()},
    "answer_lost": [ThroughClient(thread, openai.APIConnectionError)],
    # A byte a second: patience that is shorter than the time between two bytes.
    "bandwidth": [ThroughClient(thread, openai.APITimeoutError, fields={"bytes_per_s": 1}, patience_s=SILENCE_S / 2)],
    "blackhole": [ThroughClient(thread, openai.APITimeoutError, patience_s=SILENCE_S)],
    "clock_skew": [
        ThroughClient(date_s, is_seen=lambda date_s: abs(date_s - time.time() + 7200) < 60, fields={"seconds": -7200})
    ],
    "crash_on_emoji": [
        ThroughClient(
            speak_and_speak_again,
            is_seen=lambda outcomes: outcomes == [openai.APIConnectionError, openai.APIConnectionError],
            fields={"down_s": 60},
        )
    ],
    "cut": [ThroughClient(thread, openai.APIConnectionError, fields={"after_bytes": 5})],
    "drip": [ThroughClient(thread, openai.APITimeoutError, fields={"every_s": 5}, patience_s=SILENCE_S)],
    # The client lets what its JSON parser says through.
    "empty_body": [ThroughClient(thread, json.JSONDecodeError)],
    "garbage": [ThroughClient(thread, ValueError)],
    "generation_expires": [
        ThroughClient(run, is_seen=lambda run: run.status == "expired"),
        ThroughClient(chat, openai.InternalServerError),
    ],
    "generation_fails": [
        ThroughClient(run, is_seen=lambda run: run.last_error.message == "no.", fields={"message": "no."}),
        ThroughClient(chat, openai.InternalServerError),
        ThroughClient(
            lambda client: client.responses.create(model="gpt-4o", input="hi"),
            is_seen=lambda response: (
                (response.status, response.error and response.error.code) == ("failed", "server_error")
            ),
        ),
    ],
    "half_close": [ThroughClient(thread, openai.APIConnectionError)],
    "hang": [ThroughClient(thread, openai.APITimeoutError, patience_s=SILENCE_S)],
    "huge_body": [ThroughClient(thread, openai.APIResponseValidationError, fields={"megabytes": 3}, patience_s=30)],
    "invalid_utf8": [ThroughClient(thread, UnicodeDecodeError)],
    # The client opens another connection, and nobody notices: a caller without such a client would.
    "keep_alive_closed": [ThroughClient(twice, is_seen=lambda counts: counts[0] == counts[1] > 0, retries=1)],
    "key_revoked": [
        ThroughClient(thread, openai.AuthenticationError, fields={"ending": "test"}),
    ],
    "long_audio": [
        ThroughClient(speech_of("にゃん"), is_seen=lambda audio: len(audio) > 16_000 * 20, fields={"seconds": 20})
    ],
    "poll_after": [
        # Slow enough that the client looks at least once before the run is over, also on a slow machine.
        ThroughClient(
            seconds_of_run, is_seen=lambda took_s: took_s >= 0.9, fields={"milliseconds": 900}, latency_scale=20
        )
    ],
    "quota_exhausted": [ThroughClient(thread, openai.RateLimitError)],
    "refuse": [ThroughClient(thread, openai.APIConnectionError)],
    "reset": [ThroughClient(thread, openai.APIConnectionError)],
    "slow": [ThroughClient(thread, openai.APITimeoutError, fields={"delay_s": 5}, patience_s=SILENCE_S)],
    "slow_tail": [ThroughClient(thread, openai.APITimeoutError, fields={"tail_share": 1.0}, patience_s=SILENCE_S)],
    "speaks_only": [ThroughClient(speech_of(LONG_SPEECH), is_seen=lambda audio: len(audio) < 24_000 * 2 * 15)],
    "stall": [ThroughClient(thread, openai.APITimeoutError, patience_s=SILENCE_S)],
    "status": [
        ThroughClient(thread, exception, fields={"status": status})
        for status, exception in (
            (400, openai.BadRequestError),
            (401, openai.AuthenticationError),
            (403, openai.PermissionDeniedError),
            (404, openai.NotFoundError),
            (408, openai.APIStatusError),
            (409, openai.ConflictError),
            (413, openai.APIStatusError),
            (429, openai.RateLimitError),
            (500, openai.InternalServerError),
            (502, openai.InternalServerError),
            (503, openai.InternalServerError),
            (529, openai.InternalServerError),
        )
    ],
    "stream_cut": [ThroughClient(stream, (openai.APIConnectionError, httpx2.RemoteProtocolError))],
    "stream_duplicated": [ThroughClient(stream, is_seen=lambda pieces: pieces[::2] == pieces[1::2], fields={"nth": 1})],
    "stream_endless": [
        ThroughClient(
            stream,
            is_seen=lambda pieces: len(pieces) == 60 and len(set(pieces[2:])) == 1,
            fields={"event": 3, "every_s": 0.002},
        )
    ],
    "stream_malformed": [ThroughClient(stream, (openai.APIResponseValidationError, json.JSONDecodeError))],
    "stream_reordered": [
        ThroughClient(
            stream,
            is_seen=is_shuffled,
        )
    ],
    "stream_stall": [ThroughClient(stream, TIMED_OUT, patience_s=SILENCE_S)],
    "stuck": [
        ThroughClient(chat, openai.APITimeoutError, patience_s=SILENCE_S),
        ThroughClient(stream, TIMED_OUT, patience_s=SILENCE_S),
    ],
    "wrong_type": [ThroughClient(thread, openai.APIResponseValidationError)],
}


@pytest.mark.parametrize(
    ("fault", "number"), [(fault, number) for fault, proofs in THROUGH_CLIENT.items() for number in range(len(proofs))]
)
def test_through_the_official_client(stand: Any, fault: str, number: int) -> None:
    proof = THROUGH_CLIENT[fault][number]
    stand.begin_epoch("proof", latency_scale=proof.latency_scale)
    id_ = stand.arm(fault, upstream="openai", **proof.fields)
    with stand.openai(timeout=proof.patience_s, max_retries=proof.retries) as client:
        if proof.exception is not None:
            with pytest.raises(proof.exception):
                proof.call(client)
        else:
            assert proof.is_seen is not None
            result = proof.call(client)
            assert proof.is_seen(result), result
    assert fired(stand, id_) >= 1
