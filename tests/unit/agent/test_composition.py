"""Do profiles and overrides come together into an agent, and is nonsense refused in one sentence?"""

from __future__ import annotations

import inspect
import re
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agent_stage import settings

import reference_agent
from reference_agent.__main__ import main
from reference_agent.app import create_app
from reference_agent.compose import PROFILES, Composition, choose, variants
from reference_agent.engines.assistants import AssistantsEngine
from reference_agent.engines.chat import ChatEngine
from reference_agent.engines.responses import ResponsesEngine
from reference_agent.settings import BadSetting, Settings, environment_name, known_variables, read_settings, unit
from reference_agent.wire import LoopWire, ThreadWire

_KEY = {"OPENAI_API_KEY": "sk-test"}


@pytest.mark.parametrize("profile", PROFILES)
async def test_every_profile_builds(profile: str) -> None:
    composition = Composition(settings(profile=profile), {})
    for name in ("turn", "handler", *variants()):
        assert composition.get(name) is composition.get(name)
    assert isinstance(composition.get("wire"), ThreadWire if profile == "documented" else LoopWire)
    assert composition.is_safe == (profile == "hardened")
    await composition.close()


@pytest.mark.parametrize("profile", PROFILES)
async def test_every_part_that_stands_around_requests_does(profile: str) -> None:
    composition = Composition(settings(profile=profile), {})
    transport = httpx2.ASGITransport(create_app(composition))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
        found = {path: (await client.get(path)).status_code for path in ("/health", "/status", "/metrics")}
        request_id = (await client.get("/health", headers={"x-request-id": "mine"})).headers.get("x-request-id")
    await composition.close()
    if profile == "hardened":
        assert request_id == "mine"
        assert found["/metrics"] == 200
        assert found["/status"] in (200, 503)
    else:
        assert request_id is None
        assert (found["/metrics"], found["/status"]) == (404, 404)
    assert found["/health"] == 200


@pytest.mark.parametrize(("peer", "noticed"), [("10.0.0.9", True), ("127.0.0.1", False)])
async def test_a_proxy_that_nobody_has_named_is_noticed(peer: str, noticed: bool) -> None:
    # Nobody listens there: the turn comes to nothing, which does not matter here.
    composition = Composition(
        settings(profile="hardened", session_store="memory", openai_base_url="http://127.0.0.1:9/v1"), {}
    )
    transport = httpx2.ASGITransport(create_app(composition), client=(peer, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://agent") as client:
        said = {"user_id": "u", "message": "hi"}
        await client.post("/chat-agent", json=said, headers={"x-forwarded-for": "198.51.100.1"})
        metrics = (await client.get("/metrics")).text
    await composition.close()
    assert ('agent_oddities_total{what="proxy_not_trusted"} 1' in metrics) is noticed


@pytest.mark.parametrize("part", [part for part in variants() if part != "handler"])
async def test_every_part_can_be_turned_back(part: str) -> None:
    composition = Composition(settings(profile="hardened"), {part: "documented"})
    assert type(composition.get(part)) is variants()[part]["documented"]
    composition.get("handler")
    assert not composition.is_safe
    await composition.close()


def test_every_part_has_every_profiles_variant_and_each_is_what_it_claims() -> None:
    for part, classes in variants().items():
        assert set(PROFILES) <= set(classes), part
        for variant, cls in classes.items():
            own = (variant.capitalize(), "Documented" if variant == "proposed" else "")
            assert cls.__name__.startswith(own), "where nothing was proposed, it stays as documented"
            assert inspect.getdoc(cls), f"{cls.__name__} does not say what it does"


@pytest.mark.parametrize(
    ("profile", "overrides", "sentence"),
    [
        ("hardend", {}, "did you mean 'hardened'"),
        ("hardened", {"poling": "documented"}, "did you mean 'polling'"),
        ("hardened", {"polling": "documentd"}, "did you mean 'documented'"),
        ("documented", {"polling": "hardened"}, "AGENT_PART_HANDLER=hardened"),
        ("hardened", {"handler": "documented"}, "needs the event loop"),
    ],
)
def test_nonsense_is_refused(profile: str, overrides: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        choose(profile, overrides)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({}, "OPENAI_API_KEY is not set"),
        ({**_KEY, "AGENT_MAX_CONVERSATION": "3"}, "did you mean AGENT_MAX_CONVERSATIONS"),
        ({**_KEY, "AGENT_QWERTYUIOP_XYZ": "3"}, "--help"),
        ({**_KEY, "AGENT_MAX_CONVERSATIONS": "many"}, "AGENT_MAX_CONVERSATIONS='many' makes no sense"),
        ({**_KEY, "AGENT_MAX_CONVERSATIONS": "1"}, "AGENT_MAX_CONVERSATIONS='1' makes no sense"),
        ({**_KEY, "TTS_URL": "localhost:80"}, "TTS_URL='localhost:80' is no address"),
        ({**_KEY, "TTS_URL": "http://:80"}, "TTS_URL='http://:80' is no address"),
        ({**_KEY, "OPENAI_BASE_URL": "http://localhost:99999/v1"}, "is no address: expected http://HOST"),
        ({"OPENAI_API_KEY": "キー"}, "^OPENAI_API_KEY makes no sense: (?!.*キー)"),
        ({**_KEY, "REDIS_URL": "localhost"}, "makes no sense: expected redis://HOST:PORT/DATABASE"),
        ({**_KEY, "REDIS_URL": "redis://localhost:port/0"}, "expected redis://HOST:PORT/DATABASE"),
        ({**_KEY, "AGENT_SESSION_STORE": "sqlite"}, "expected memory, sqlite:PATH, or redis://HOST:PORT/DATABASE"),
        ({**_KEY, "AGENT_SESSION_STORE": "redis://localhost:port/0"}, "expected redis://HOST:PORT/DATABASE"),
        ({**_KEY, "AGENT_SESSION_STORE": f"sqlite:{__file__}/x/s.sqlite"}, "test_composition.py is no directory"),
        ({**_KEY, "AGENT_SESSION_STORE": "sqlite:/"}, "/ is a directory"),
        ({**_KEY, "AGENT_CACHE_DATABASE": "sqlite:/"}, "/ is a directory"),
        ({**_KEY, "AGENT_PRICES": "gpt-4o"}, "'gpt-4o' is no price; expected MODEL=PRICE"),
        ({**_KEY, "AGENT_PRICES": "gpt-4o=1,o9=-1/nan"}, "'o9=-1/nan' is no price"),
        ({**_KEY, "AGENT_CACHE_DATABASE": "yes"}, "expected none, or sqlite:PATH"),
        ({**_KEY, "AGENT_TURNS_PER_S": "inf"}, "AGENT_TURNS_PER_S='inf' makes no sense: Input should be a finite"),
        ({**_KEY, "AGENT_JOB_WAIT_S": "nan"}, "AGENT_JOB_WAIT_S='nan' makes no sense"),
        ({**_KEY, "AGENT_TURNS_PER_S": "1e300"}, r"'1e300' makes no sense: expected 0, or 1e-09 to 1e\+09"),
        ({**_KEY, "AGENT_NEWCOMERS_PER_S": "1e-300"}, "AGENT_NEWCOMERS_PER_S='1e-300' makes no sense"),
        ({**_KEY, "AGENT_SPEECH_RESERVE_S": "100"}, r"^AGENT_SPEECH_RESERVE_S=100 leaves nothing of a turn.* 4.25 s"),
        ({**_KEY, "AGENT_ANSWER_WITHIN_S": "0.7"}, "AGENT_SPEECH_RESERVE_S=0.6 leaves nothing of a turn"),
        ({**_KEY, "AGENT_JOB_S": "2", "AGENT_SPEECH_RESERVE_S": "1.8"}, "leaves nothing of a job"),
        ({**_KEY, "AGENT_REPLY_CHARS": "8", "AGENT_REPLY_ENDING": "12345678"}, "AGENT_REPLY_CHARS to be 16 or more"),
        ({**_KEY, "AGENT_TURN_DEADLINE_S": "6"}, "^AGENT_TURN_DEADLINE_S=6 is later than callers give up.* which is 5"),
        ({**_KEY, "AGENT_SESSION_S": "60"}, "AGENT_PROBATION_S=600 keeps .* at most AGENT_SESSION_S, which is 60"),
        ({**_KEY, "AGENT_MESSAGE_CHARS": "50000"}, "AGENT_BODY_BYTES=65536 has no room .* expected 200800 or more"),
        ({**_KEY, "AGENT_SPEECH_PIECES": "1", "AGENT_REPLY_CHARS": "80"}, "do not speak a whole reply"),
        ({**_KEY, "AGENT_JOBS_AUDIO_BYTES": "1000"}, "AGENT_JOB_AUDIO_BYTES=4000000 of one job is more than is kept"),
        ({**_KEY, "AGENT_SESSION_STORE": "sqlite:cache.sqlite"}, "expected a file of its own"),
        ({**_KEY, "AGENT_SESSION_STORE": "sqlite:x/../leftovers.sqlite"}, "expected a file of its own"),
        (
            {**_KEY, "AGENT_SESSION_STORE": "sqlite:one.sqlite", "AGENT_CACHE_DATABASE": "sqlite:./one.sqlite"},
            "expected a file of its own",
        ),
        ({**_KEY, "AGENT_BREAKER_CALLS": "201"}, "AGENT_BREAKER_CALLS='201' makes no sense"),
        ({**_KEY, "AGENT_BREAKER_IN_A_ROW": "201"}, "AGENT_BREAKER_IN_A_ROW='201' makes no sense"),
        ({**_KEY, "AGENT_MODEL": " "}, "AGENT_MODEL=' ' makes no sense: expected some text"),
        ({**_KEY, "AGENT_REPLY_ENDING": " "}, "AGENT_REPLY_ENDING=' ' makes no sense: expected some text"),
        ({**_KEY, "TTS_URL": "http://"}, "TTS_URL='http://' is no address"),
        ({"OPENAI_API_KEY": "sk-test\n"}, "OPENAI_API_KEY makes no sense: .*perhaps there is one at its end"),
    ],
)
def test_settings_that_make_no_sense_are_refused(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        read_settings(environ)


def test_a_key_that_makes_no_sense_is_not_shown() -> None:
    with pytest.raises(BadSetting) as refused:
        read_settings({"OPENAI_API_KEY": "sk-very secret"})
    assert "secret" not in str(refused.value)


_SHARES = {"retry_share", "retry_reserve", "breaker_failures"}
_ANY_TEXT = {"OPENAI_API_KEY", "AGENT_MODEL", "AGENT_ASSISTANT_NAME", "AGENT_REPLY_ENDING"}


def test_every_figure_has_a_unit_or_is_a_count() -> None:
    figures = {name: info for name, info in Settings.model_fields.items() if info.annotation not in (str, bool)}
    for name, info in figures.items():
        if "float" in str(info.annotation):
            assert unit(name) or name in _SHARES, name
        if unit(name):
            assert f"({unit(name)}, default" in known_variables()[environment_name(name)]
    of_unit = {word: environment_name(name) for name in reversed(figures) if (word := unit(name))}
    assert of_unit == {
        "seconds": "AGENT_ANSWER_WITHIN_S",
        "a second": "AGENT_NEWCOMERS_PER_S",
        "characters": "AGENT_MESSAGE_CHARS",
        "bytes": "AGENT_JOB_AUDIO_BYTES",
        "US dollars": "AGENT_USER_BUDGET_USD",
    }


def test_every_variable_is_validated() -> None:
    """Nonsense in any of them ends the start, with a sentence that names it."""
    for name in known_variables():
        if name in ("WEATHER_API_KEY", "NEWS_API_KEY"):
            continue  # whatever their servers gave out
        nonsense = " " if name in _ANY_TEXT else "-1 no sense"
        with pytest.raises(BadSetting, match=name):
            Composition(*read_settings({**_KEY, name: nonsense}))


def test_whole_figures_are_bounded_as_well() -> None:
    whole = [name for name, info in Settings.model_fields.items() if info.annotation is int]
    assert len(whole) > 20
    for name in whole:
        for nonsense in ("1.5", "-1", str(10**30)):
            with pytest.raises(BadSetting, match=f"^{environment_name(name)}='{nonsense}' makes no sense"):
                read_settings({**_KEY, environment_name(name): nonsense})


def test_nothing_is_read_from_the_environment_that_is_not_listed_and_all_that_is_listed_is_used() -> None:
    package = Path(reference_agent.__file__).parent
    sources = {file.name: file.read_text() for file in package.rglob("*.py")}
    named = {
        name for source in sources.values() for name in re.findall(r"AGENT_[A-Z0-9]+(?:_[A-Z0-9]+)*\b(?!_)", source)
    }
    unknown = {name for name in named if name not in known_variables() and not name.startswith("AGENT_PART")}
    assert unknown == set()
    asks = re.compile(r"\bos\.environ\b|\bgetenv\b")
    assert [name for name, source in sources.items() if asks.search(source)] == ["__main__.py"]
    elsewhere = "".join(source for name, source in sources.items() if name != "settings.py")
    means = {"trusted_proxies": "proxies", "languages": "spoken_languages", "prices": "price_table"}
    means |= {"turn_deadline_s": "turn_s", "answer_within_s": "turn_s", "cache_database": "cache_path"}
    for field in Settings.model_fields:
        assert re.search(rf"\.{means.get(field, field)}\b", elsewhere), f"nothing uses {field}"


def test_no_figure_is_endless() -> None:
    figures = [name for name, info in Settings.model_fields.items() if "float" in str(info.annotation)]
    assert len(figures) > 30
    for name in figures:
        for nonsense in ("inf", "nan", "1e10", "1e-10"):
            with pytest.raises(BadSetting, match=f"^{environment_name(name)}='{nonsense}' makes no sense"):
                read_settings({**_KEY, environment_name(name): nonsense})


def test_settings_come_from_the_environment_and_are_all_explained() -> None:
    read, overrides = read_settings(
        {**_KEY, "AGENT_MAX_CONVERSATIONS": "40", "AGENT_PART_POLLING": "documented", "AGENT_ANSWER_WITHIN_S": "10"}
    )
    assert (read.max_conversations, overrides, read.turn_s) == (40, {"polling": "documented"}, 8.5)
    assert len(known_variables()) == len(Settings.model_fields)
    assert all(line[0] != " " for line in known_variables().values())


def _refusal(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    assert main(arguments, {**_KEY, **environ}) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_only_loopback_for_what_is_vulnerable_on_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    assert "vulnerable on purpose" in _refusal(capsys, "--profile", "documented", "--host", "0.0.0.0")
    said = _refusal(capsys, "--profile", "hardened", "--host", "0.0.0.0", AGENT_PART_EXPRESSIONS="documented")
    assert "part expressions is documented" in said


def test_the_command_line_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no profile 'best'" in _refusal(capsys, "--profile", "best")
    assert "is no directory" in _refusal(capsys, AGENT_SESSION_STORE="sqlite:/dev/null/sessions.sqlite")
    assert "AGENT_ENGINE='abacus'" in _refusal(capsys, "--engine", "abacus")
    assert "did you mean 'responses'?" in _refusal(capsys, "--engine", "response")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port}" in _refusal(capsys, "--port", port)
    assert "Cannot listen" in _refusal(capsys, "--port", "70000")


@pytest.mark.parametrize(
    ("profile", "given", "engine"),
    [
        ("documented", None, AssistantsEngine),
        ("proposed", None, AssistantsEngine),
        ("hardened", None, ResponsesEngine),
        ("hardened", "assistants", AssistantsEngine),
        ("documented", "chat", ChatEngine),
    ],
)
async def test_a_profile_has_an_engine_of_its_own_and_can_be_given_another(
    profile: str, given: str | None, engine: type
) -> None:
    composition = Composition(settings(profile=profile, engine=given), {})
    assert isinstance(composition.get("engine"), engine)
    await composition.close()


def test_help_names_every_variable_and_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"], {})
    said: Any = capsys.readouterr().out
    for name in (*known_variables(), *(f"AGENT_PART_{part.upper()}" for part in variants())):
        assert name in said
