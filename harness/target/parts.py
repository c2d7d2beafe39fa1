"""What is each part of a target there for? Which scenario shows it when one is turned back to a weaker variant."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Literal

import msgspec

from harness.target.template import did_you_mean

_SHOWN = re.compile(r"(?P<green>green)|(?P<red>red)(?: by (?P<check>\S+))?|masked by (?P<part>\S+)")
_EXPECTED_SHOWN = 'expected "red", "red by CHECK", "masked by PART" or "green"'
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""How an environment variable may be called."""


class Ablation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is taken apart: one variant of the target, of which one part at a time is turned back."""

    variant: str
    """A variant of this file, in which every scenario is green."""
    engine_switch: str | None = None
    """The environment variable that says by which of `engines` the target reaches its model."""
    engines: tuple[str, ...] = ()
    """Its values. The first is the one on which parts are turned back: it needs them all."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One part of the target that can be turned back."""

    switch: str
    """The environment variable that turns it back; its value is the name of the weaker variant."""
    engines: tuple[str, ...] = ()
    """The engines for which it matters; none named: all of them."""
    weaker: dict[str, dict[str, str]]
    """By weaker variant, by scenario, what is then to be seen (see `shown`); a scenario that is not named is green."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What one scenario shows of a target with one part turned back."""

    colour: Literal["red", "green", "masked"]
    """masked: green, because another part hides the hole; with that part turned back as well it is red."""
    by: str = ""
    """red: the check that fails; empty: any. masked: the part that hides it."""


def shown(text: str) -> Shown | None:
    """Read `red`, `red by CHECK`, `masked by PART` or `green`; None: it is none of these."""
    match = _SHOWN.fullmatch(text)
    if match is None:
        return None
    if match["part"]:
        return Shown(colour="masked", by=match["part"])
    return Shown(colour="red", by=match["check"] or "") if match["red"] else Shown(colour="green")


def problems(ablation: Ablation | None, parts: Mapping[str, Part], variants: Collection[str]) -> Iterator[str]:
    """Yield what makes no sense in [ablation] and [parts], one sentence each."""
    if ablation is None:
        if parts:
            yield "[parts] has no effect without [ablation]: expected ablation.variant, the variant that has them all."
        return
    if not parts:
        yield "[ablation] has no effect without [parts]: expected at least one [parts.NAME]."
    if ablation.variant not in variants:
        yield (
            f'ablation.variant is "{ablation.variant}": expected one of {_either(variants)}.'
            f"{did_you_mean(ablation.variant, variants)}"
        )
    if bool(ablation.engines) != (ablation.engine_switch is not None):
        yield "ablation.engines and ablation.engine_switch go together: expected both or neither."
    switches = {"ablation.engine_switch": ablation.engine_switch} if ablation.engine_switch is not None else {}
    switches |= {f"parts.{name}.switch": part.switch for name, part in parts.items()}
    yield from _switch_problems(switches)
    for name, part in parts.items():
        for engine in part.engines:
            if engine not in ablation.engines:
                yield (
                    f'parts.{name}.engines has "{engine}": expected some of ablation.engines,'
                    f" {_either(ablation.engines)}."
                    f"{did_you_mean(engine, ablation.engines)}"
                )
        if not part.weaker:
            yield f"parts.{name}.weaker is empty: expected at least one weaker variant, e.g. weaker.documented = {{}}."
        for variant, scenarios in part.weaker.items():
            for scenario, text in scenarios.items():
                yield from _shown_problems(f"parts.{name}.weaker.{variant}.{scenario}", text, name, parts)


def _switch_problems(switches: Mapping[str, str]) -> Iterator[str]:
    taken: dict[str, str] = {}
    for key, switch in switches.items():
        if not VARIABLE.fullmatch(switch):
            yield f'{key} is "{switch}": expected the name of an environment variable.'
        if switch in taken:
            yield f'{key} is "{switch}", and so is {taken[switch]}: every part needs a switch of its own.'
        taken[switch] = key


def _shown_problems(key: str, text: str, name: str, parts: Mapping[str, Part]) -> Iterator[str]:
    read = shown(text)
    if read is None:
        yield f'{key} is "{text}": {_EXPECTED_SHOWN}.'
    elif read.colour == "masked" and read.by == name:
        yield f'{key} is "{text}": a part cannot mask itself; expected another one.'
    elif read.colour == "masked" and read.by not in parts:
        others = [other for other in parts if other != name]
        yield f'{key} is "{text}", but there is no [parts.{read.by}].{did_you_mean(read.by, others)}'


def strangers(parts: Mapping[str, Part], scenarios: Collection[str], checks: Collection[str]) -> Iterator[str]:
    """Yield which scenarios and checks are named by [parts] and do not exist, one sentence each.

    Args:
        parts: of a target that makes sense otherwise.
        scenarios: names of those that there are.
        checks: likewise.
    """
    for name, part in parts.items():
        for variant, told in part.weaker.items():
            for scenario, text in told.items():
                key = f"parts.{name}.weaker.{variant}.{scenario}"
                if scenario not in scenarios:
                    yield f"{key}: there is no scenario {scenario!r}.{did_you_mean(scenario, scenarios)}"
                read = shown(text)
                if read is not None and read.colour == "red" and read.by and read.by not in checks:
                    yield f'{key} is "{text}": there is no check {read.by!r}.{did_you_mean(read.by, checks)}'


def _either(names: Collection[str]) -> str:
    return ", ".join(names) if names else "(there are none)"
