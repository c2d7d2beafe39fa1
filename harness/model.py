"""The nouns of the harness as frozen records: what is planned, what is recorded, what is concluded.

Imports nothing of ours; everybody may import it. Every record reads and writes as JSON (one object a line in the run
directory), and unknown fields are refused, so that a typing mistake in a file is named instead of ignored.

All times are nanoseconds of `time.monotonic_ns()` of one machine unless the name says otherwise.
"""

from __future__ import annotations

import enum
from typing import Any, Literal

import msgspec

PHASES = ("warm_up", "steady", "attack", "recovery", "drain")
"""The phases of a scenario in the order in which they are played."""

Phase = Literal["warm_up", "steady", "attack", "recovery", "drain"]
Size = Literal["quick", "full"]
Vantage = Literal["client", "upstream", "process"]
Role = Literal["real", "attacker", "probe"]


class Verdict(enum.StrEnum):
    """What is concluded from evidence. Absent evidence is `INCONCLUSIVE`, never `PASS`."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"
    ERROR = "error"


class Outcome(enum.StrEnum):
    """How one request ended, as the caller lived it."""

    ANSWERED = "answered"
    """A success by the target's own contract."""
    REFUSED = "refused"
    """A clear refusal: 4xx, above all 429."""
    CLEAR_ERROR = "clear_error"
    """An error that the target handled: a body that names it, as its contract says (also with 503 and Retry-After)."""
    OPAQUE_ERROR = "opaque_error"
    """5xx without an explanation, or a body that is not what the contract promises."""
    TIMEOUT = "timeout"
    """No complete answer before the caller's deadline."""
    DISCONNECTED = "disconnected"
    """Refused, reset, or ended before the body was whole."""
    UNSERVED = "unserved"
    """Never sent: the cap of requests in flight was reached. Counts against the target."""
    ABANDONED = "abandoned"
    """The caller hung up on purpose, or the run was interrupted; counts for and against nobody."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Parent of every record."""


# --- planned -----------------------------------------------------------------------------------------------------


class Durations(Record, frozen=True, kw_only=True):
    """How long the phases of a scenario last, in seconds. The drain ends early when nothing is in flight."""

    warm_up_s: float
    steady_s: float
    attack_s: float
    recovery_s: float
    drain_s: float


class ConstantRate(Record, frozen=True, kw_only=True, tag="constant"):
    """Open-model arrivals at equal distances.

    Args:
        per_s: arrivals a second, above 0.
        full_per_s: the same at the documented size (`--full`); None means the same rate.
        during: the phases in which callers arrive.
    """

    per_s: float
    full_per_s: float | None = None
    during: tuple[Phase, ...] = ("warm_up", "steady", "attack", "recovery")


class Poisson(Record, frozen=True, kw_only=True, tag="poisson"):
    """Open-model arrivals with exponential gaps: what independent people do. Fields as in `ConstantRate`."""

    per_s: float
    full_per_s: float | None = None
    during: tuple[Phase, ...] = ("warm_up", "steady", "attack", "recovery")


Arrivals = ConstantRate | Poisson


class FaultPlan(Record, frozen=True, kw_only=True):
    """One fault that a scenario plays. Written in a scenario with `harness.fault(...)`.

    `spec` is what the control API of the upstreams (or of the supervisor, for process faults) is given:
    `{"fault": <name>, **fields}`.
    """

    spec: dict[str, Any]
    full: dict[str, Any] = {}
    """Fields of the spec that are different at the documented size (`--full`)."""
    during: tuple[Phase, ...] = ("attack",)
    from_s: float = 0.0
    """Seconds after the beginning of the first of its phases."""
    for_s: float | None = None
    """Seconds that it lasts; None: to the end of the last of its phases."""
    must_fire: bool = True
    """False for a hazard: a weakness that is only lying in wait, whose firing is itself the failure."""
    because: str = ""


class CheckPlan(Record, frozen=True, kw_only=True):
    """One check with its limits, by name. Written in a scenario with `harness.check(...)`."""

    name: str
    limits: dict[str, Any]
    because: str
    """Why this limit and no other; it is shown beside the finding."""


class Scenario(Record, frozen=True, kw_only=True):
    """One documented attack or failure: who calls and how, what breaks, what must still hold. Data only."""

    title: str
    category: Literal["attack", "bug", "outage", "production"]
    severity: Literal["critical", "major", "minor", "ungraded"]
    repair_phase: Literal[1, 2, 3] | None = None
    """The phase of the documented order of repair in which its defence comes; None where it names none."""
    story: str
    """What goes wrong, in one or two sentences."""
    claim: str
    """What must hold for a pass, in one sentence."""
    quick: Durations
    full: Durations
    faults: tuple[FaultPlan, ...] = ()
    checks: tuple[CheckPlan, ...]
    max_in_flight: int = 400
    """Requests that may be under way at once; an arrival beyond it is recorded as unserved."""
    not_played: str = ""
    """What the quick size leaves out of the documented one; shown beside every finding of a quick run."""
    destructive: bool = False
    """True when a target that is not restarted may stay broken: played last where nothing can be restarted."""


class LoadPlan(Record, frozen=True, kw_only=True):
    """One population of callers of a scenario, read from a Callers class of its file."""

    callers: str
    """Name of the class."""
    role: Role
    arrivals: Arrivals


class PlannedScenario(Record, frozen=True, kw_only=True):
    """A scenario as it is played: its declaration, its callers, where it was read from."""

    name: str
    path: str
    declaration: Scenario
    load: tuple[LoadPlan, ...]


class Plan(Record, frozen=True, kw_only=True):
    """What a run is going to do. Written before anything is started."""

    run_id: str
    seed: int
    size: Size
    target_name: str
    variant: str | None
    host: str | None
    scenarios: tuple[PlannedScenario, ...]
    declared: dict[str, float]
    """What the target declares of itself, by name, for this size (see `target.toml`)."""
    deadline_s: float
    """When a caller gives up."""
    expect: Verdict | None
    """What the target file says every scenario must show under this variant; None: nothing is said."""
    expect_scenarios: dict[str, Verdict] = {}
    """Exceptions to `expect`, by scenario."""
    versions: dict[str, str]
    git_revision: str | None
    wall_clock_anchor: str
    """ISO 8601 time that was read together with `monotonic_anchor_ns`."""
    monotonic_anchor_ns: int
    command: tuple[str, ...]


# --- recorded ----------------------------------------------------------------------------------------------------


class PhaseWindow(Record, frozen=True, kw_only=True):
    """When a phase really began and ended."""

    phase: Phase
    begin_ns: int
    end_ns: int


class Sample(Record, frozen=True, kw_only=True):
    """One request, as its caller lived it."""

    callers: str
    """The class of callers it came from."""
    role: Role
    task: str
    ordinal: int
    """Number of the arrival within its class, from 0."""
    turn: int = 0
    """Number of the request within the arrival, from 0."""
    copy: int = 0
    """1 for the second one where a caller sent the same request twice: the same caller's, and the same question."""
    fault: str | None = None
    """Name of what its caller did wrong with it on purpose, once that was done."""
    phase: Phase
    """The phase in which it was due."""
    user_id: str
    mark: str | None = None
    """What its text carries so that the ledger can name it; None where the payload had to be exact to the letter."""
    intended_ns: int
    """When the schedule wanted it sent. Latency counts from here."""
    sent_ns: int | None = None
    first_byte_ns: int | None = None
    end_ns: int
    outcome: Outcome
    status: int | None = None
    error: str = ""
    message: str = ""
    """The first 200 characters of what was said."""
    message_chars: int = 0
    reply: str = ""
    """The first 200 characters of the reply text."""
    reply_chars: int = 0
    audio_bytes: int = 0
    audio_s: float = 0.0
    """Length of the audio, 0 where there is none that a player opens."""

    @property
    def latency_s(self) -> float:
        """Seconds from the intended start to the end: what the caller waited, coordinated omission corrected."""
        return (self.end_ns - self.intended_ns) / 1e9

    @property
    def service_s(self) -> float:
        """Seconds from sending to the end; 0 when it was never sent."""
        return 0.0 if self.sent_ns is None else (self.end_ns - self.sent_ns) / 1e9

    @property
    def dispatch_lag_s(self) -> float:
        """Seconds by which the generator was late; 0 when it was never sent."""
        return 0.0 if self.sent_ns is None else (self.sent_ns - self.intended_ns) / 1e9


class ToolCall(Record, frozen=True, kw_only=True):
    """One tool that the model asked for."""

    id: str
    name: str
    arguments: str


class Call(Record, frozen=True, kw_only=True, tag="call"):
    """One call that the target made to an upstream."""

    seq: int
    upstream: str
    """openai, tts, emotion, weather, news, fortune, time, ..."""
    route: str
    """Method and path template, e.g. `POST /v1/threads/{thread_id}/runs`."""
    path: str
    begin_ns: int
    end_ns: int
    status: int | None
    """None when no status was sent (hang, reset, refused)."""
    mark: str | None = None
    turn: str | None = None
    """Names the turn of a user that it belongs to: by the mark in what the user said, else by conversation and number;
    else, where a request brings its history along, by the first tool call in it since the user's latest message. None
    where the call tells nothing of that."""
    conversation: str | None = None
    generation: str | None = None
    tool: str | None = None
    caller: str | None = None
    model: str | None = None
    text: str = ""
    """The first 500 characters of the text that was to be processed (a message, what to speak, what to analyse)."""
    characters: int = 0
    """Length of that text, in code points."""
    request_bytes: int = 0
    response_bytes: int = 0
    body_hash: str = ""
    """Hash of the request body: two equal ones within a turn are one call that was tried again."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    earlier_answers: int | None = None
    """How many of its earlier answers the model was given to go on from; None where no model was asked."""
    fault: str | None = None
    """Name of the fault that was applied."""
    client_gone: bool = False
    """The target hung up before the answer was whole."""
    unexpected: bool = False
    """Nothing was there to answer it."""
    error: str = ""
    """The error message that was answered."""


GenerationState = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "cancelling",
    "cancelled",
    "completed",
    "failed",
    "incomplete",
    "expired",
]
OPEN_STATES: frozenset[str] = frozenset({"queued", "in_progress", "requires_action", "cancelling"})
"""States in which a generation still costs money or blocks its conversation."""


class Generation(Record, frozen=True, kw_only=True, tag="generation"):
    """A generation (an Assistants run, a response, a chat completion) entered a state."""

    seq: int
    at_ns: int
    id: str
    conversation: str | None = None
    state: GenerationState
    mark: str | None = None
    turn: str | None = None
    """As a call's; what begins with tools is named by its own first tool call."""
    model: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    """What it asked for, in the state requires_action; of a response or a chat completion, in the state completed."""


LedgerEntry = Call | Generation


NEVER_FIRED = "never fired"
"""The detail of a fault that is over and met nothing: whatever was to be shown by it has not been shown."""


class FaultEvent(Record, frozen=True, kw_only=True):
    """Something was broken, or broke: on the same timeline as the traffic."""

    at_ns: int
    fault: str
    id: str
    """Names the planned fault, so that one that never fired is visible."""
    event: Literal["planned", "armed", "fired", "lifted", "exited", "oom", "started", "ready", "killed", "stopped"]
    family: Literal["upstream", "model", "network", "process", "caller"]
    where: str = ""
    detail: str = ""
    must_fire: bool = True


class TelemetryPoint(Record, frozen=True, kw_only=True):
    """The target's process tree at one moment."""

    at_ns: int
    replica: int = 0
    rss_bytes: int
    cpu_s: float
    """CPU seconds used since the process started, user and system, the whole tree."""
    threads: int | None = None
    """None where nobody told."""
    open_files: int | None = None
    processes: int = 1
    health_ms: float | None = None
    """How long the health endpoint took; None where it was not asked or did not answer."""
    health_status: int | None = None


class MachinePoint(Record, frozen=True, kw_only=True):
    """What the machine's CPUs had done until one moment, and what of it was the run's own."""

    at_ns: int
    cpus: int
    busy_s: float
    """CPU seconds used by everybody, what a hypervisor took away included; counted from any beginning."""
    own_s: float
    """CPU seconds used by the run: load, supervisor, upstreams, target, judging; counted from any beginning."""


class LogLine(Record, frozen=True, kw_only=True):
    """One line that the target wrote."""

    at_ns: int
    replica: int = 0
    stream: Literal["stdout", "stderr"]
    text: str


class Moment(Record, frozen=True, kw_only=True):
    """What the campaign did at one moment: what a live display follows."""

    at_ns: int
    what: Literal["preparing", "playing", "phase", "progress", "ended", "judged", "finished"]
    scenario: str = ""
    phase: Phase | None = None
    sent: int = 0
    answered: int = 0
    in_flight: int = 0
    scheduled: int = 0
    duration_s: float = 0.0
    """How long the scenario lasts at most, without its drain."""
    verdict: Verdict | None = None
    text: str = ""


# --- concluded ---------------------------------------------------------------------------------------------------


class Finding(Record, frozen=True, kw_only=True):
    """What one check observed, against what it expected."""

    check: str
    limits: dict[str, Any] = {}
    verdict: Verdict
    vantages: tuple[Vantage, ...]
    question: str
    """What was asked, in a few words, for the table."""
    expected: str
    observed: str
    because: str = ""
    """Why this limit."""
    reason: str = ""
    """Why it is inconclusive or an error."""
    counted: str = ""
    """What was counted, and what was not."""
    evidence: tuple[str, ...] = ()
    """Lines of the ledger, samples, log lines that show it (at most 20)."""
    traceback: str = ""


class Judgement(Record, frozen=True, kw_only=True):
    """The findings of one scenario and what they add up to."""

    scenario: str
    title: str
    verdict: Verdict
    summary: str
    """The one sentence that a reader should see first: the worst finding."""
    findings: tuple[Finding, ...]
    replay: str
    """The command that plays it again."""
    vantages: tuple[Vantage, ...] = ()
