"""The run directory: what a run leaves on disk, written as it falls and read again at will.

    runs/<time>-<name>/
        plan.json                     Plan; written before anything is started
        campaign.jsonl                Moment: what the campaign did, and when; what a live display follows
        locust.* supervisor.log       what the harness's own processes printed
        scenarios/<scenario>/
            scenario.json             PlannedScenario, as played
            phases.jsonl              PhaseWindow, one line as each phase ends
            samples.jsonl             Sample            (client)
            ledger.jsonl              Call | Generation (upstream)
            planned.jsonl             FaultEvent        (what the campaign armed, and under which id)
            faults.jsonl              FaultEvent        (upstream, model and network faults)
            callers.jsonl             FaultEvent        (what callers did wrong on purpose)
            events.jsonl              FaultEvent        (process faults, and what became of the target's process)
            telemetry.jsonl           TelemetryPoint    (process)
            machine.jsonl             MachinePoint      (what else the machine was busy with)
            target.jsonl              LogLine           (process)
            judgement.json            Judgement
            ended.json                Ended: how it ended, how many callers were to arrive, how much was recorded

A missing file of the ledger or of telemetry is a missing vantage, an empty one is a vantage that saw nothing. The last
line of a file may have been cut by a kill or a full disk: it is dropped, any other malformed line is an error.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from harness.model import (
    Call,
    FaultEvent,
    Generation,
    Judgement,
    LedgerEntry,
    LoadPlan,
    LogLine,
    MachinePoint,
    Phase,
    PhaseWindow,
    Plan,
    PlannedScenario,
    Sample,
    Scenario,
    Size,
    TelemetryPoint,
    Vantage,
)

PLAN = "plan.json"
CAMPAIGN = "campaign.jsonl"
SCENARIO = "scenario.json"
PHASES = "phases.jsonl"
SAMPLES = "samples.jsonl"
LEDGER = "ledger.jsonl"
PLANNED = "planned.jsonl"
FAULTS = "faults.jsonl"
CALLERS = "callers.jsonl"
EVENTS = "events.jsonl"
TELEMETRY = "telemetry.jsonl"
MACHINE = "machine.jsonl"
TARGET_LOG = "target.jsonl"
JUDGEMENT = "judgement.json"
ENDED = "ended.json"

_R = TypeVar("_R")


class EvidenceError(Exception):
    """A run directory cannot be read or written; the message says which file, and what to do."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How the playing of a scenario ended."""

    how: Literal["complete", "interrupted", "broken"]
    reason: str = ""
    scheduled: int | None = None
    """How many callers were to arrive; each has to be found among the samples."""
    sealed: dict[str, int] | None = None
    """How many bytes each file of records held when it ended. Target and upstreams may live on until the next scenario,
    and what they recorded a moment before may still be in a buffer: what reaches a file after this is no evidence, so
    that a run judged again tomorrow is judged by what it was judged by today."""


@dataclass(frozen=True)
class Evidence:
    """All records of one scenario's run. What a check is given.

    A vantage that was missing is None, which is something else than one that saw nothing (an empty tuple).
    """

    name: str
    scenario: Scenario
    size: Size
    seed: int
    deadline_s: float
    declared: dict[str, float]
    phases: tuple[PhaseWindow, ...]
    samples: tuple[Sample, ...]
    ledger: tuple[LedgerEntry, ...] | None
    telemetry: tuple[TelemetryPoint, ...] | None
    log_lines: tuple[LogLine, ...] | None
    faults: tuple[FaultEvent, ...]
    ended: Ended = field(default_factory=lambda: Ended(how="complete"))
    machine: tuple[MachinePoint, ...] | None = None
    """Not a vantage of its own: nothing is concluded from it but that service may not be concluded upon."""
    load: tuple[LoadPlan, ...] = ()
    """Who was to call: it tells a population that never came from one that was never meant to."""

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The ledger's calls in the order of their sequence numbers; empty where the vantage is missing."""
        return tuple(entry for entry in self.ledger or () if isinstance(entry, Call))

    @cached_property
    def generations(self) -> tuple[Generation, ...]:
        """The ledger's generation states in the order of their sequence numbers."""
        return tuple(entry for entry in self.ledger or () if isinstance(entry, Generation))

    @cached_property
    def vantages(self) -> tuple[Vantage, ...]:
        """The vantages that are present."""
        present: list[Vantage] = ["client"]
        if self.ledger is not None:
            present.append("upstream")
        if self.telemetry is not None:
            present.append("process")
        return tuple(present)

    def window(self, *phases: Phase) -> tuple[int, int] | None:
        """Return (begin_ns, end_ns) that spans the named phases, None where none of them was played."""
        windows = [window for window in self.phases if window.phase in phases]
        if not windows:
            return None
        return min(window.begin_ns for window in windows), max(window.end_ns for window in windows)


def read_jsonl(path: Path, record: type[_R] | Any, size: int | None = None) -> list[_R]:
    """Read a file of JSON lines.

    Args:
        path: the file.
        record: the type (or union of tagged types) of every line.
        size: how many bytes of it count; None for all there are.

    Returns:
        The records. A last line without a line end is dropped: it was being written when the writer was killed.

    Raises:
        EvidenceError: the file cannot be read, or a line that is whole is not such a record.
    """
    decoder = msgspec.json.Decoder(record)
    records: list[_R] = []
    read = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                read += len(line)
                if not line.endswith(b"\n") or (size is not None and read > size):
                    break
                try:
                    records.append(decoder.decode(line))
                except msgspec.DecodeError as error:
                    msg = f"{path}, line {number}: {error}. Was it edited, or written by another version?"
                    raise EvidenceError(msg) from error
    except OSError as error:
        msg = f"Cannot read {path}: {error.strerror or error}."
        raise EvidenceError(msg) from error
    return records


def read_json(path: Path, record: type[_R]) -> _R:
    """Read one record; raises EvidenceError where the file is missing or malformed."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=record)
    except FileNotFoundError as error:
        msg = f"{path} is missing: {path.parent} is not a run directory, or the run was stopped before it was written."
        raise EvidenceError(msg) from error
    except (msgspec.DecodeError, OSError) as error:
        msg = f"{path}: {error}. Was it edited, or written by another version?"
        raise EvidenceError(msg) from error


def write_json(path: Path, record: Any) -> None:
    """Write one record, whole or not at all.

    Raises:
        EvidenceError: the directory cannot be written, or the disk is full.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        msg = f"Cannot write {path}: {error.strerror or error}. Free the disk, or choose another place."
        raise EvidenceError(msg) from error


class JsonLinesWriter:
    """Appends records to a file. Buffered; `flush` makes what was added readable by others.

    Raises EvidenceError where the file cannot be written, once; what follows is dropped and counted in `dropped`:
    a full disk ends a run in an orderly way instead of in the middle of a request.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._encoder = msgspec.json.Encoder()
        self._failed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=1 << 16)
        except OSError as error:
            raise self._error(error) from error

    def add(self, record: Any) -> None:
        """Append one record."""
        self.add_lines(self._encoder.encode(record) + b"\n")

    def add_lines(self, lines: bytes) -> None:
        """Append records that are encoded already, each with its line end."""
        if self._failed:
            self.dropped += lines.count(b"\n")
            return
        try:
            self._file.write(lines)
        except OSError as error:
            self._failed = True
            self.dropped += lines.count(b"\n")
            raise self._error(error) from error

    def flush(self) -> None:
        """Hand what was added to the operating system."""
        if self._failed:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._failed = True
            raise self._error(error) from error

    def close(self) -> None:
        """Flush and close. Closing twice is fine."""
        if self._file.closed:
            return
        try:
            self._file.close()
        except OSError as error:
            # What was buffered when the disk filled up is tried again here; it was reported already.
            if not self._failed:
                self._failed = True
                raise self._error(error) from error

    def _error(self, error: OSError) -> EvidenceError:
        return EvidenceError(
            f"Cannot write {self.path}: {error.strerror or error}. Free the disk, or choose another place."
        )


def scenario_directory(run: Path, scenario: str) -> Path:
    """Return where the records of `scenario` are kept in the run directory `run`."""
    return run / "scenarios" / scenario


def new_run_directory(runs: Path, name: str) -> Path:
    """Make a run directory of its own below `runs`, named after the time and `name`.

    Raises:
        EvidenceError: it cannot be made.
    """
    slug = "".join(char if char.isalnum() else "-" for char in name.lower()).strip("-") or "run"
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = runs / f"{stamp}-{slug}"
    try:
        runs.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path = runs / f"{stamp}-{slug}-{secrets.token_hex(2)}"
        path.mkdir()
    except OSError as error:
        msg = f"Cannot make the run directory {path}: {error.strerror or error}. Choose another place with --runs."
        raise EvidenceError(msg) from error
    return path


def read_plan(run: Path) -> Plan:
    """Read the plan of a run; raises EvidenceError where `run` is not a run directory."""
    return read_json(run / PLAN, Plan)


def read_evidence(run: Path, plan: Plan, scenario: str) -> Evidence:
    """Read all records of one scenario of a run.

    Raises:
        EvidenceError: a file is malformed, or the scenario is not in the plan.
    """
    planned = next((one for one in plan.scenarios if one.name == scenario), None)
    if planned is None:
        msg = f"{run / PLAN} has no scenario {scenario!r}; it has {', '.join(one.name for one in plan.scenarios)}."
        raise EvidenceError(msg)
    directory = scenario_directory(run, scenario)

    ended = (
        read_json(directory / ENDED, Ended)
        if (directory / ENDED).exists()
        else Ended(how="broken", reason="the run was stopped before the scenario had ended")
    )

    def optional(name: str, record: Any) -> tuple[Any, ...] | None:
        path = directory / name
        if not path.exists() or (ended.sealed is not None and name not in ended.sealed):
            return None
        return tuple(read_jsonl(path, record, None if ended.sealed is None else ended.sealed[name]))

    faults = [event for name in (PLANNED, FAULTS, CALLERS, EVENTS) for event in optional(name, FaultEvent) or ()]
    samples = optional(SAMPLES, Sample) or ()
    return Evidence(
        name=scenario,
        scenario=planned.declaration,
        size=plan.size,
        seed=plan.seed,
        deadline_s=plan.deadline_s,
        declared=plan.declared,
        phases=optional(PHASES, PhaseWindow) or (),
        samples=tuple(sorted(samples, key=lambda one: (one.intended_ns, one.callers, one.ordinal, one.turn, one.copy))),
        ledger=optional(LEDGER, LedgerEntry),
        telemetry=optional(TELEMETRY, TelemetryPoint),
        log_lines=optional(TARGET_LOG, LogLine),
        machine=optional(MACHINE, MachinePoint),
        faults=tuple(sorted(faults, key=lambda event: event.at_ns)),
        ended=ended,
        load=planned.load,
    )


def seal(directory: Path, ended: Ended) -> None:
    """Close the evidence of a scenario: write how it ended, and how much had been recorded by then.

    Raises:
        EvidenceError: the directory cannot be read or written.
    """
    try:
        sealed = {path.name: path.stat().st_size for path in sorted(directory.glob("*.jsonl"))}
    except OSError as error:
        msg = f"Cannot read {directory}: {error.strerror or error}."
        raise EvidenceError(msg) from error
    write_json(directory / ENDED, msgspec.structs.replace(ended, sealed=sealed))


def read_judgement(run: Path, scenario: str) -> Judgement | None:
    """Return the stored judgement of a scenario, None where it was not judged."""
    path = scenario_directory(run, scenario) / JUDGEMENT
    return read_json(path, Judgement) if path.exists() else None


def run_directories(path: Path) -> Iterator[Path]:
    """Yield the run directories at `path`: itself, or those directly below it (one for each variant), by name.

    Raises:
        EvidenceError: there is none.
    """
    if (path / PLAN).exists():
        yield path
        return
    below = sorted(child for child in path.iterdir() if (child / PLAN).exists()) if path.is_dir() else []
    if not below:
        msg = (
            f"{path} holds no run: no {PLAN} in it or directly below it. `harness run` prints the directory it writes."
        )
        raise EvidenceError(msg)
    yield from sorted(below, key=lambda child: read_plan(child).monotonic_anchor_ns)


__all__ = [
    "CALLERS",
    "CAMPAIGN",
    "ENDED",
    "EVENTS",
    "FAULTS",
    "JUDGEMENT",
    "LEDGER",
    "MACHINE",
    "PHASES",
    "PLAN",
    "PLANNED",
    "SAMPLES",
    "SCENARIO",
    "TARGET_LOG",
    "TELEMETRY",
    "Ended",
    "Evidence",
    "EvidenceError",
    "JsonLinesWriter",
    "PlannedScenario",
    "new_run_directory",
    "read_evidence",
    "read_json",
    "read_jsonl",
    "read_judgement",
    "read_plan",
    "run_directories",
    "scenario_directory",
    "seal",
    "write_json",
]
