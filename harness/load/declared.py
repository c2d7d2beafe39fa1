"""What a scenario file declares: read from its module in Locust's process, or printed by a process of its own.

`python -m harness.load.declared FILE...` prints the planned scenarios as JSON; the catalogue reads it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import msgspec

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
    return PlannedScenario(
        name=path.stem,
        path=str(path),
        declaration=declarations[0],
        load=tuple(LoadPlan(callers=one.__name__, role=one.role, arrivals=one.arrivals) for one in classes),
    )


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


def main(paths: list[str]) -> int:
    """Print the planned scenarios of the files as one JSON array; return the exit code."""
    # Only here: this is the reader's own process, and Locust's loader is what will load the files in the end.
    from locust.util.load_locustfile import load_locustfile

    found: list[PlannedScenario] = []
    for path in paths:
        try:
            load_locustfile(path)
            found.append(planned(sys.modules[Path(path).stem]))
        except ScenarioFileError as error:
            print(error, file=sys.stderr)
            return 2
        except Exception as error:  # whatever a scenario file may do while it is imported
            print(f"{path} cannot be read: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
    sys.stdout.buffer.write(msgspec.json.encode(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
