"""What is a check, which are there, and how is one run?

    CheckError              a scenario names a check or a limit that does not exist, or gives a limit a wrong value

A check is a pure function of evidence, in the file of its subject in this package:

    @check(vantages=("upstream",), question="Did conversations stay bounded?")
    def live_conversations_bounded(evidence: Evidence, *, at_most: Amount) -> Finding:
        ...
        return failed(expected="at most 40 live conversations", observed="312 live conversations", evidence=lines)

Its keyword arguments are its limits; their annotations say what a scenario may write there. Adding a function adds a
check: nothing is listed. A limit may be given as "declared:NAME", the figure that the target declares of itself.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import pkgutil
import traceback
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Concatenate, Final, Literal, ParamSpec

import msgspec

from harness.evidence import Evidence
from harness.model import CheckPlan, Finding, Vantage, Verdict

_P = ParamSpec("_P")
_Function = Callable[Concatenate[Evidence, _P], Finding]

_MARKER: Final = "__check__"
_DECLARED: Final = "declared:"
_BROUGHT_BY: Final[dict[Vantage, str]] = {
    "client": "it is brought by samples.jsonl of the run",
    "upstream": "it is brought by `--upstreams URL`, with the target's upstreams pointed at the bundled ones",
    "process": "the harness has to start the target itself: `--target` with a [start] section and no `--host`; or it"
    " has to be told where the target can be watched: `--pid` or `--metrics-url`",
}


class CheckError(ValueError):
    """A scenario asks for a check in a way that cannot be; the message says what would be right."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: what it needs to see, what it asks, which limits it takes."""

    name: str
    vantages: tuple[Vantage, ...]
    question: str
    implicit: bool
    """True for those of validity: judged in every scenario, named in none."""
    service: bool = False
    """True where it judges how callers were served, which a steady state that was broken already spoils; False where it
    counts what must never be, whatever went before."""
    foundation: bool = False
    """True for one of validity without which nothing can be said against the quality of service."""
    only_takes_back: bool = False
    """True for a foundation whose absence speaks against no target that held: it only takes back a fail."""
    function: Callable[..., Finding]

    @functools.cached_property
    def limits(self) -> dict[str, inspect.Parameter]:
        """The limits that a scenario may give, by name."""
        parameters = inspect.signature(self.function).parameters.values()
        return {one.name: one for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}

    @functools.cached_property
    def types(self) -> dict[str, Any]:
        """What each limit may be."""
        hints = typing.get_type_hints(self.function, include_extras=True)
        return {name: hints[name] for name in self.limits}

    @property
    def defaults(self) -> dict[str, Any]:
        """The limits that need not be given."""
        return {name: one.default for name, one in self.limits.items() if one.default is not one.empty}


def check(
    *,
    vantages: tuple[Vantage, ...],
    question: str,
    implicit: bool = False,
    service: bool = False,
    foundation: bool = False,
    only_takes_back: bool = False,
) -> Callable[[_Function[_P]], _Function[_P]]:
    """Make a check of a function `(evidence, *, limits) -> Finding`.

    Args:
        vantages: what it needs to see; where one is missing it is not asked, and inconclusive.
        question: what it asks, in a few words, for the table.
        implicit: it is asked of every scenario.
        service: it judges how callers were served: its fail needs a steady state that held to compare with.
        foundation: where it does not pass, a fail of a `service` check says nothing.
        only_takes_back: where it does not pass and nothing failed for it, it passes nevertheless.
    """

    def decorate(function: _Function[_P]) -> _Function[_P]:
        @functools.wraps(function)
        def named(evidence: Evidence, /, *args: _P.args, **limits: _P.kwargs) -> Finding:
            finding = function(evidence, *args, **limits)
            return msgspec.structs.replace(
                finding, check=record.name, vantages=vantages, question=question, limits=record.defaults | limits
            )

        record = Check(
            name=function.__name__,
            vantages=vantages,
            question=question,
            implicit=implicit,
            service=service,
            foundation=foundation,
            only_takes_back=only_takes_back,
            function=named,
        )
        setattr(named, _MARKER, record)
        return named

    return decorate


def passed(*, expected: str, observed: str, counted: str = "", evidence: tuple[str, ...] = ()) -> Finding:
    """Return the finding that what was observed is what was expected."""
    return _finding(Verdict.PASS, expected=expected, observed=observed, counted=counted, evidence=evidence)


def failed(*, expected: str, observed: str, counted: str = "", evidence: tuple[str, ...] = ()) -> Finding:
    """Return the finding that what was observed is not what was expected."""
    return _finding(Verdict.FAIL, expected=expected, observed=observed, counted=counted, evidence=evidence)


def inconclusive(
    *, expected: str, observed: str, reason: str, counted: str = "", evidence: tuple[str, ...] = ()
) -> Finding:
    """Return the finding that what was observed does not answer the question, because of `reason`."""
    return _finding(
        Verdict.INCONCLUSIVE, expected=expected, observed=observed, reason=reason, counted=counted, evidence=evidence
    )


def _finding(verdict: Verdict, **said: Any) -> Finding:
    # The decorator fills in who asked; a check says only what it saw.
    return Finding(check="", vantages=(), question="", verdict=verdict, **said)


def collect(modules: Iterable[ModuleType]) -> dict[str, Check]:
    """Return the checks that are defined in the modules, by name.

    Raises:
        CheckError: two have the same name.
    """
    found: dict[str, Check] = {}
    for module in modules:
        for function in vars(module).values():
            record = getattr(function, _MARKER, None)
            if not isinstance(record, Check) or record.function.__module__ != module.__name__:
                continue
            if record.name in found:
                other = found[record.name].function.__module__
                msg = f"Two checks are called {record.name!r}, in {other} and {module.__name__}: rename one of them."
                raise CheckError(msg)
            found[record.name] = record
    return found


@functools.cache
def catalog() -> Mapping[str, Check]:
    """Return all checks of this package by name, in the order of their files and of their definition."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return collect(importlib.import_module(f"{__name__}.{name}") for name in names)


def implicit_checks() -> tuple[Check, ...]:
    """Return the checks that are asked of every scenario."""
    return tuple(record for record in catalog().values() if record.implicit)


def validate(plan: CheckPlan) -> None:
    """Refuse a plan that could not be run, when its scenario is read.

    Raises:
        CheckError: no such check or limit, a limit is missing, or its value is of the wrong kind.
    """
    record = catalog().get(plan.name)
    if record is None:
        raise CheckError(_unknown(f"There is no check {plan.name!r}", plan.name, catalog(), "the checks are"))
    for limit in plan.limits:
        if limit not in record.limits:
            msg = _unknown(f"The check {plan.name!r} has no limit {limit!r}", limit, record.limits, "its limits are")
            raise CheckError(msg)
    missing = [name for name in record.limits if name not in record.defaults and name not in plan.limits]
    if missing:
        msg = f"The check {plan.name!r} needs {' and '.join(missing)}: add {missing[0]}=... to harness.check(...)."
        raise CheckError(msg)
    for limit, value in plan.limits.items():
        # Whether the target declares the figure is known only when it is judged.
        _converted(record, limit, 1 if _declared_name(value) else value)


def run(plan: CheckPlan, evidence: Evidence) -> Finding:
    """Ask one check of the evidence.

    Returns:
        What it found, with the plan's reason for its limit. Inconclusive where a vantage or a declared figure is
        missing; an error where the plan cannot be run, or, with the traceback, where the check itself breaks.
    """
    return msgspec.structs.replace(_run(plan, evidence), because=plan.because)


def _run(plan: CheckPlan, evidence: Evidence) -> Finding:
    try:
        validate(plan)
    except CheckError as error:
        return _not_asked(plan, Verdict.ERROR, f"{error} Was the run recorded by another version?")
    record = catalog()[plan.name]
    absent = [vantage for vantage in record.vantages if vantage not in evidence.vantages]
    if absent:
        reason = "; ".join(f"the {one} vantage is missing: {_BROUGHT_BY[one]}" for one in absent)
        return _not_asked(plan, Verdict.INCONCLUSIVE, reason)
    names = sorted({name for value in plan.limits.values() if (name := _declared_name(value))})
    for name in names:
        if name not in evidence.declared:
            reason = (
                f"the target does not declare {name}: add `{name} = <number>` under [declares] in its target.toml,"
                " and give that file with --target"
            )
            return _not_asked(plan, Verdict.INCONCLUSIVE, reason)
    try:
        limits = {
            limit: _converted(record, limit, _resolved(value, evidence.declared))
            for limit, value in plan.limits.items()
        }
    except CheckError as error:
        return _not_asked(plan, Verdict.ERROR, str(error))
    try:
        finding = record.function(evidence, **limits)
    except Exception as error:
        reason = f"{plan.name} broke with {type(error).__name__}: {error}. This is a mistake of the check."
        return msgspec.structs.replace(
            _not_asked(plan, Verdict.ERROR, reason),
            observed="nothing: the check broke",
            traceback=traceback.format_exc(),
        )
    if names:
        source = f"{finding.expected} (the target declares {', '.join(names)})"
        finding = msgspec.structs.replace(finding, expected=source)
    return finding


def _not_asked(plan: CheckPlan, verdict: Verdict, reason: str) -> Finding:
    record = catalog().get(plan.name)
    return Finding(
        check=plan.name,
        limits=plan.limits,
        verdict=verdict,
        vantages=record.vantages if record else (),
        question=record.question if record else plan.name,
        expected=", ".join(f"{name} = {value}" for name, value in plan.limits.items()) or "what it asks to hold",
        observed="nothing: it was not judged",
        reason=reason,
    )


def _declared_name(value: object) -> str | None:
    return value.removeprefix(_DECLARED) if isinstance(value, str) and value.startswith(_DECLARED) else None


def _resolved(value: Any, declared: Mapping[str, float]) -> Any:
    name = _declared_name(value)
    if name is None:
        return value
    number = declared[name]
    return int(number) if float(number).is_integer() else number


def _converted(record: Check, limit: str, value: Any) -> Any:
    try:
        return msgspec.convert(value, record.types[limit], str_keys=True)
    except msgspec.ValidationError as error:
        words = _words(record.types[limit])
        choice = f"; it is made of {', '.join(words)}" if words else ""
        msg = f"The limit {limit!r} of the check {record.name!r} cannot be {value!r}: {error}{choice}."
        raise CheckError(msg) from error


def _words(hint: Any) -> list[str]:
    """Return the words that a limit may be made of, where its type names them."""
    if typing.get_origin(hint) is Literal:
        return [str(word) for word in typing.get_args(hint)]
    if inspect.isclass(hint) and hasattr(hint, "__members__"):
        return [str(member) for member in hint.__members__.values()]
    return [word for inner in typing.get_args(hint) if inner is not Ellipsis for word in _words(inner)]


def _unknown(complaint: str, name: str, known: Iterable[str], otherwise: str) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"{complaint}; did you mean {close[0]!r}?"
    return f"{complaint}; {otherwise} {', '.join(names)}." if names else f"{complaint}; it takes none."


__all__ = [
    "Check",
    "CheckError",
    "catalog",
    "check",
    "collect",
    "failed",
    "implicit_checks",
    "inconclusive",
    "passed",
    "run",
    "validate",
]
