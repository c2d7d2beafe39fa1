"""Which report formats exist, and how is a stored run written in one of them?

Every module directly in this package is a format: it offers `write(runs, path)`. There is no list to extend; what the
formats share lives in `reports.content`. A report says what the evidence says: it never judges, and it needs neither
a clock nor the network, so that the same run gives the same bytes.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from reports.content.stored import ReportError


def formats() -> tuple[str, ...]:
    """Return the names of the report formats, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg))


def write(format: str, runs: Sequence[Path], path: Path) -> None:
    """Write stored runs as a report.

    Args:
        format: name of the format, e.g. `html`; see `formats`.
        runs: run directories, one for each variant, in the order in which they are to be shown.
        path: the file to write.

    Raises:
        ReportError: there is no such format, there are no runs, or the file cannot be written.
        harness.evidence.EvidenceError: a run has no readable plan.
    """
    known = formats()
    if format not in known:
        near = difflib.get_close_matches(format, known, n=1)
        msg = f"There is no report format {format!r}; there are {', '.join(known)}." + (
            f" Did you mean {near[0]}?" if near else ""
        )
        raise ReportError(msg)
    module = importlib.import_module(f"{__name__}.{format}")
    cast("Callable[[Sequence[Path], Path], None]", module.write)(runs, path)


__all__ = ["ReportError", "formats", "write"]
