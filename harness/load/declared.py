"""What a scenario file declares, and whether it keeps the rules: read from its module."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from harness.campaign import fault_window, phase_offsets
from harness.faults import CallerFault, parse
from harness.load.callers import Attackers, Callers, Probes, RealUsers
from harness.model import LoadPlan, PlannedScenario, Scenario

_PARENTS = (Callers, RealUsers, Attackers, Probes)


class ScenarioFileError(Exception):
    """A scenario file does not keep the rules; the message names the file and the rule."""


def callers_of(module: ModuleType) -> list[type[Callers]]:
    """Return the classes of callers that a scenario file defines, in its order."""
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Callers) and value not in _PARENTS and not value.abstract
    ]


def planned(module: ModuleType) -> PlannedScenario:
    """Return what a scenario file's module declares.

    Raises:
        ScenarioFileError: there is not exactly one Scenario, there are no callers, or a class of callers lacks
            something.
    """
    path = Path(inspect.getfile(module))
    declarations = [value for value in vars(module).values() if isinstance(value, Scenario)]
    if len(declarations) != 1:
        msg = f"{path} declares {len(declarations)} scenarios; a scenario file has exactly one `Scenario(...)`."
        raise ScenarioFileError(msg)
    classes = callers_of(module)
    if not any(one.role == "real" for one in classes):
        msg = f"{path} has no real users: define a class that subclasses RealUsers, beside whatever attacks."
        raise ScenarioFileError(msg)
    for one in classes:
        if not one.tasks:
            msg = f"{path}: {one.__name__} has no task: decorate a method of it with @task."
            raise ScenarioFileError(msg)
        if any(inspect.isclass(task) for task in one.tasks):
            msg = f"{path}: {one.__name__} has a TaskSet; an arrival is one task, decorate methods with @task instead."
            raise ScenarioFileError(msg)
        if getattr(one, "arrivals", None) is None:
            msg = f"{path}: {one.__name__} says not how often callers arrive; give it `arrivals = Poisson(per_s=...)`."
            raise ScenarioFileError(msg)
    for problem in _fault_problems(declarations[0], classes):
        raise ScenarioFileError(f"{path}: {problem}")
    return PlannedScenario(
        name=path.stem,
        path=str(path),
        declaration=declarations[0],
        load=tuple(LoadPlan(callers=one.__name__, role=one.role, arrivals=one.arrivals) for one in classes),
    )


def _fault_problems(scenario: Scenario, classes: list[type[Callers]]) -> Iterator[str]:
    """Yield what is wrong with faults that would meet nobody, or nothing."""
    names, roles = [one.__name__ for one in classes], sorted({one.role for one in classes})
    for plan in scenario.faults:
        fault = parse(plan.spec)
        for size, durations in (("quick", scenario.quick), ("full", scenario.full)):
            begin_s, end_s = fault_window(plan, phase_offsets(durations))
            if begin_s >= end_s:
                yield (
                    f"at {size} size, the fault {fault.name} would never be armed: `from_s` is {plan.from_s:g},"
                    f" and {' and '.join(plan.during)} last {end_s - begin_s + plan.from_s:g} s."
                )
        if not isinstance(fault, CallerFault):
            continue
        if fault.callers is not None and fault.callers not in names:
            yield f"the fault {fault.name} is for the callers {fault.callers!r}; there are {', '.join(names)}."
        if fault.role is not None and fault.role not in roles:
            yield f"the fault {fault.name} is for the role {fault.role!r}; the callers here are {', '.join(roles)}."


def played(classes: Iterable[type]) -> Mapping[str, tuple[PlannedScenario, list[type[Callers]]]]:
    """Return the scenarios whose classes Locust was asked to run, by name, in the order of severity of aftermath.

    A scenario of which one class was picked is played whole: its verdict needs all of them. Destructive ones come last.

    Raises:
        ScenarioFileError: a file does not keep the rules, or a class belongs to none.
    """
    modules: dict[str, ModuleType] = {}
    for one in classes:
        if not issubclass(one, Callers):
            msg = f"{inspect.getfile(one)}: {one.__name__} is no class of callers; subclass RealUsers or Attackers."
            raise ScenarioFileError(msg)
        modules.setdefault(one.__module__, sys.modules[one.__module__])
    scenarios = [(planned(module), callers_of(module)) for module in modules.values()]
    scenarios.sort(key=lambda pair: (pair[0].declaration.destructive, pair[0].name))
    return {pair[0].name: pair for pair in scenarios}
