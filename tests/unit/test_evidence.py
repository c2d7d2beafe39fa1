"""Is what a run writes read again as it was, and is what cannot be read or written said in one sentence?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import evidence
from harness.evidence import (
    Ended,
    EvidenceError,
    JsonLinesWriter,
    read_evidence,
    read_json,
    read_jsonl,
    read_judgement,
    read_plan,
    run_directories,
    scenario_directory,
    write_json,
)
from harness.model import (
    Call,
    ConstantRate,
    Durations,
    FaultEvent,
    Generation,
    Judgement,
    LedgerEntry,
    LoadPlan,
    LogLine,
    MachinePoint,
    Outcome,
    PhaseWindow,
    Plan,
    PlannedScenario,
    Sample,
    Scenario,
    TelemetryPoint,
    ToolCall,
    Verdict,
)

NOW_NS = 5_000_000_000
DURATIONS = Durations(warm_up_s=1, steady_s=4, attack_s=6, recovery_s=4, drain_s=2)
PLANNED = PlannedScenario(
    name="thread_bombing",
    path="scenarios/thread_bombing.py",
    declaration=Scenario(
        title="Thread bombing",
        category="attack",
        severity="critical",
        story="Ids pile up.",
        claim="Conversations stay bounded.",
        quick=DURATIONS,
        full=DURATIONS,
        checks=(),
    ),
    load=(LoadPlan(callers="Bombers", role="attacker", arrivals=ConstantRate(per_s=25)),),
)
PLAN = Plan(
    run_id="r1",
    seed=7,
    size="quick",
    target_name="agent",
    variant="documented",
    host=None,
    scenarios=(PLANNED,),
    declared={"live_conversations": 40.0},
    deadline_s=5.0,
    expect=None,
    versions={},
    git_revision=None,
    wall_clock_anchor="2026-11-22T15:00:00Z",
    monotonic_anchor_ns=1,
    command=("locust",),
)
SAMPLES = [
    Sample(
        callers="Bombers",
        role="attacker",
        task="bomb",
        ordinal=ordinal,
        phase="attack",
        user_id=f"attacker_{ordinal}",
        intended_ns=NOW_NS - ordinal,
        sent_ns=NOW_NS,
        end_ns=NOW_NS + 10,
        outcome=Outcome.ANSWERED,
        message="こんにちは🔥",
    )
    for ordinal in range(3)
]
LEDGER = [
    Call(seq=1, upstream="openai", route="POST /v1/threads", path="/v1/threads", begin_ns=1, end_ns=2, status=None),
    Generation(
        seq=2,
        at_ns=3,
        id="run_1",
        state="requires_action",
        tool_calls=(ToolCall(id="c1", name="get_time", arguments="{}"),),
    ),
]
RECORDS = {
    evidence.PHASES: [PhaseWindow(phase="attack", begin_ns=NOW_NS, end_ns=NOW_NS + 1)],
    evidence.SAMPLES: SAMPLES,
    evidence.LEDGER: LEDGER,
    evidence.PLANNED: [FaultEvent(at_ns=1, fault="hang", id="f1", event="planned", family="upstream")],
    evidence.FAULTS: [FaultEvent(at_ns=3, fault="hang", id="f1", event="fired", family="upstream")],
    evidence.EVENTS: [FaultEvent(at_ns=2, fault="", id="", event="ready", family="process")],
    evidence.TELEMETRY: [TelemetryPoint(at_ns=1, rss_bytes=1, cpu_s=0.1, threads=1, open_files=1)],
    evidence.MACHINE: [MachinePoint(at_ns=1, cpus=2, busy_s=7.5, own_s=1.25)],
    evidence.TARGET_LOG: [LogLine(at_ns=1, stream="stdout", text="ready")],
}


def write_lines(path: Path, records) -> None:
    writer = JsonLinesWriter(path)
    for record in records:
        writer.add(record)
    writer.close()


@pytest.fixture
def run(tmp_path):
    """A run directory with everything in it."""
    write_json(tmp_path / evidence.PLAN, PLAN)
    directory = scenario_directory(tmp_path, "thread_bombing")
    for name, records in RECORDS.items():
        write_lines(directory / name, records)
    write_json(directory / evidence.ENDED, Ended(how="complete"))
    return tmp_path


# --- reading what was written


def test_round_trip(run):
    assert read_plan(run) == PLAN
    recorded = read_evidence(run, PLAN, "thread_bombing")
    assert recorded.samples == tuple(reversed(SAMPLES))  # in the order of their intended start
    assert recorded.ledger == tuple(LEDGER)
    assert recorded.calls == (LEDGER[0],)
    assert recorded.generations == (LEDGER[1],)
    assert [event.event for event in recorded.faults] == ["planned", "ready", "fired"]
    assert recorded.telemetry == tuple(RECORDS[evidence.TELEMETRY])
    assert recorded.machine == tuple(RECORDS[evidence.MACHINE])
    assert recorded.log_lines == tuple(RECORDS[evidence.TARGET_LOG])
    assert recorded.phases == tuple(RECORDS[evidence.PHASES])
    assert recorded.load == PLANNED.load
    assert recorded.ended == Ended(how="complete")
    assert recorded.vantages == ("client", "upstream", "process")
    assert recorded.declared == {"live_conversations": 40.0}


def test_a_missing_file_is_a_missing_vantage_and_an_empty_one_is_not(run):
    directory = scenario_directory(run, "thread_bombing")
    (directory / evidence.LEDGER).unlink()
    (directory / evidence.TELEMETRY).write_bytes(b"")
    recorded = read_evidence(run, PLAN, "thread_bombing")
    assert recorded.ledger is None
    assert recorded.calls == ()
    assert recorded.telemetry == ()
    assert recorded.vantages == ("client", "process")


def test_a_scenario_that_was_never_played_is_broken_and_holds_nothing(tmp_path):
    recorded = read_evidence(tmp_path, PLAN, "thread_bombing")
    assert recorded.ended.how == "broken"
    assert recorded.samples == ()
    assert recorded.window("attack") is None
    assert recorded.vantages == ("client",)


def test_a_scenario_that_is_not_planned_is_named(tmp_path):
    with pytest.raises(EvidenceError, match=r"has no scenario 'bombing'; it has thread_bombing\."):
        read_evidence(tmp_path, PLAN, "bombing")


def test_windows_span_their_phases(run):
    recorded = read_evidence(run, PLAN, "thread_bombing")
    assert recorded.window("attack", "recovery") == (NOW_NS, NOW_NS + 1)
    assert recorded.window("drain") is None


def test_a_last_line_that_was_cut_is_dropped(run):
    path = scenario_directory(run, "thread_bombing") / evidence.LEDGER
    whole = path.read_bytes()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        path.write_bytes(whole[:-cut])
        assert read_jsonl(path, LedgerEntry) == LEDGER[:1]


@pytest.mark.parametrize("line", [b"{}", b'{"type":"call"', b"\xff\xfe", b"", b'{"type":"nothing"}'])
def test_any_other_malformed_line_is_an_error_that_names_it(run, line):
    path = scenario_directory(run, "thread_bombing") / evidence.LEDGER
    path.write_bytes(line + b"\n" + path.read_bytes())
    with pytest.raises(EvidenceError, match=r"ledger\.jsonl, line 1: .*Was it edited, or written by another version\?"):
        read_evidence(run, PLAN, "thread_bombing")


def test_an_unknown_field_is_refused(tmp_path):
    path = tmp_path / "phases.jsonl"
    path.write_text('{"phase":"attack","begin_ns":1,"end_ns":2,"ended_ns":3}\n')
    with pytest.raises(EvidenceError, match="ended_ns"):
        read_jsonl(path, PhaseWindow)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(EvidenceError, match=r"Cannot read .*: Is a directory"):
        read_jsonl(tmp_path, PhaseWindow)
    with pytest.raises(EvidenceError, match="Is a directory"):
        read_json(tmp_path, Plan)


def test_what_is_no_run_directory_is_told(tmp_path):
    with pytest.raises(EvidenceError, match="is not a run directory"):
        read_plan(tmp_path)
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EvidenceError, match="holds no run"):
            list(run_directories(path))


def test_runs_below_a_directory_come_in_the_order_in_which_they_were_played(tmp_path):
    later = Plan(**{name: getattr(PLAN, name) for name in PLAN.__struct_fields__} | {"monotonic_anchor_ns": 2})
    write_json(tmp_path / "documented" / evidence.PLAN, later)
    write_json(tmp_path / "hardened" / evidence.PLAN, PLAN)
    assert [path.name for path in run_directories(tmp_path)] == ["hardened", "documented"]
    assert list(run_directories(tmp_path / "hardened")) == [tmp_path / "hardened"]


def test_a_stored_judgement_is_read_again(run):
    judgement = Judgement(
        scenario="thread_bombing", title="", verdict=Verdict.FAIL, summary="", findings=(), replay="harness run"
    )
    assert read_judgement(run, "thread_bombing") is None
    write_json(scenario_directory(run, "thread_bombing") / evidence.JUDGEMENT, judgement)
    assert read_judgement(run, "thread_bombing") == judgement


# --- disks that are full, directories that cannot be written

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")


@needs_full
def test_a_full_disk_is_told_once_and_the_rest_is_counted():
    writer = JsonLinesWriter(FULL)
    writer.add(SAMPLES[0])
    with pytest.raises(EvidenceError, match=r"Cannot write /dev/full: No space left on device\. Free the disk"):
        writer.flush()
    for sample in SAMPLES:
        writer.add(sample)
    writer.flush()
    writer.close()
    writer.close()
    assert writer.dropped == 3


@needs_full
def test_a_disk_that_fills_up_while_writing_is_told():
    writer = JsonLinesWriter(FULL)
    larger_than_the_buffer = b'{"message":"' + b"x" * (1 << 17) + b'"}\n'
    with pytest.raises(EvidenceError, match="No space left on device"):
        writer.add_lines(larger_than_the_buffer)
    assert writer.dropped == 1
    writer.add(SAMPLES[0])
    writer.close()
    assert writer.dropped == 2


@needs_full
def test_a_disk_that_is_found_full_when_closing_is_told():
    writer = JsonLinesWriter(FULL)
    writer.add(SAMPLES[0])
    with pytest.raises(EvidenceError, match="No space left on device"):
        writer.close()
    writer.close()


@pytest.mark.parametrize("write", [lambda path: JsonLinesWriter(path), lambda path: write_json(path, PLAN)])
def test_a_place_that_cannot_be_written_is_told(tmp_path, write):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EvidenceError, match=r"Cannot write .*plan\.json: .*choose another place"):
        write(tmp_path / "file" / "plan.json")


def test_a_record_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "plan.json"
    write_json(path, PLAN)
    before = path.read_bytes()

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EvidenceError, match="No space left on device"):
        write_json(path, PLAN)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_flushed_is_readable_while_the_writer_goes_on(tmp_path):
    path = tmp_path / "samples.jsonl"
    writer = JsonLinesWriter(path)
    writer.add(SAMPLES[0])
    assert read_jsonl(path, Sample) == []
    writer.flush()
    writer.add(SAMPLES[1])
    assert read_jsonl(path, Sample) == SAMPLES[:1]
    writer.close()
    assert read_jsonl(path, Sample) == SAMPLES[:2]


def test_what_reaches_a_file_after_the_end_is_no_evidence(tmp_path: Path) -> None:
    name = PLAN.scenarios[0].name
    directory = scenario_directory(tmp_path, name)
    writer = JsonLinesWriter(directory / evidence.TELEMETRY)

    def point(at_ns: int) -> TelemetryPoint:
        return TelemetryPoint(at_ns=at_ns, rss_bytes=1, cpu_s=0, threads=1, open_files=1)

    writer.add(point(400))
    writer.flush()
    writer.add(point(500))  # in time, but still in the buffer when the scenario is judged
    evidence.seal(directory, Ended(how="complete", scheduled=3))
    judged = read_evidence(tmp_path, PLAN, name)
    writer.add(point(600))
    writer.close()
    JsonLinesWriter(directory / evidence.LEDGER).close()

    again = read_evidence(tmp_path, PLAN, name)

    assert [one.at_ns for one in again.telemetry or ()] == [400]
    assert again == judged
    assert again.ledger is None, "a vantage that came after the end was missing"
    assert (again.ended.how, again.ended.scheduled) == ("complete", 3)


def test_a_line_that_was_being_written_at_the_end_is_no_evidence(tmp_path: Path) -> None:
    name = PLAN.scenarios[0].name
    directory = scenario_directory(tmp_path, name)
    line = msgspec.json.encode(TelemetryPoint(at_ns=1, rss_bytes=1, cpu_s=0, threads=1, open_files=1)) + b"\n"
    directory.mkdir(parents=True)
    (directory / evidence.TELEMETRY).write_bytes(line + line[:10])
    evidence.seal(directory, Ended(how="complete"))
    (directory / evidence.TELEMETRY).write_bytes(line + line)

    assert len(read_evidence(tmp_path, PLAN, name).telemetry or ()) == 1
