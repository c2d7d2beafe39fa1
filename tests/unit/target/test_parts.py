"""Is it read rightly what a target's parts are there for, and is every mistake in it one sentence?"""

from __future__ import annotations

import tomllib

import pytest

from harness.target import Shown, Target, TargetError, parse_target, shown

WHOLE = """
[start]
command = ["agent"]
[variants.good]
expect = "pass"
expect_scenarios = { flood = "pass" }
[ablation]
variant = "good"
engine_switch = "ENGINE"
engines = ["threads", "chat"]
[parts.door]
switch = "DOOR"
weaker.none.flood = "masked by cutter"
[parts.cutter]
switch = "CUTTER"
engines = ["threads"]
weaker.none = { flood = "red by characters_bounded", drought = "red" }
weaker.clumsy = {}
"""


def parsed(text: str) -> Target:
    return parse_target(tomllib.loads(text), "target.toml")


def test_a_whole_file() -> None:
    target = parsed(WHOLE)
    assert target.ablation is not None
    assert (target.ablation.variant, target.ablation.engines[0]) == ("good", "threads")
    assert target.parts["cutter"].engines == ("threads",)
    assert target.parts["cutter"].weaker["clumsy"] == {}
    target.check_names(["flood", "drought"], ["characters_bounded"])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("red", Shown(colour="red")),
        ("red by characters_bounded", Shown(colour="red", by="characters_bounded")),
        ("green", Shown(colour="green")),
        ("masked by cutter", Shown(colour="masked", by="cutter")),
        ("masked", None),
        ("red by", None),
        ("red by this and that", None),
        ("green by cutter", None),
        ("", None),
    ],
)
def test_what_is_shown_is_read_to_the_letter(text: str, read: Shown | None) -> None:
    assert shown(text) == read


MISTAKES = {
    ("[parts.door]", "[part.door]"): "unknown key 'part': expected one of",
    ('[ablation]\nvariant = "good"', "[ablation]"): "ablation.variant is missing: expected a text in quotes",
    ('variant = "good"', 'variant = "god"'): "ablation.variant is \"god\": expected one of good. Did you mean 'good'?",
    ('engine_switch = "ENGINE"', ""): "ablation.engines and ablation.engine_switch go together",
    ('switch = "DOOR"', ""): "parts.door.switch is missing",
    ('switch = "DOOR"', 'swich = "DOOR"'): "unknown key 'parts.door.swich': expected one of switch, engines, weaker in"
    " [parts.door]. Did you mean 'switch'?",
    ('switch = "DOOR"', 'switch = "A B"'): 'parts.door.switch is "A B": expected the name of an environment variable.',
    ('switch = "DOOR"', 'switch = "CUTTER"'): 'parts.cutter.switch is "CUTTER", and so is parts.door.switch',
    ('engines = ["threads"]', 'engines = ["thread"]'): 'parts.cutter.engines has "thread": expected some of'
    " ablation.engines, threads, chat. Did you mean 'threads'?",
    ("weaker.none.flood", "weaker.none.flood.x"): "parts.door.weaker.none.flood is a table: expected a text in quotes",
    ('weaker.none.flood = "masked by cutter"', "weaker = {}"): "parts.door.weaker is empty: expected at least one",
    ('"red"', '"rot"'): 'parts.cutter.weaker.none.drought is "rot": expected "red", "red by CHECK"',
    ("masked by cutter", "masked by cuter"): 'parts.door.weaker.none.flood is "masked by cuter", but there is no'
    " [parts.cuter]. Did you mean 'cutter'?",
    ("masked by cutter", "masked by door"): 'parts.door.weaker.none.flood is "masked by door": a part cannot mask',
    ('[start]\ncommand = ["agent"]', ""): "[parts] has no effect without [start]",
}


@pytest.mark.parametrize(("change", "sentence"), MISTAKES.items())
def test_a_mistake_is_one_sentence(change: tuple[str, str], sentence: str) -> None:
    assert WHOLE.count(change[0]) == 1
    with pytest.raises(TargetError) as caught:
        parsed(WHOLE.replace(*change))
    assert str(caught.value).startswith(f"target.toml: {sentence}")
    assert "\n" not in str(caught.value)


def test_parts_and_ablation_go_together() -> None:
    alone, parts = WHOLE.split("[parts.door]")
    with pytest.raises(TargetError, match=r"\[ablation\] has no effect without \[parts\]"):
        parsed(alone)
    before, _ = alone.split("[ablation]")
    with pytest.raises(TargetError, match=r"\[parts\] has no effect without \[ablation\]"):
        parsed(f"{before}[parts.door]{parts}".replace('engines = ["threads"]', ""))


@pytest.mark.parametrize(
    ("scenarios", "checks", "sentence"),
    [
        (
            ["floods", "drought"],
            ["characters_bounded"],
            "variants.good.expect_scenarios: there is no scenario 'flood'.",
        ),
        (["flood", "droughts"], ["characters_bounded"], "parts.cutter.weaker.none.drought: there is no scenario"),
        (["flood", "drought"], ["character_bounded"], 'parts.cutter.weaker.none.flood is "red by characters_bounded":'),
    ],
)
def test_names_that_nothing_has_are_found(scenarios: list[str], checks: list[str], sentence: str) -> None:
    with pytest.raises(TargetError, match="Did you mean") as caught:
        parsed(WHOLE).check_names(scenarios, checks)
    assert str(caught.value).startswith(f"target.toml: {sentence}")
