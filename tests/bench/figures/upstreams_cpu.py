"""What does a call cost the stand-ins? CPU and calls a second on one core, beside a constant and beside aimock."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import uvloop

from harness.checks.percentile import percentile
from tests.bench import aimock
from tests.bench.caller import Talk, Window, get, play, play_for, post
from tests.bench.child import Child
from tests.bench.figure import Bench, BenchError, Figure, Row

_CALLERS = 16
_WARM_S = 0.3
_MOST_CALLS = 100_000
_EVENTS = 50
_EVERY_MS = 20
# A role, an end and [DONE] go round the pieces.
_STREAMED = " ".join(["word"] * (_EVENTS - 3))
_LETTERS_A_CHUNK = 5
_SPOKEN = "今日はとても良い天気ですから、公園へ散歩に行って、それから本を読みたいと思います。"[:40]
_SAID = "おはよう！今日はなんだか眠いです"
_STREAM_SAID = "Say words"
_REPLY = "こんにちはにゃん、今日はどうしたのかにゃん、ゆっくり話してほしいにゃん"
_INSTRUCTIONS = "あなたは語尾に「にゃん」をつけて、40文字以内で話します。"
_NEVER_SAID = "これは誰も言わない"
_NEVER = {"fault": "status", "upstream": "*", "status": 503, "text": _NEVER_SAID}
_THREADS_A_CALLER = 64
_OWN, _CONSTANT, _AIMOCK = "stand-ins", "constant", "aimock"


@dataclass(frozen=True)
class _Side:
    """One of the servers that are compared: its process, the ports by name, and how it is made anew for a round."""

    child: Child
    ports: dict[str, int]
    renew: Callable[[], None] = lambda: None

    def cpu_s(self) -> float:
        """Return what its process has used so far, user and system, all its threads."""
        return self.child.cpu_s()


@dataclass(frozen=True)
class _Case:
    """One endpoint: who has it at which port, and how callers talk to it."""

    name: str
    talks: dict[str, tuple[str, Callable[[int], Talk]]]
    """Side -> (its port's name, talk of the n-th caller)."""
    is_stream: bool = False
    prepare: Callable[[int], None] | None = None


def measure(bench: Bench) -> Figure:
    """Call every endpoint of every side in turn, several rounds of it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("Two cores are needed: one for the server, one for the load.")
    notes = _notes(bench)
    rows: list[Row] = _start_up(bench)
    try:
        with ExitStack() as stack:
            sides = {
                _OWN: stack.enter_context(_own(bench, cores[-1])),
                _CONSTANT: stack.enter_context(_constant(bench, cores[-1])),
            }
            try:
                script = aimock.install(bench.directory / "npm")
                sides[_AIMOCK] = stack.enter_context(_aimock(bench, script, cores[-1], latency_ms=0))
                paced = stack.enter_context(_aimock(bench, script, cores[-1], latency_ms=_EVERY_MS))
            except BenchError as error:
                notes += (str(error),)
                paced = None
            os.sched_setaffinity(0, {cores[0]})
            rows.append(_row("idle RSS, MB", {name: side.child.rss_bytes() / 1e6 for name, side in sides.items()}))
            rows.append(_memory_per_thread(sides[_OWN], int(bench.pick(5_000, 500))))
            rows += _throughput(bench, sides)
            rows += _paced(bench, sides | ({_AIMOCK: paced} if paced else {}))
    finally:
        os.sched_setaffinity(0, set(cores))
    return Figure(
        question="CPU microseconds a call, and calls/s, of one process on one core; medians",
        columns=("", "stand-ins", "constant", "aimock", "stand-ins / constant", "aimock / stand-ins"),
        rows=tuple(rows),
        notes=notes,
    )


def _notes(bench: Bench) -> tuple[str, ...]:
    return (
        f"Servers pinned to one core, load from another; {_CALLERS} kept connections, one call at a time on each; "
        f"{bench.pick(3, 1):g} rounds over all endpoints of {bench.pick(1.2, 0.3):g} s each, medians of the rounds. "
        "CPU: user and system of the whole process, from its CPU clock.",
        "Stand-ins: --latency-scale 0 (no timers), ledger kept and written to disk, one armed fault on every upstream "
        "whose `text` nobody says, 256 messages of each caller that differ by their marks, a new epoch a window.",
        "Calls/s of a core that was not busy are what the load side could send, or what other processes left of both "
        "cores; the CPU of a call says more.",
        "Constant: the same carrier (served.py) answering 700 bytes, a WAV of the same size, or 50 events; no routing, "
        "state, faults or ledger. GET /health of tts has all of these and does no work.",
        f"aimock: {aimock.PACKAGE}, node, fixtures matched by the user's message, its defaults otherwise, silent. It "
        "has no threads or runs. A stream is 50 events; speech is a WAV of equal size on all sides.",
        f"Paced streams: {_EVERY_MS} ms at every event (stand-ins: by the fault `drip`); from sending the request to "
        "the end of the answer, over the sum of the waits. At once: all begin in the same moment, one stream each. "
        "Kept up: they begin spread over the length of a stream; each caller begins its next, of three, as one ends.",
    )


def _row(name: str, values: dict[str, float]) -> Row:
    own, constant, other = (values.get(side) for side in (_OWN, _CONSTANT, _AIMOCK))
    return (
        name,
        own,
        constant,
        other,
        own / constant if own and constant else None,
        other / own if own and other else None,
    )


# --- the servers -----------------------------------------------------------------------------------------------------


@contextmanager
def _pinned(core: int) -> Iterator[None]:
    """Have what is started within run on one core, all of its threads: children inherit it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _port(url: str) -> int:
    return int(urlsplit(url).port or 0)


def _ask(url: str, document: Any) -> Any:
    """Return the JSON that a POST of JSON to the control API is answered with."""
    request = Request(url, json.dumps(document).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def _command(bench: Bench) -> list[str]:
    script = bench.directory / "script.toml"
    script.write_text(f'[[rule]]\nsays = "{_STREAM_SAID}"\nsay = "{_STREAMED}"\n', encoding="utf-8")
    record = str(bench.directory / "record")
    return [
        *(sys.executable, "-m", "harness.upstreams", "--port", "0", "--record", record),
        *("--latency-scale", "0", "--script", str(script)),
    ]


@contextmanager
def _own(bench: Bench, core: int) -> Iterator[_Side]:
    with _pinned(core):
        child = Child(_command(bench), bench.directory / "upstreams.log", says_ready=True)
    with child:
        ready = child.ready()
        control = str(ready["control"])
        ports = {name: _port(url) for name, url in ready["upstreams"].items()}
        count = iter(range(1, 10_000))

        def renew() -> None:
            # State and ledger of the round before would make this one's memory larger, and its garbage collections.
            _ask(f"{control}/_control/epoch", {"name": f"round-{next(count)}", "latency_scale": 0})
            _ask(f"{control}/_control/faults", _NEVER)

        renew()
        yield _Side(child, ports | {"control": _port(control)}, renew)


@contextmanager
def _constant(bench: Bench, core: int) -> Iterator[_Side]:
    with _pinned(core):
        command = [sys.executable, "-m", "tests.bench.constant_upstream"]
        child = Child(command, bench.directory / "constant.log", says_ready=True)
    with child:
        yield _Side(child, {"openai": _port(str(child.ready()["url"]))})


@contextmanager
def _aimock(bench: Bench, script: Path, core: int, *, latency_ms: int) -> Iterator[_Side]:
    fixtures = bench.directory / "aimock-fixtures.json"
    said = {_STREAM_SAID: _STREAMED, _SAID: _REPLY}
    aimock.write_fixtures(fixtures, said, _SPOKEN, bytes(_speech_bytes()))
    with _pinned(core):
        child, port = aimock.start(
            script,
            fixtures,
            bench.directory / f"aimock-{latency_ms}.log",
            latency_ms=latency_ms,
            letters_a_chunk=_LETTERS_A_CHUNK,
        )
    with child:
        yield _Side(child, {"openai": port})


def _start_up(bench: Bench) -> list[Row]:
    # Byte code is kept from the first start to the later ones, whatever the environment says of it.
    env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(bench.directory / "pycache")}
    took_ms: list[float] = []
    for _ in range(int(bench.pick(8, 2))):
        with Child(_command(bench), bench.directory / "start-up.log", env, says_ready=True) as child:
            child.ready()
            took_ms.append((time.monotonic_ns() - child.began_ns) / 1e6)
    return [
        _row("start-up to the readiness line, ms (not pinned)", {_OWN: median(took_ms[1:])}),
        _row("the very first start-up, which compiles, ms (not pinned)", {_OWN: took_ms[0]}),
    ]


# --- calls -----------------------------------------------------------------------------------------------------------


def _marked(caller: int, number: int) -> str:
    return f" #h{caller:03x}{number:07x}"


def _cycling(requests: Sequence[bytes]) -> Talk:
    for request in cycle(requests):  # noqa: UP028, an iterator cannot be sent the answers
        yield request


def _bodies(path: str, make: Callable[[str], dict[str, Any]], count: int = 256) -> Callable[[int], Talk]:
    """Return talks of `count` requests that differ by their marks, again and again."""

    def talk(caller: int) -> Talk:
        return _cycling(
            [
                post(path, json.dumps(make(_marked(caller, number)), ensure_ascii=False).encode())
                for number in range(count)
            ]
        )

    return talk


def _chat(said: str, *, stream: bool) -> Callable[[int], Talk]:
    return _bodies(
        "/v1/chat/completions",
        lambda mark: {
            "model": "gpt-4o-mini",
            "messages": [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": said + mark}],
            **({"stream": True} if stream else {}),
        },
    )


_THREAD = post("/v1/threads", b'{"metadata":{"user":"someone"}}')
_SPEECH = _bodies(
    "/v1/audio/speech",
    lambda _: {"model": "tts-1", "voice": "alloy", "response_format": "wav", "input": _SPOKEN},
    count=1,
)


class _Runs:
    """Runs on threads that were made before, one after the other: created, and looked at once."""

    def __init__(self) -> None:
        self.assistant = ""
        self.threads: dict[int, list[str]] = {}

    def prepare(self, port: int) -> None:
        """Make an assistant, and threads with one message each."""
        self.threads = {caller: [] for caller in range(_CALLERS)}
        body = json.dumps({"model": "gpt-4o-mini", "instructions": _INSTRUCTIONS}).encode()
        uvloop.run(play(port, [self._assistant(post("/v1/assistants", body))]))
        uvloop.run(play(port, [self._make(caller) for caller in range(_CALLERS)]))

    def _assistant(self, request: bytes) -> Talk:
        self.assistant = _id((yield request))

    def _make(self, caller: int) -> Talk:
        for number in range(_THREADS_A_CALLER):
            message = {"role": "user", "content": _SAID + _marked(caller, number)}
            body = json.dumps({"messages": [message]}, ensure_ascii=False).encode()
            self.threads[caller].append(_id((yield post("/v1/threads", body))))

    def talk(self, caller: int) -> Talk:
        """Create a run and retrieve it, thread after thread."""
        body = json.dumps({"assistant_id": self.assistant}).encode()
        paths = [f"/v1/threads/{thread}/runs" for thread in self.threads[caller]]
        for path, request in cycle([(path, post(path, body)) for path in paths]):
            run = _id((yield request))
            yield get(f"{path}/{run}")


def _id(answer: bytes) -> str:
    return answer.partition(b'"id":"')[2].partition(b'"')[0].decode()


def _speech_bytes() -> int:
    """Return how large the stand-in's speech is: what the others answer with is as large."""
    from harness.upstreams.sound import pcm, seconds_to_speak, wav_header

    audio = pcm(seconds_to_speak(_SPOKEN), rate_hz=24_000)
    return len(audio) + len(wav_header(len(audio), rate_hz=24_000))


def _always(request: bytes) -> Callable[[int], Talk]:
    return lambda _: _cycling([request])


def _cases() -> tuple[_Case, ...]:
    constant = ("openai", _always(get("/json")))
    spoken = ("openai", _always(get(f"/speech?bytes={_speech_bytes()}")))
    streamed = ("openai", _always(get(f"/stream?events={_EVENTS}")))
    runs = _Runs()

    def both(talk: Callable[[int], Talk], beside: tuple[str, Callable[[int], Talk]]) -> dict[str, Any]:
        return {_OWN: ("openai", talk), _CONSTANT: beside, _AIMOCK: ("openai", talk)}

    response = _bodies(
        "/v1/responses", lambda mark: {"model": "gpt-4o-mini", "instructions": _INSTRUCTIONS, "input": _SAID + mark}
    )
    speak = _bodies("/speak", lambda _: {"text": _SPOKEN}, count=1)
    return (
        _Case("GET /health of tts", {_OWN: ("tts", _always(get("/health"))), _CONSTANT: constant}),
        _Case("chat completion", both(_chat(_SAID, stream=False), constant)),
        _Case("thread create", {_OWN: ("openai", _always(_THREAD)), _CONSTANT: constant}),
        _Case(
            "run create + retrieve (each of the two)",
            {_OWN: ("openai", runs.talk), _CONSTANT: constant},
            prepare=runs.prepare,
        ),
        _Case("response create", both(response, constant)),
        _Case("streaming chat, 50 events", both(_chat(_STREAM_SAID, stream=True), streamed), is_stream=True),
        _Case("speech of 40 characters (OpenAI, 24 kHz)", both(_SPEECH, spoken)),
        _Case("speech of 40 characters (tts, 8 kHz)", {_OWN: ("tts", speak)}),
    )


def _throughput(bench: Bench, sides: dict[str, _Side]) -> list[Row]:
    cases = _cases()
    windows: dict[tuple[str, str], list[Window]] = {}
    firsts_ms: dict[tuple[str, str], list[float]] = {}
    for _ in range(int(bench.pick(3, 1))):
        for case in cases:
            for name, (upstream, talk) in case.talks.items():
                if name not in sides:
                    continue
                side = sides[name]
                side.renew()
                port = side.ports[upstream]
                if case.prepare is not None and name == _OWN:
                    case.prepare(port)
                if case.is_stream:
                    tally = uvloop.run(play(port, [_first(talk(0), 100)]))
                    firsts_ms.setdefault((case.name, name), []).append(1000 * median(tally.first_event_s))
                window = uvloop.run(
                    play_for(
                        port,
                        [talk(caller) for caller in range(_CALLERS)],
                        side.cpu_s,
                        warm_s=_WARM_S,
                        window_s=bench.pick(1.2, 0.3),
                        most_calls=_MOST_CALLS,
                    )
                )
                windows.setdefault((case.name, name), []).append(window)
    rows: list[Row] = []
    for case in cases:
        found = {name: windows[case.name, name] for name in case.talks if name in sides}
        rows.append(_row(f"{case.name}: CPU us/call", _medians(found, lambda one: 1e6 * one.cpu_s / one.calls)))
        rows.append(_row(f"{case.name}: calls/s", _medians(found, lambda one: one.calls / one.length_s)))
        if case.is_stream:
            firsts = {name: median(firsts_ms[case.name, name]) for name in found}
            rows.append(_row(f"{case.name}: events/s", _medians(found, lambda one: one.events / one.length_s)))
            rows.append(_row(f"{case.name}: first event, ms, alone", firsts))
        busy = _medians(found, lambda one: 100 * one.cpu_s / one.length_s)
        rows.append((*_row(f"{case.name}: core busy, %", busy)[:4], None, None))
    return rows


def _first(talk: Talk, count: int) -> Talk:
    """Return the first `count` requests of a talk that takes no notice of the answers."""
    for request in islice(talk, count):  # noqa: UP028, see above
        yield request


def _medians(windows: dict[str, list[Window]], of: Callable[[Window], float]) -> dict[str, float]:
    return {name: median(of(one) for one in found) for name, found in windows.items()}


# --- memory and pace -------------------------------------------------------------------------------------------------


def _memory_per_thread(side: _Side, count: int) -> Row:
    port = side.ports["openai"]
    # What the first calls of all bring with them, caches and the like, is no thread's.
    uvloop.run(play(port, [_first(_cycling([_THREAD]), 200)]))
    before = side.child.rss_bytes()
    uvloop.run(play(port, [_first(_cycling([_THREAD]), count // _CALLERS) for _ in range(_CALLERS)]))
    grown = side.child.rss_bytes() - before
    made = count // _CALLERS * _CALLERS
    return _row(f"bytes per live thread, with its line of the ledger (RSS, {made:,})", {_OWN: grown / made})


@dataclass(frozen=True)
class _Pace:
    """How many streams there are at a time, and how they begin."""

    callers: int
    name: str
    streams: int = 1
    """Of each caller, one after the other."""
    spread_s: float = 0.0
    """Over which the callers begin."""


def _paces(bench: Bench) -> tuple[_Pace, ...]:
    def kept_up(callers: int) -> _Pace:
        return _Pace(callers, "kept up", streams=3, spread_s=_EVENTS * _EVERY_MS / 1000)

    if bench.short:
        return _Pace(200, "at once"), kept_up(200)
    return _Pace(200, "at once"), _Pace(1_000, "at once"), kept_up(1_000)


def _paced(bench: Bench, sides: dict[str, _Side]) -> list[Row]:
    rows = []
    for pace in _paces(bench):
        ratios: dict[str, float] = {}
        cpu_us: dict[str, float] = {}
        for name, side in sides.items():
            # aimock waits before every event but [DONE], the others after every event.
            waits = _EVENTS - 1 if name == _AIMOCK else _EVENTS
            side.renew()
            if name == _OWN:
                drip = {"fault": "drip", "upstream": "openai", "bytes": 1_000_000, "every_s": _EVERY_MS / 1000}
                _ask(f"http://127.0.0.1:{side.ports['control']}/_control/faults", drip)
            talk = _chat(_STREAM_SAID, stream=True)
            if name == _CONSTANT:
                talk = _always(get(f"/stream?events={_EVENTS}&wait_ms={_EVERY_MS}"))
            talks = [_first(talk(caller), pace.streams) for caller in range(pace.callers)]
            began_cpu_s = side.cpu_s()
            tally = uvloop.run(play(side.ports["openai"], talks, spread_s=pace.spread_s))
            events = pace.callers * pace.streams * _EVENTS
            cpu_us[name] = 1e6 * (side.cpu_s() - began_cpu_s) / events
            if tally.events != events:
                raise BenchError(f"{name}: {tally.events} events came, {events} were expected.")
            ratios[name] = percentile(tally.whole_s, 99) / (waits * _EVERY_MS / 1000)
        what = f"{pace.callers:,} streams of {_EVENTS} events, {_EVERY_MS} ms apart, {pace.name}"
        rows += [_row(f"{what}: p99 of end / due", ratios), _row(f"{what}: CPU us/event, beginnings included", cpu_us)]
    return rows
