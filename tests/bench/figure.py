"""What does a benchmark give back? One table, with what is needed to read it rightly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

Cell = str | int | float | None
Row = tuple[Cell, ...]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of one benchmark."""

    question: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What was measured how, and how far it can be trusted; printed below the table."""


@dataclass(frozen=True)
class Bench:
    """What a benchmark is given.

    Args:
        directory: where it may leave its raw data; exists.
        short: True for a try that shows that everything works; its figures are not to be quoted.
    """

    directory: Path
    short: bool

    def pick(self, full: float, short: float) -> float:
        """Return the one of two durations (s), rates or counts that is meant."""
        return short if self.short else full


class BenchError(Exception):
    """Something could not be measured; the message says what happened and where to look."""
