"""`python -m harness.load FILE...` prints what scenario files declare, as JSON: how the catalogue reads them."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from locust.util.load_locustfile import load_locustfile

from harness.load.declared import ScenarioFileError, planned
from harness.model import PlannedScenario


def main(paths: list[str]) -> int:
    """Print the planned scenarios of the files as one JSON array; return the exit code."""
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
