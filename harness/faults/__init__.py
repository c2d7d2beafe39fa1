"""Every way to break an upstream, the model, the network, a process or the callers: one file each, found by itself."""

from __future__ import annotations

import difflib
import importlib
import json
import math
import pkgutil
import reprlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from harness.faults.fault import (
    LONGEST_S,
    CallerFault,
    Family,
    Fault,
    MatchedFault,
    ModelFault,
    NetworkFault,
    ProcessFault,
    UpstreamFault,
)
from harness.faults.manner import AS_USUAL, Manner

if TYPE_CHECKING:
    from harness.proxy.faults import LineFault

__all__ = [
    "AS_USUAL",
    "CallerFault",
    "Family",
    "Fault",
    "FaultError",
    "Manner",
    "MatchedFault",
    "ModelFault",
    "NetworkFault",
    "ProcessFault",
    "TimedFault",
    "UpstreamFault",
    "catalogue",
    "parse",
    "parse_timed",
    "parse_timed_json",
]


class FaultError(ValueError):
    """A fault was described wrongly; the message says what was expected."""


@cache
def catalogue() -> Mapping[str, type[Fault]]:
    """Return every fault's class by name, in alphabetical order.

    Raises:
        RuntimeError: two files define a fault of the same name.
    """
    found: dict[str, type[Fault]] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for thing in vars(loaded).values():
            if not (isinstance(thing, type) and issubclass(thing, Fault) and thing.__module__ == loaded.__name__):
                continue
            if loaded.__name__ == Fault.__module__:
                continue
            name = str(thing.__struct_config__.tag)
            if name in found:
                msg = f"The fault {name!r} is defined twice: in {found[name].__module__} and in {thing.__module__}."
                raise RuntimeError(msg)
            found[name] = thing
    return dict(sorted(found.items()))


class TimedFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault and when it is in force."""

    fault: Fault
    from_s: float = 0.0
    """Seconds from now."""
    for_s: float | None = None
    """Seconds that it stays in force; None: until it is lifted."""

    def __post_init__(self) -> None:
        if not (_is_figure(self.from_s) and self.from_s >= 0):
            msg = f"`from_s` is {self.from_s!r}, expected seconds, 0 or more."
            raise FaultError(msg)
        if self.for_s is not None and not (_is_figure(self.for_s) and self.for_s > 0):
            msg = f"`for_s` is {self.for_s!r}, expected seconds, more than 0; without it, it stays until it is lifted."
            raise FaultError(msg)
        for name in ("from_s", "for_s"):
            seconds = getattr(self, name)
            if seconds is not None and seconds > LONGEST_S:
                msg = f"`{name}` is {seconds:g}, expected seconds, at most {LONGEST_S:g}: no run lasts longer."
                raise FaultError(msg)


def _is_figure(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)


def parse_timed(spec: Mapping[str, Any], known: Mapping[str, type[Fault]] | None = None) -> TimedFault:
    """Return the fault that a description names, and when: `{"fault": ..., "from_s": 5, "for_s": 10, ...}`.

    Args:
        spec: as for `parse`, and the times.
        known: as for `parse`.

    Raises:
        FaultError: as `parse`, or the times make no sense.
    """
    if not isinstance(spec, Mapping):
        return TimedFault(fault=parse(spec, known))
    times = {name: spec[name] for name in ("from_s", "for_s") if spec.get(name) is not None}
    fields = {name: value for name, value in spec.items() if name not in ("from_s", "for_s")}
    return TimedFault(fault=parse(fields, known), **times)


def parse_timed_json(text: str, known: Mapping[str, type[Fault]] | None = None) -> TimedFault:
    """Return the fault that a JSON text describes, as the command line has it, and when.

    Args:
        text: the text.
        known: as for `parse`.

    Raises:
        FaultError: as `parse_timed`, or it is no JSON.
    """
    try:
        spec = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        msg = f"{reprlib.repr(text)} is no JSON ({error}); expected e.g. '{_example(known)}'."
        raise FaultError(msg) from error
    return parse_timed(spec, known)


def _example(known: Mapping[str, type[Fault]] | None) -> str:
    if known is not None and "latency" in known:
        return '{"fault": "latency", "delay_s": 0.3}'
    return '{"fault": "hang", "upstream": "openai"}'


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean `{near[0]}`?" if near else ""


def _of_a_line() -> Mapping[str, type[LineFault]]:
    # Their names are partly those of the upstreams' faults, which do the same to one answer.
    from harness.proxy.faults import LINE_FAULTS

    return LINE_FAULTS


def parse(spec: Mapping[str, Any], known: Mapping[str, type[Fault]] | None = None) -> Fault:
    """Return the fault that a description names.

    Args:
        spec: `{"fault": <name>, **fields}`, as scenario files, the command line and the control API write it.
        known: the faults to choose from, by name; None: the catalogue, or, where a `proxy` is named, those of a line.

    Returns:
        The record.

    Raises:
        FaultError: there is no such fault, no such field, or a value makes no sense. One sentence, naming the nearest
            and what was expected.
    """
    if not isinstance(spec, Mapping):
        msg = f"A fault is described by an object such as {_example(known)}, not by {reprlib.repr(spec)}."
        raise FaultError(msg)
    is_of_an_upstream = known is None and "proxy" not in spec
    if known is None:
        known = catalogue() if is_of_an_upstream else _of_a_line()
    name = spec.get("fault")
    if not isinstance(name, str):
        msg = f'The description has no fault\'s name: expected "fault": one of {", ".join(known)}.'
        raise FaultError(msg)
    if name not in known and is_of_an_upstream and name in _of_a_line():
        msg = (
            f"`{name}` is a fault of a line: it wants the `proxy` in which it is to be."
            f" To an upstream's answers, `{_of_a_line()[name].to_answers}` does the same."
        )
        raise FaultError(msg)
    if name not in known:
        near = _nearest(name, list(known))
        msg = f"There is no fault `{name}`.{near or ' Known: ' + ', '.join(known) + '.'}"
        raise FaultError(msg)
    record = known[name]
    fields = list(record.__struct_fields__)
    for field in spec:
        if field != "fault" and field not in fields:
            near = _nearest(field, fields)
            msg = f"The fault `{name}` has no field `{field}`.{near or ' It has: ' + ', '.join(fields) + '.'}"
            raise FaultError(msg)
    try:
        return msgspec.convert(dict(spec), record)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`")
        msg = f"The fault `{name}`: {reason[0].lower() + reason[1:] if not reason.startswith('`') else reason}"
        raise FaultError(msg) from error
