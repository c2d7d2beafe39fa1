"""Faults as they are written down: read back whole, refused clearly, found by themselves."""

from __future__ import annotations

import math
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
        ({"fault": "slow", "delay_s": "1"}, "The fault `slow`: expected `float`, got `str` - at `delay_s`"),
        ({"fault": "hang", "probability": 2}, "The fault `hang`: `probability` is 2.0, expected 0 to 1."),
        ({"fault": "hang", "times": 0}, "The fault `hang`: `times` is 0, expected 1 or more, or none for always."),
        ({"fault": "status", "status": 200}, "The fault `status`: `status` is 200, expected an error from 400 to 599."),
        ({"fault": "latncy", "proxy": "db"}, "There is no fault `latncy`. Did you mean `latency`?"),
        (
            {"fault": "hang", "proxy": "db"},
            "There is no fault `hang`. Known: bandwidth, blackhole, half_open, latency, reset.",
        ),
        ({"fault": "hang", "text": ""}, "The fault `hang`: `text` is empty, expected some text, or nothing to meet "),
        ({"fault": "stuck", "caller": ""}, "The fault `stuck`: `caller` is empty, expected some text, or nothing to "),
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
        [],
    ],
)
def test_times_that_make_no_sense(spec: Any) -> None:
    with pytest.raises(FaultError, match=r"expected seconds, (0 or more|more than 0)|described by an object"):
        faults.parse_timed(spec)


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
