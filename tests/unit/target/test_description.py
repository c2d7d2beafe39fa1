"""Is a target file read as it is meant, and is every mistake in it one sentence that says what to do?"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model import Verdict
from harness.target import (
    DEFAULT_ANSWER_WITHIN_S,
    BySize,
    ReplyText,
    Target,
    TargetError,
    bare_target,
    parse_target,
    read_target,
)
from harness.target.template import fill, placeholders

WHOLE = """
name = "some agent"
[start]
command = ["{python}", "-m", "agent", "--port", "{port}", "--host", "{host}"]
ready = {path = "/health", within_s = 20}
memory_limit_mb = 700
env = { BASE_URL = "{openai}", LIMIT = "{declared.live_conversations}", DEADLINE = "{deadline_s}", D = "{home}/x" }
[request]
json = { user_id = "{user_id}", message = "{message}" }
[reply]
text = {header = "X-GPT-Reply", encoding = "url"}
audio = "body"
error = {json = "error"}
text_only = {json = "reply"}
[declares]
live_conversations = { quick = 40, full = 1000 }
answer_within_s = 5
[variants.documented]
env = { PROFILE = "documented", LIMIT = "0" }
expect = "fail"
expect_scenarios = { cold_start = "pass" }
[variants.hardened]
expect = "pass"
"""


def parsed(text: str) -> Target:
    return parse_target(tomllib.loads(text), "target.toml")


def test_a_whole_file() -> None:
    target = parsed(WHOLE)
    assert target.name == "some agent"
    assert target.start is not None
    assert target.start.ready.path == "/health"
    assert target.start.memory_limit_mb == 700
    assert target.declares["live_conversations"] == BySize(quick=40, full=1000)
    assert target.declared("quick") == {"live_conversations": 40, "answer_within_s": 5}
    assert target.declared("full") == {"live_conversations": 1000, "answer_within_s": 5}
    assert target.deadline_s("quick") == 5
    assert target.variant("documented").expect is Verdict.FAIL
    assert target.variant("documented").expect_scenarios == {"cold_start": Verdict.PASS}
    assert target.variant(None).expect is None


def test_placeholders_are_filled_and_a_variant_overrides_the_environment() -> None:
    target = parsed(WHOLE)
    facts = {
        **target.facts("full"),
        "python": "/py",
        "port": "81",
        "host": "127.0.0.1",
        "home": "/h",
        "openai": "http://o/v1",
    }
    assert target.command(facts) == ["/py", "-m", "agent", "--port", "81", "--host", "127.0.0.1"]
    assert target.environment(None, facts) == {
        "BASE_URL": "http://o/v1",
        "LIMIT": "1000",
        "DEADLINE": "5",
        "D": "/h/x",
    }
    assert target.environment("documented", facts)["LIMIT"] == "0"
    assert target.environment("documented", facts)["PROFILE"] == "documented"
    with pytest.raises(TargetError, match=r"start\.env\.BASE_URL: there is no \{openai\} in this run"):
        target.environment(None, {**target.facts("full"), "home": "/h"})


def test_a_bare_url_means_the_documented_contract() -> None:
    target = bare_target("http://127.0.0.1:8000")
    assert target.host == "http://127.0.0.1:8000"
    assert target.start is None
    assert (target.request.method, target.request.path) == ("POST", "/chat-agent")
    assert target.request.content == {"user_id": "{user_id}", "message": "{message}"}
    assert target.reply.text == ReplyText(header="X-GPT-Reply", encoding="url")
    assert target.reply.error.json == "error"
    assert target.reply.text_only is None
    assert target.declared("quick") == {"answer_within_s": DEFAULT_ANSWER_WITHIN_S}
    with pytest.raises(TargetError, match=r"--host: host is \"nonsense\": expected a URL"):
        bare_target("nonsense")
    with pytest.raises(TargetError, match=r"has no \[start\]"):
        target.command({})


MISTAKES = {
    'nam = "x"': "unknown key 'nam': expected one of name, host, start, redis, observe, proxy, request, reply, "
    "declares, variants, ablation, parts at the top. Did you mean 'name'?",
    'file = "x"': "unknown key 'file': expected one of name, host",
    '[start]\ncommand = ["a"]\nreplicas = 0': "start.replicas is 0: expected 1 to 32.",
    '[start]\ncommand = ["a"]\nreplicas = "two"': 'start.replicas is "two": expected a whole number.',
    '[redis]\nappendonly = true\n[start]\ncommand = ["a"]': "[redis] has no effect: expected {redis} in start.command",
    '[redis]\nappendonly = 1\n[start]\ncommand = ["{redis}"]': "redis.appendonly is 1: expected true or false.",
    '[start]\ncomand = ["a"]': "unknown key 'start.comand': expected one of command, directory, replicas, ready, "
    "memory_limit_mb, env in [start]. Did you mean 'command'?",
    "[start]": "start.command is missing: expected a list of texts",
    '[start]\ncommand = "a"': 'start.command is "a": expected a list of texts',
    "[start]\ncommand = []": "start.command is empty",
    '[start]\ncommand = ["a", 3]': "start.command[1] is 3: expected a text in quotes",
    '[start]\ncommand = ["{prt}"]': "start.command[0] has the unknown placeholder {prt}: expected one of",
    '[start]\ncommand = ["a"]\nready = {within_s = "soon"}': 'start.ready.within_s is "soon": expected a number.',
    '[start]\ncommand = ["a"]\nready = {within_s = 0}': "start.ready.within_s is 0: expected a number of seconds",
    '[start]\ncommand = ["a"]\nready = {path = "health"}': 'start.ready.path is "health": expected a path',
    '[start]\ncommand = ["a"]\nmemory_limit_mb = nan': "start.memory_limit_mb is nan",
    '[start]\ncommand = ["a"]\nenv = {A = 3}': "start.env.A is 3: expected a text in quotes",
    '[start]\ncommand = ["a"]\nenv = {"A B" = "3"}': "start.env has the name 'A B'",
    '[start]\ncommand = ["a"]\nenv = {A = "{declared.x}"}': "start.env.A has the unknown placeholder {declared.x}",
    'host = "http://h"\n[start]\ncommand = ["a"]': "host and [start] are both there",
    'host = "h:80"': 'host is "h:80": expected a URL',
    'host = "http://h:x"': 'host is "http://h:x": expected a URL',
    '[variants.x]\nexpect = "fial"': 'variants.x.expect is "fial": expected "pass" or "inconclusive" or "fail" or '
    "\"error\". Did you mean 'fail'?",
    '[variants.x]\nexpect_scenarios = {cold_start = "red"}': 'variants.x.expect_scenarios.cold_start is "red"',
    '[variants.x]\nenv = {A = "1"}': "variants.x.env has no effect without [start]",
    "[variants]\nx = 3": "variants.x is 3: expected a table with env, expect, expect_scenarios",
    '[declares]\nx = "a"': 'declares.x is "a": expected a number or a table with quick, full',
    "[declares]\nx = true": "declares.x is true: expected a number",
    "[declares]\nx = {quick = 1}": "declares.x.full is missing: expected a number.",
    "[declares]\nx = inf": "declares.x is inf",
    "[declares]\nanswer_within_s = 0": "declares.answer_within_s is 0: expected a number above 0",
    '[request]\njson = {a = "b"}': 'request never says what the caller says: expected "{message}"',
    '[request]\njson = {a = ["{massage}"]}': "request.json.a[0] has the unknown placeholder {massage}: expected one of"
    " {message}, {user_id}, or {{massage}} for the text itself. Did you mean 'message'?",
    '[request]\nmethod = "post"': 'request.method is "post"',
    '[request]\npath = "chat"': 'request.path is "chat": expected a path',
    '[request]\nheaders = {"A:" = "x"}': "request.headers has the name 'A:'",
    '[request]\nheaders = {A = "x\\ny"}': "request.headers.A holds a character that no header can carry",
    '[reply]\naudio = "bdy"': 'reply.audio is "bdy": expected "body" or "none". Did you mean \'body\'?',
    '[reply]\ntext = {encoding = "url"}': "reply.text needs exactly one of header and json",
    '[reply]\ntext = {json = "a", header = "b"}': "reply.text needs exactly one of header and json",
    '[reply]\ntext = {json = "a"}': "reply.text and reply.audio both are the body",
    '[reply]\ntext = {json = "a..b"}\naudio = "none"': 'reply.text.json is "a..b": expected keys joined by dots',
    '[reply]\ntext = "none"\naudio = "none"': "reply has neither text nor audio",
    '[reply]\nerror = "error"': 'reply.error is "error": expected a table with json',
    "name = true": "name is true: expected a text in quotes",
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items())
def test_a_mistake_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(TargetError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"target.toml: {sentence}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    with pytest.raises(TargetError, match="does not exist: expected a target file"):
        read_target(path)
    with pytest.raises(TargetError, match="is a directory"):
        read_target(tmp_path)
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(TargetError, match="byte 8 is no UTF-8"):
        read_target(path)
    path.write_text("name = ")
    with pytest.raises(TargetError, match=r"target\.toml is no valid TOML: invalid value \(at .*\)\."):
        read_target(path)
    path.write_text(WHOLE)
    assert read_target(path).file == str(path)


def test_an_unknown_variant_names_the_known_ones() -> None:
    with pytest.raises(TargetError) as caught:
        parsed(WHOLE).variant("hardend")
    assert str(caught.value) == (
        "target.toml has no variant 'hardend': it has documented, hardened. Did you mean 'hardened'?"
    )


def test_braces_that_are_no_placeholder_are_left_alone() -> None:
    json = '{"a": {"b": 1}} {} {{port}} {port}'
    assert list(placeholders(json)) == ["port"]
    assert fill(json, {"port": "81"}) == '{"a": {"b": 1}} {} {port} 81'


@given(st.text(), st.text())
def test_what_is_put_in_is_never_read_again(first: str, second: str) -> None:
    assert fill("{a}|{b}", {"a": first, "b": second}) == f"{first}|{second}"


_toml = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "start", "command", "env", "ready", "path", "json", "quick", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["name", "host", "start", "request", "reply", "declares", "variants", "y"]), _toml, max_size=4
    )
)
def test_whatever_a_file_holds_is_a_target_or_a_sentence(tables: dict[str, object]) -> None:
    try:
        target = parse_target(tables, "target.toml")
    except TargetError as error:
        assert str(error).startswith("target.toml: ")  # noqa: PT017 either outcome is fine, no other exception is
    else:
        assert isinstance(target, Target)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ('to = "opnai"', 'proxy.line.to is "opnai": expected HOST:PORT, or one of redis, openai'),
        ('to = "somewhere:0"', "expected HOST:PORT"),
        ('to = "tts"\nport = 70000', "proxy.line.port is 70000: expected 1 to 65535."),
        ('to = "tts"\n[proxy.other]\nto = "tts"', "proxy.other.to is that of proxy.line too: expected one of its own."),
        ('to = "tts"\n[proxy."a b"]\nto = "openai"', "proxy.a b: expected a name of letters"),
        ("port = 1", "proxy.line.to is missing"),
    ],
)
def test_a_proxy_that_makes_no_sense(tmp_path: Path, proxy: str, said: str) -> None:
    path = tmp_path / "target.toml"
    path.write_text(f'[start]\ncommand = ["x", "{{port}}"]\n[proxy.line]\n{proxy}\n')
    with pytest.raises(TargetError) as error:
        read_target(path)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [('to = "tts"', "proxy.line has no port"), ('to = "redis"\nport = 7000', "only a target that the harness starts")],
)
def test_a_proxy_of_a_target_that_already_runs(tmp_path: Path, proxy: str, said: str) -> None:
    path = tmp_path / "target.toml"
    path.write_text(f'host = "http://127.0.0.1:1"\n[proxy.line]\n{proxy}\n')
    with pytest.raises(TargetError) as error:
        read_target(path)
    assert said in str(error.value)


def test_a_proxy_is_named_by_a_placeholder_and_brings_a_redis_with_it(tmp_path: Path) -> None:
    path = tmp_path / "target.toml"
    path.write_text('[start]\ncommand = ["x", "{proxy.cache}"]\n[proxy.cache]\nto = "redis"\n')
    target = read_target(path)
    assert target.command({"proxy.cache": "127.0.0.1:9"}) == ["x", "127.0.0.1:9"]
    assert target.uses("redis", None)
    path.write_text('[start]\ncommand = ["x", "{proxy.cash}"]\n[proxy.cache]\nto = "redis"\n')
    with pytest.raises(TargetError, match=r"Did you mean .*proxy\.cache"):
        read_target(path)
