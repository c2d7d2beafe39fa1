"""What is the model to do with a team's own tools? Rules from a file: what is said or offered -> tools or text.

    [[rule]]
    says = "order (\\\\d+)"          # a regular expression found in the user's latest message
    offers = "lookup_order"        # only where this tool is offered
    call = [{ name = "lookup_order", arguments = { order_id = "{1}" } }]

    [[rule]]
    after = "lookup_order"         # the latest result is that of this tool
    say = "Your order is {output}."

The first rule that matches decides; where none does, the scripted model does as usual. `{0}` is the whole match, `{1}`
its first group, `{output}` the latest result. A tool without arguments gets those that its schema asks for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from harness.upstreams import scripted_model
from harness.upstreams.thought import Ask, Thought, WantedTool

_compiled = lru_cache(maxsize=1024)(re.compile)
"""What `re.search` does too, in Python: tried at every turn of the model, rule by rule."""


class ScriptError(ValueError):
    """A script cannot be read; the message says which file and rule, and what was expected."""


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool that a rule asks for."""

    name: str
    arguments: dict[str, Any] | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule."""

    says: str | None = None
    offers: str | None = None
    after: str | None = None
    call: tuple[ScriptedCall, ...] = ()
    say: str | None = None

    def __post_init__(self) -> None:
        if self.says is None and self.offers is None and self.after is None:
            msg = "a rule needs `says`, `offers` or `after`: without, it would match everything"
            raise ValueError(msg)
        if bool(self.call) == (self.say is not None):
            msg = "a rule needs either `call` or `say`"
            raise ValueError(msg)
        try:
            re.compile(self.says or "")
        except re.error as error:
            msg = f"`says` is no regular expression: {error}"
            raise ValueError(msg) from error

    def apply(self, ask: Ask) -> Thought | None:
        """Return what the rule makes of an ask, None where it does not match."""
        found = _compiled(self.says).search(ask.said) if self.says is not None else None
        if self.says is not None and found is None:
            return None
        if self.offers is not None and self.offers not in ask.tool_names:
            return None
        latest = ask.results[-1] if ask.results else None
        # A rule that does not say `after` is about what was said, not about what came of it.
        if (latest.name if latest else None) != self.after:
            return None
        words = {"output": latest.output if latest else ""}
        if found is not None:
            words |= {str(index): text or "" for index, text in enumerate((found.group(), *found.groups()))}
        if self.say is not None:
            return Thought(text=_filled(self.say, words))
        calls = tuple(self._wanted(call, ask, words) for call in self.call if call.name in ask.tool_names)
        return Thought(tool_calls=calls) if calls else None

    @staticmethod
    def _wanted(call: ScriptedCall, ask: Ask, words: dict[str, str]) -> WantedTool:
        if call.arguments is None:
            return ask.call_of(call.name)
        return WantedTool(call.name, msgspec.json.encode(_filled(call.arguments, words)).decode())


class _Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rule: tuple[Rule, ...] = ()


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: words.get(found.group(1), found.group()), value)
    if isinstance(value, dict):
        return {name: _filled(below, words) for name, below in value.items()}
    return [_filled(below, words) for below in value] if isinstance(value, list) else value


def read_script(path: Path) -> tuple[Rule, ...]:
    """Read a script.

    Raises:
        ScriptError: the file cannot be read, or is no such script.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _Script).rule
    except OSError as error:
        msg = f"Cannot read the script {path}: {error.strerror}."
        raise ScriptError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        msg = f"The script {path}: {error}. A rule has `says`, `offers`, `after`, and `call` or `say`."
        raise ScriptError(msg) from error


def model_with(rules: tuple[Rule, ...]) -> Callable[[Ask], Thought]:
    """Return the scripted model with rules that go before its own."""
    if not rules:
        return scripted_model.think

    def think(ask: Ask) -> Thought:
        for rule in rules:
            thought = rule.apply(ask)
            if thought is not None:
                return thought
        return scripted_model.think(ask)

    return think
