"""The upstreams in-process, for somebody's own pytest suite: fixtures, without sockets and without waiting.

Where this package is installed (`pip install agent-harness[testing]`), pytest knows them:

    def test_my_agent_survives_a_hanging_model(openai_upstream, faults):
        faults.arm("hang", upstream="openai", route="POST /v1/threads/*")
        assert my_agent.answer("hello") == "One moment, please."

What a test asks of the network is answered by the upstreams whose fixtures it has, and by nobody else. A test that
passed fails all the same where a request went to an address without an upstream, where an upstream was asked what it
has no route for, and where a fault that was armed never fired: it has not shown what it says. Only HTTP is answered: a
WebSocket (`client.responses.connect`) is refused, since it needs the stand-ins at their ports, `harness upstreams`.

    @pytest.mark.upstreams(seed=7, latency="documented", clock="real", unknown_routes="answer_404")

sets, for one test, what `EpochSettings` has, how time passes (see `harness.testing.clock`), and whether a call that no
route answers is a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.proxy import ThreadedProxy
    from harness.testing.in_process import Faults, InProcess, InProcessUpstream, LedgerView
    from harness.upstreams.epoch import Extras

__all__ = [
    "emotion_upstream",
    "fault_proxy",
    "faults",
    "fortune_upstream",
    "ledger",
    "news_upstream",
    "no_sleeping",
    "openai_upstream",
    "speech_upstream",
    "time_upstream",
    "upstream_extras",
    "upstreams",
    "voicevox_upstream",
    "weather_upstream",
]

_HOME: pytest.StashKey[InProcess] = pytest.StashKey()
_UNKNOWN_ROUTES: pytest.StashKey[str] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "upstreams(seed=0, latency='fast', clock='jumping', unknown_routes='fail', ...): settings of the upstreams"
        " in-process.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed without having shown what it says."""
    result = yield
    home = item.stash.get(_HOME, None)
    if home is not None:
        complaints = _complaints(home, item.stash[_UNKNOWN_ROUTES])
        if complaints:
            pytest.fail("\n".join(complaints), pytrace=False)
    return result


def _complaints(home: InProcess, unknown_routes: str) -> list[str]:
    complaints = [f"{request}: no upstream of this test answers there." for request in home.unanswered]
    if unknown_routes == "fail":
        complaints += [
            f"{call.upstream} was asked {call.route}, which it has no route for; it answered 404."
            ' Where that is meant: @pytest.mark.upstreams(unknown_routes="answer_404").'
            for call in home.ledger.unexpected
        ]
    complaints += [
        f"The fault {armed} never fired: the test has not shown what happens then."
        " Where that is meant: faults.arm(..., may_stay_unused=True)."
        for armed in home.faults.unused
    ]
    return complaints


@pytest.fixture
def upstream_extras() -> Extras:
    """Rules for the model, upstreams of one's own, prices: none, unless a suite has a fixture of this name."""
    from harness.upstreams.epoch import Extras

    return Extras()


@pytest.fixture
def upstreams(request: pytest.FixtureRequest, upstream_extras: Extras) -> Iterator[InProcess]:
    """All upstreams of this test; `upstreams.serve(name)` lets one answer. Tests usually want one of those below."""
    # Imported here, so that suites pay for them only where a test uses them.
    import msgspec

    try:
        from harness.testing.routers import routed_to
    except ImportError as error:
        pytest.fail(f"{error}. Install what the fixtures need: pip install 'agent-harness[testing]'.", pytrace=False)
    from harness.testing.clock import clock_named
    from harness.testing.in_process import InProcess
    from harness.upstreams.epoch import EpochSettings

    wanted = _wanted(request)
    unknown_routes = wanted.pop("unknown_routes", "fail")
    clock = wanted.pop("clock", "jumping")
    try:
        if unknown_routes not in ("fail", "answer_404"):
            msg = f"`unknown_routes` is {unknown_routes!r}, expected 'fail' or 'answer_404'."
            raise ValueError(msg)
        if clock not in ("jumping", "real"):
            msg = f"`clock` is {clock!r}, expected 'jumping' or 'real'."
            raise ValueError(msg)
        settings = msgspec.convert({"name": "test", **wanted}, EpochSettings)
    except ValueError as error:
        known = ", ".join((*EpochSettings.__struct_fields__, "clock", "unknown_routes"))
        pytest.fail(f"@pytest.mark.upstreams: {error}. It takes {known}.", pytrace=False)
    with InProcess(settings, clock_named(clock), upstream_extras) as home, routed_to(home):
        request.node.stash[_HOME] = home
        request.node.stash[_UNKNOWN_ROUTES] = unknown_routes
        yield home
        del request.node.stash[_HOME]


def _wanted(request: pytest.FixtureRequest) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("upstreams"))):  # the closest last
        if marker.args:
            pytest.fail("@pytest.mark.upstreams takes names only, e.g. upstreams(seed=7).", pytrace=False)
        wanted |= marker.kwargs
    return wanted


def _serve(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch, name: str) -> InProcessUpstream:
    served = upstreams.serve(name)
    for variable in served.exports:
        monkeypatch.setenv(variable, served.url)
    return served


@pytest.fixture
def openai_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """OpenAI, at the address where the official client looks for it, with any key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-in-process")
    return _serve(upstreams, monkeypatch, "openai")


@pytest.fixture
def speech_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """The agent's own speech server: `POST /speak`."""
    return _serve(upstreams, monkeypatch, "tts")


@pytest.fixture
def voicevox_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """VOICEVOX: `POST /audio_query`, `POST /synthesis`."""
    return _serve(upstreams, monkeypatch, "voicevox")


@pytest.fixture
def emotion_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """The emotion server."""
    return _serve(upstreams, monkeypatch, "emotion")


@pytest.fixture
def weather_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """The weather."""
    return _serve(upstreams, monkeypatch, "weather")


@pytest.fixture
def news_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """The news."""
    return _serve(upstreams, monkeypatch, "news")


@pytest.fixture
def time_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """The time of day."""
    return _serve(upstreams, monkeypatch, "time")


@pytest.fixture
def fortune_upstream(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> InProcessUpstream:
    """Fortunes."""
    return _serve(upstreams, monkeypatch, "fortune")


@pytest.fixture
def faults(upstreams: InProcess) -> Faults:
    """What breaks: `faults.arm("hang", upstream="openai")`; all are lifted when the test is over."""
    return upstreams.faults


@pytest.fixture
def ledger(upstreams: InProcess) -> LedgerView:
    """What the upstreams were asked and answered."""
    return upstreams.ledger


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[str], ThreadedProxy]]:
    """Put a TCP fault proxy before HOST:PORT, for what is no HTTP: `proxy = fault_proxy("127.0.0.1:6379")`."""
    from harness.proxy import proxy_in_thread

    with ExitStack() as stack:
        yield lambda upstream: stack.enter_context(proxy_in_thread(upstream))


@pytest.fixture
def no_sleeping(upstreams: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sleeps of the code under test pass at once too: back-offs, polling, `Retry-After`.

    `time.sleep` and the clocks of the module `time` jump, where they are called as `time.sleep(...)`; sleeps in an
    asyncio loop jump from the first call to an upstream on.
    """
    from harness.testing.clock import JumpingClock

    clock = upstreams.clock
    if not isinstance(clock, JumpingClock):
        pytest.fail('no_sleeping needs the jumping clock: remove clock="real" from the marker.', pytrace=False)
    clock.jump_always()
    monkeypatch.setattr(time, "sleep", clock.jump)
    for name in ("monotonic", "time", "perf_counter"):
        real_s, real_ns = getattr(time, name), getattr(time, f"{name}_ns")
        monkeypatch.setattr(time, name, lambda real_s=real_s: real_s() + clock.jumped_s)
        monkeypatch.setattr(time, f"{name}_ns", lambda real_ns=real_ns: real_ns() + round(clock.jumped_s * 1e9))
