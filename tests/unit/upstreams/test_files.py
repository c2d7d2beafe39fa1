"""What a team brings along in files: rules for the model, upstreams of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.faults import parse
from harness.upstreams.described import DescriptionError, read_description
from harness.upstreams.epoch import Epoch, EpochSettings, Extras
from harness.upstreams.script import ScriptError, model_with, read_script
from harness.upstreams.thought import Ask, Said, ToolResult
from tests.unit.upstreams.conftest import Caller

SCRIPT = """
[[rule]]
says = "order (\\\\d+)"
offers = "lookup_order"
call = [{ name = "lookup_order", arguments = { order_id = "{1}", deep = ["{0}", 1] } }]

[[rule]]
after = "lookup_order"
say = "It is {output}."

[[rule]]
says = "^ping$"
say = "pong {unknown}"

[[rule]]
says = "refund"
call = [{ name = "refund" }]
"""
TOOLS = (
    {"name": "lookup_order", "description": "", "parameters": {}},
    {
        "name": "refund",
        "description": "",
        "parameters": {"properties": {"reason": {"type": "string"}}, "required": ["reason"]},
    },
)


def script(tmp_path: Path, text: str = SCRIPT) -> Any:
    file = tmp_path / "script.toml"
    file.write_text(text, encoding="utf-8")
    return read_script(file)


def ask(text: str, **fields: Any) -> Ask:
    return Ask(seed=1, subject="s", messages=(Said("user", text),), **({"tools": TOOLS} | fields))


def test_rules_go_before_what_the_model_does_by_itself(tmp_path: Path) -> None:
    think = model_with(script(tmp_path))
    (wanted,) = think(ask("where is order 42?")).tool_calls
    assert wanted.name == "lookup_order"
    assert json.loads(wanted.arguments) == {"order_id": "42", "deep": ["order 42", 1]}
    result = ToolResult("lookup_order", wanted.arguments, "on its way")
    assert think(ask("where is order 42?", results=(result,))).text == "It is on its way."
    assert think(ask("ping")).text == "pong {unknown}"
    assert think(ask("refund please")).tool_calls[0].arguments == '{"reason":"reason-s"}'
    assert think(ask("where is order 42?", tools=())).text
    assert think(ask("hello")).text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule]]\nsay = 'x'", "a rule needs `says`, `offers` or `after`"),
        ("[[rule]]\nsays = 'x'", "a rule needs either `call` or `say`"),
        ("[[rule]]\nsays = '('\nsay = 'x'", "`says` is no regular expression"),
        ("[[rule]]\nsasy = 'x'", "unknown field `sasy`"),
        ("[[rule", "A rule has `says`"),
    ],
)
def test_mistakes_in_a_script_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScriptError) as caught:
        script(tmp_path, text)
    assert said in str(caught.value)
    with pytest.raises(ScriptError, match="Cannot read the script"):
        read_script(tmp_path / "nowhere.toml")


DESCRIPTION = """
name = "orders"

[[route]]
route = "GET /orders/{order_id}"
takes_s = 0.2
answer = { id = "{order_id}", of = "{user}", lines = [{ n = 1 }] }

[[route]]
route = "POST /orders"
status = 201
text = "created {what}"
"""


def orders(tmp_path: Path, **settings: Any) -> Caller:
    file = tmp_path / "orders.toml"
    file.write_text(DESCRIPTION, encoding="utf-8")
    return Caller(Epoch(EpochSettings(**settings), extras=Extras(described=(read_description(file),))))


def test_an_upstream_of_ones_own(tmp_path: Path) -> None:
    caller = orders(tmp_path, latency_scale=0.5)
    answer = caller.call("orders", "GET", "/orders/7", query="user=tanaka")
    assert answer.json == {"id": "7", "of": "tanaka", "lines": [{"n": 1}]}
    assert answer.waited_s == pytest.approx(0.1)
    created = caller.call("orders", "POST", "/orders", {"what": "tea #haaaaaaaa"})
    assert (created.status, created.body) == (201, b"created tea #haaaaaaaa")
    first, second = caller.epoch.ledger.calls
    assert (first.route, second.mark) == ("GET /orders/{order_id}", "#haaaaaaaa")
    assert caller.call("orders", "GET", "/nothing").status == 404
    caller.epoch.faults.arm(parse({"fault": "status", "upstream": "orders", "status": 503}), 0)
    assert caller.call("orders", "GET", "/orders/7").json == {"error": "error 503"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = 'Orders'\nroute = []", "`name` is 'Orders'"),
        ("name = 'x'\n[[route]]\nroute = '/x'", 'expected e.g. "GET /orders/{order_id}"'),
        ("name = 'x'", "missing required field `route`"),
        ("name = 'x'\n[[route]]\nroute = 'GET /'\ntakes_s = -1", "`takes_s` is -1"),
        ("name = 'x'\n[[route]]\nroute = 'GET /'\nstatus = 9999", "`status` is 9999, expected 200 to 599"),
    ],
)
def test_mistakes_in_a_description_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text)
    with pytest.raises(DescriptionError) as caught:
        read_description(file)
    assert said in str(caught.value)


def test_two_upstreams_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text("name = 'weather'\n[[route]]\nroute = 'GET /'\ntext = 'x'")
    with pytest.raises(DescriptionError, match="two upstreams called 'weather'"):
        Epoch(EpochSettings(), extras=Extras(described=(read_description(file),)))
