"""Faults as they are written down: read back whole, refused clearly, found by themselves."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from typing import Any

import msgspec
import pytest

import harness
from harness import faults
from harness.faults import FaultError, parse
from harness.proxy import LINE_FAULTS
from harness.upstreams.armed import ArmedFaults

EXAMPLES: dict[str, dict[str, Any]] = {
    "slow": {"delay_s": 1.0},
    "say": {"reply": "x"},
    "bandwidth": {"bytes_per_s": 100.0},
    "hang_up": {"after_s": 1.0},
    "read_slowly": {"bytes_per_s": 100.0},
}


@pytest.mark.parametrize("name", list(faults.catalogue()))
def test_every_fault_reads_back_from_its_own_json(name: str) -> None:
    fault = parse({"fault": name, **EXAMPLES.get(name, {})})
    assert fault.name == name
    assert fault.family in ("upstream", "model", "network", "process", "caller")
    assert parse(msgspec.json.decode(msgspec.json.encode(fault))) == fault
    assert type(fault).__doc__


def test_the_first_faults_are_there() -> None:
    assert set(faults.catalogue()) >= {
        *("slow", "hang", "status", "reset", "cut", "refuse", "crash_on_emoji", "stuck", "loop", "say"),
        *("kill", "pause", "resume", "restart"),
        *("hang_up", "read_slowly", "send_twice"),
    }


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"fault": "hank"}, "There is no fault `hank`. Did you mean `hang`?"),
        ({"fault": "xyzzy"}, "There is no fault `xyzzy`. Known: "),
        ({}, "The description has no fault's name: expected"),
        ([], "A fault is described by an object such as"),
        ({"fault": "slow", "delay": 1}, "The fault `slow` has no field `delay`. Did you mean `delay_s`?"),
        ({"fault": "slow"}, "The fault `slow`: object missing required field `delay_s`"),
        ({"fault": "slow", "delay_s": -1}, "The fault `slow`: `delay_s` is -1, expected 0 or more."),
        ({"fault": "slow", "delay_s": math.nan}, "The fault `slow`: `delay_s` is nan, expected a finite number."),
        ({"fault": "clock_skew", "seconds": 1e15}, "The fault `clock_skew`: `seconds` is 1e+15, expected -1e+09 to "),
        ({"fault": "long_audio", "seconds": 1e9}, "The fault `long_audio`: `seconds` is 1e+09, expected 0 to 3600."),
        ({"fault": "over_long", "characters": 10**12}, "The fault `over_long`: `characters` is 1e+12, expected 1 to "),
        (
            {"fault": "wrong_type", "content_type": "текст"},
            "The fault `wrong_type`: `content_type` is 'текст', expected what a ",
        ),
        (
            {"fault": "wrong_type", "content_type": "a\r\nx-injected: 1"},
            "The fault `wrong_type`: `content_type` is 'a\\r\\nx-inj",
        ),
        ({"fault": "stream_reordered", "nth": 1}, "The fault `stream_reordered`: `nth` is 1, expected 2"),
        ({"fault": "slow", "delay_s": "1"}, "The fault `slow`: expected `float`, got `str` - at `delay_s`"),
        ({"fault": "hang", "probability": 2}, "The fault `hang`: `probability` is 2, expected more than 0, at most 1"),
        ({"fault": "hang", "probability": 0}, "The fault `hang`: `probability` is 0, expected more than 0, at most 1"),
        ({"fault": "hang_up", "at": "mid_body", "probability": 0.0}, "The fault `hang_up`: `probability` is 0, expec"),
        ({"fault": "reset", "proxy": "db", "probability": 0}, "The fault `reset`: `probability` is 0, expected more"),
        ({"fault": "hang", "probability": -0.1}, "The fault `hang`: `probability` is -0.1, expected more than 0"),
        ({"fault": "hang", "probability": math.nan}, "The fault `hang`: `probability` is nan, expected a finite"),
        ({"fault": "slow", "delay_s": 0}, "The fault `slow`: the latency of `delay_s` and `jitter_s` is 0, expected "),
        ({"fault": "latency", "proxy": "db", "delay_s": 0}, "The fault `latency`: the latency of `delay_s` and `jitt"),
        ({"fault": "slow", "delay_s": 1e30}, "The fault `slow`: `delay_s` is 1e+30, expected at most 1e+06: no run "),
        ({"fault": "slow_tail", "median_s": 3, "tail_s": 1}, "The fault `slow_tail`: `tail_s` is 1, less than the "),
        ({"fault": "slow_tail", "sigma": 1e9}, "The fault `slow_tail`: `sigma` is 1e+09, expected 0 to 10."),
        ({"fault": "slow_tail", "median_s": 0, "tail_share": 0}, "The fault `slow_tail`: the latency of `median_s` "),
        ({"fault": "clock_skew", "seconds": 0}, "The fault `clock_skew`: `seconds` is 0, expected more: else nothing"),
        ({"fault": "long_audio", "seconds": 0}, "The fault `long_audio`: `seconds` is 0, expected more: else nothing"),
        ({"fault": "say", "reply": ""}, "The fault `say`: `reply` is empty, expected some text."),
        ({"fault": "say", "reply": "x", "repeat": 0}, "The fault `say`: `repeat` is 0, expected 1 to 1e+06."),
        ({"fault": "hang", "route": ""}, "The fault `hang`: `route` is empty, expected some text, or nothing."),
        ({"fault": "refuse", "upstream": ""}, "The fault `refuse`: `upstream` is empty, expected some text, or noth"),
        ({"fault": "loop", "tool": ""}, "The fault `loop`: `tool` is empty, expected some text, or nothing."),
        ({"fault": "send_twice", "callers": ""}, "The fault `send_twice`: `callers` is empty, expected some text, or"),
        ({"fault": "hang", "times": 0}, "The fault `hang`: `times` is 0, expected 1 or more, or none for always."),
        ({"fault": "status", "status": 200}, "The fault `status`: `status` is 200, expected an error from 400 to 599."),
        ({"fault": "latncy", "proxy": "db"}, "There is no fault `latncy`. Did you mean `latency`?"),
        (
            {"fault": "hang", "proxy": "db"},
            "There is no fault `hang`. Known: bandwidth, blackhole, half_open, latency, reset.",
        ),
        ({"fault": "hang", "text": ""}, "The fault `hang`: `text` is empty, expected some text, or nothing."),
        ({"fault": "stuck", "caller": ""}, "The fault `stuck`: `caller` is empty, expected some text, or nothing."),
        (
            {"fault": "latency", "upstream": "openai", "delay_s": 1},
            "`latency` is a fault of a line: it wants the `proxy` in which it is to be."
            " To an upstream's answers, `slow` does the same.",
        ),
        ({"fault": "kill", "replica": -1}, "The fault `kill`: `replica` is -1, expected 0 or more."),
    ],
)
def test_nonsense_is_refused_with_what_was_expected(spec: Any, message: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse(spec)
    assert str(caught.value).startswith(message)


def test_describing_a_fault_loads_no_server() -> None:
    program = (
        "import sys, harness.faults; harness.faults.parse({'fault': 'hang'});"
        "print([name for name in ('asyncio', 'httptools', 'uvloop', 'openai', 'harness.upstreams.served')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_fault_with_its_times() -> None:
    timed = faults.parse_timed({"fault": "hang", "from_s": 1, "for_s": 2.5, "upstream": "tts"})
    assert (timed.from_s, timed.for_s) == (1.0, 2.5)
    assert timed.fault == parse({"fault": "hang", "upstream": "tts"})
    assert faults.parse_timed({"fault": "hang"}).for_s is None


@pytest.mark.parametrize(
    "spec",
    [
        {"fault": "hang", "from_s": -1},
        {"fault": "hang", "from_s": math.inf},
        {"fault": "hang", "from_s": True},
        {"fault": "hang", "for_s": "x"},
        {"fault": "hang", "for_s": -1},
        {"fault": "hang", "for_s": 0},
        {"fault": "hang", "for_s": math.nan},
        {"fault": "hang", "from_s": 1e9},
        [],
    ],
)
def test_times_that_make_no_sense(spec: Any) -> None:
    with pytest.raises(FaultError, match=r"expected seconds, (0 or more|more than 0|at most)|described by an object"):
        faults.parse_timed(spec)


def test_a_rate_is_no_duration() -> None:
    assert parse({"fault": "bandwidth", "bytes_per_s": 1e9})
    assert parse({"fault": "read_slowly", "bytes_per_s": 1e9})


def test_what_is_empty_on_purpose() -> None:
    assert parse({"fault": "wrong_type", "body": ""})
    assert parse({"fault": "say", "reply": "x", "suffix": ""})
    assert parse({"fault": "key_revoked", "ending": ""})


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("hang", {"for_s": 0}, "`for_s` is 0, expected seconds, more than 0"),
        ("hang", {"for_s": -1}, "`for_s` is -1, expected seconds, more than 0"),
        ("hang", {"from_s": math.nan}, "`from_s` is nan, expected seconds, 0 or more"),
        ("hang", {"during": ()}, '`during` is (), expected phases such as ("attack",)'),
        ("hang", {"during": "attack"}, "`during` is 'attack', expected phases such as"),
        ("hang", {"during": ("atack",)}, "`during` is ('atack',), expected phases such as"),
        ("hang", {"during": ("warm_up", "attack")}, "`during` is ('warm_up', 'attack'), expected neighbours"),
        ("hang", {"probability": 0}, "`probability` is 0, expected more than 0"),
        ("slow", {"delay_s": 1, "full": {"delay_s": 0}}, "the latency of `delay_s` and `jitter_s` is 0, expected more"),
        ("kill", {"for_s": 0}, "`for_s` is 0, expected seconds, more than 0"),
    ],
)
def test_a_scenario_cannot_plan_a_fault_that_could_never_fire(name: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        harness.fault(name, **fields)


def test_neighbours_may_be_named_in_any_order() -> None:
    assert harness.fault("hang", during=("recovery", "attack")).during == ("recovery", "attack")


def test_every_fault_of_a_line_names_one_of_an_upstreams_answers() -> None:
    likes = {faults.catalogue()[one.to_answers].family for one in LINE_FAULTS.values()}
    assert likes == {"upstream", "network"}


def test_where_a_proxy_is_named_the_fault_is_one_of_its_line() -> None:
    # Two faults of this name: one narrows an answer, the other a connection.
    assert type(parse({"fault": "bandwidth", "bytes_per_s": 9})) is not LINE_FAULTS["bandwidth"]
    assert type(parse({"fault": "bandwidth", "bytes_per_s": 9, "proxy": "db"})) is LINE_FAULTS["bandwidth"]
    plan = harness.fault("latency", proxy="db", delay_s=0.5, from_s=1)
    assert (plan.spec, plan.from_s) == ({"fault": "latency", "proxy": "db", "delay_s": 0.5}, 1)
    armed = ArmedFaults(0, {"openai": ()}, lambda event: None)
    with pytest.raises(FaultError, match="Give it to the supervisor"):
        armed.arm(parse(plan.spec), 0)
