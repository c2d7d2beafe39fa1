"""What happens next: the conductor of a campaign, a pure state machine over scenarios and their phases.

It has no clock, no network and no Locust. A driver tells it what was seen (`Event`) and when, and carries out what it
answers (`Action`). Per scenario:

    preparing -> warm_up -> steady -> attack -> recovery -> drain -> ending -> judging
                                                                            -> preparing the next one -> ...

A scenario is judged while the next one is prepared: its evidence is sealed. The next one is played only when both are
done, so that neither takes CPU from what is measured.

Phases follow the plan's clock, not the target's: they begin when they are due, however the target fares. Only the drain
ends early, a little after the last answer.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.evidence import Ended
from harness.model import PHASES, Durations, FaultPlan, Phase, PhaseWindow, PlannedScenario, Size, Verdict

NANOSECONDS: Final = 1_000_000_000

DRAIN_MARGIN_S: Final = 1.0
"""A drain lasts at least this much longer than callers wait: who arrived last still sees the end of it."""

SETTLE_NS: Final = NANOSECONDS
"""A drain goes on for this long after the last answer: what the target does then (ending its runs, above all) belongs
to the scenario, and an agent that answers first and tidies up afterwards does nothing wrong."""

LEAD_NS: Final = 100_000_000
"""Between a target that is ready and the first arrival, so that the order to play it reaches every worker in time."""


# --- what was seen -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepared:
    """The target is ready at `host`, its upstreams and ledger are fresh where somebody can make them so."""

    host: str


@dataclass(frozen=True)
class PrepareFailed:
    """The target never became ready."""

    reason: str


@dataclass(frozen=True)
class Tick:
    """Time has passed."""

    in_flight: int


@dataclass(frozen=True)
class HasEnded:
    """Everything that was recorded of the scenario is on disk."""


@dataclass(frozen=True)
class Judged:
    """The verdict on a scenario has been reached."""

    scenario: str
    verdict: Verdict


@dataclass(frozen=True)
class Interrupt:
    """Somebody wants to stop now."""

    reason: str


Event = Prepared | PrepareFailed | Tick | HasEnded | Judged | Interrupt


# --- what is to be done ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepare:
    """Make the target fresh and ready; answer with Prepared or PrepareFailed."""

    scenario: PlannedScenario


@dataclass(frozen=True)
class Play:
    """Send the scenario's load, its schedule counted from `begin_ns`."""

    scenario: PlannedScenario
    begin_ns: int


@dataclass(frozen=True)
class Enter:
    """A phase has begun."""

    phase: Phase


@dataclass(frozen=True)
class Leave:
    """A phase has ended; to be recorded."""

    window: PhaseWindow


@dataclass(frozen=True)
class Arm:
    """Break something. `index` names the plan within the scenario."""

    index: int
    plan: FaultPlan


@dataclass(frozen=True)
class Lift:
    """Mend what was armed under `index`."""

    index: int
    plan: FaultPlan


@dataclass(frozen=True)
class End:
    """Stop what is still in flight, bring every record to disk, write how it ended; answer with HasEnded."""

    scenario: PlannedScenario
    ended: Ended


@dataclass(frozen=True)
class Judge:
    """Judge what is on disk, beside whatever else there is to do; answer with Judged."""

    scenario: PlannedScenario


@dataclass(frozen=True)
class Finish:
    """Nothing is left to do."""

    interrupted: bool
    reason: str


Action = Prepare | Play | Enter | Leave | Arm | Lift | End | Judge | Finish


class _State(enum.Enum):
    IDLE = enum.auto()
    PREPARING = enum.auto()
    PLAYING = enum.auto()
    ENDING = enum.auto()
    JUDGING = enum.auto()
    FINISHED = enum.auto()


@dataclass
class _ArmedFault:
    index: int
    plan: FaultPlan
    begin_ns: int
    end_ns: int
    armed: bool = False
    done: bool = False


class Conductor:
    """Plays scenarios one after another.

    Args:
        scenarios: in the order of play; at least one.
        size: which durations are meant.
        deadline_s: when a caller gives up; no drain is shorter.
    """

    def __init__(self, scenarios: Sequence[PlannedScenario], size: Size, deadline_s: float) -> None:
        if not scenarios:
            msg = "A campaign needs at least one scenario."
            raise ValueError(msg)
        self._scenarios = tuple(scenarios)
        self._size = size
        self._deadline_s = deadline_s
        self._quiet_since_ns: int | None = None
        self._state = _State.IDLE
        self._index = -1
        self._boundaries: dict[Phase, tuple[int, int]] = {}
        self._phase: Phase | None = None
        self._phase_began_ns = 0
        self._faults: list[_ArmedFault] = []
        self._judging: set[str] = set()
        self._is_prepared = False
        self._stop_reason: str | None = None
        self._interrupted = False
        self.verdicts: dict[str, Verdict] = {}
        """What was judged so far, by scenario."""

    @property
    def scenario(self) -> PlannedScenario:
        """The scenario that is being played."""
        return self._scenarios[self._index]

    @property
    def phase(self) -> Phase | None:
        """The phase that is being played, None between scenarios."""
        return self._phase

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self._state is _State.FINISHED

    def begin(self) -> list[Action]:
        """Return the first actions. Called once."""
        return self._next_scenario()

    def on(self, event: Event, now_ns: int) -> list[Action]:
        """Return what is to be done now that `event` was seen at `now_ns`. An event out of place changes nothing."""
        match event, self._state:
            case Interrupt(reason), _ if self._state is not _State.FINISHED:
                return self._interrupt(reason, now_ns)
            case Prepared(), _State.PREPARING:
                self._is_prepared = True
                return [] if self._judging else self._play(now_ns)
            case PrepareFailed(reason), _State.PREPARING:
                # What cannot be started for one scenario cannot be started for the next: the rest is not tried.
                self._stop_reason = reason
                self._state = _State.ENDING
                return [End(self.scenario, Ended(how="broken", reason=reason))]
            case Tick(in_flight), _State.PLAYING:
                return self._tick(in_flight, now_ns)
            case HasEnded(), _State.ENDING:
                ended = self.scenario
                self._judging.add(ended.name)
                # The judge first: it has begun when the target is started, which takes longer.
                return [Judge(ended), *self._next_scenario()]
            case Judged(scenario, verdict), _ if scenario in self._judging:
                self._judging.remove(scenario)
                self.verdicts[scenario] = verdict
                return self._is_judged(now_ns)
        return []

    def _is_judged(self, now_ns: int) -> list[Action]:
        if self._judging:
            return []
        if self._state is _State.JUDGING:
            self._state = _State.FINISHED
            return [Finish(self._interrupted, self._stop_reason or "")]
        return self._play(now_ns) if self._state is _State.PREPARING and self._is_prepared else []

    def _next_scenario(self) -> list[Action]:
        if self._stop_reason is not None or self._index + 1 == len(self._scenarios):
            self._state = _State.JUDGING
            return []
        self._index += 1
        self._state, self._is_prepared = _State.PREPARING, False
        return [Prepare(self.scenario)]

    def _play(self, now_ns: int) -> list[Action]:
        declaration = self.scenario.declaration
        durations = durations_of(declaration.quick, declaration.full, self._size)
        begin_ns = now_ns + LEAD_NS
        offsets = dict(phase_offsets(durations))
        drain_begin_s, drain_end_s = offsets["drain"]
        offsets["drain"] = (drain_begin_s, max(drain_end_s, drain_begin_s + self._deadline_s + DRAIN_MARGIN_S))

        def at_ns(window_s: tuple[float, float]) -> tuple[int, int]:
            return begin_ns + round(window_s[0] * NANOSECONDS), begin_ns + round(window_s[1] * NANOSECONDS)

        self._boundaries = {phase: at_ns(window_s) for phase, window_s in offsets.items()}
        self._quiet_since_ns = None
        self._faults = [
            _ArmedFault(index, plan, *at_ns(fault_window(plan, offsets)))
            for index, plan in enumerate(declaration.faults)
        ]
        self._state = _State.PLAYING
        self._phase = None
        return [Play(self.scenario, begin_ns)]

    def _tick(self, in_flight: int, now_ns: int) -> list[Action]:
        actions: list[Action] = []
        if self._phase is None:
            if now_ns < self._boundaries["warm_up"][0]:
                return []
            self._phase = "warm_up"
            self._phase_began_ns = now_ns
            actions.append(Enter("warm_up"))
        # Faults first: one that begins with a phase is armed before the phase is said to have begun.
        actions += self._move_faults(now_ns)
        while now_ns >= self._boundaries[self._phase][1] and self._phase != "drain":
            following: Phase = PHASES[PHASES.index(self._phase) + 1]  # type: ignore[assignment]  # PHASES are Phases
            actions += [self._leave(now_ns), Enter(following)]
            self._phase, self._phase_began_ns = following, now_ns
        if self._phase == "drain":
            if in_flight:
                self._quiet_since_ns = None
            elif self._quiet_since_ns is None:
                self._quiet_since_ns = now_ns
            settled = self._quiet_since_ns is not None and now_ns >= self._quiet_since_ns + SETTLE_NS
            if settled or now_ns >= self._boundaries["drain"][1]:
                actions += self._end(now_ns, Ended(how="complete"))
        return actions

    def _move_faults(self, now_ns: int) -> list[Action]:
        actions: list[Action] = []
        for fault in self._faults:
            if fault.armed and not fault.done and now_ns >= fault.end_ns:
                fault.done = True
                actions.append(Lift(fault.index, fault.plan))
        for fault in self._faults:
            if not fault.armed and not fault.done and fault.begin_ns <= now_ns:
                fault.armed = True
                actions.append(Arm(fault.index, fault.plan))
        return actions

    def _leave(self, now_ns: int) -> Leave:
        assert self._phase is not None
        return Leave(PhaseWindow(phase=self._phase, begin_ns=self._phase_began_ns, end_ns=now_ns))

    def _end(self, now_ns: int, ended: Ended) -> list[Action]:
        actions: list[Action] = []
        for fault in self._faults:
            if fault.armed and not fault.done:
                fault.done = True
                actions.append(Lift(fault.index, fault.plan))
        if self._phase is not None:
            actions.append(self._leave(now_ns))
        self._phase = None
        self._state = _State.ENDING
        return [*actions, End(self.scenario, ended)]

    def _interrupt(self, reason: str, now_ns: int) -> list[Action]:
        if self._interrupted:
            return []
        self._interrupted = True
        self._stop_reason = reason
        match self._state:
            case _State.IDLE:
                self._state = _State.FINISHED
                return [Finish(interrupted=True, reason=reason)]
            case _State.PREPARING | _State.PLAYING:
                return self._end(now_ns, Ended(how="interrupted", reason=reason))
        return []  # it is being ended or judged already: the next scenario will not be begun


def durations_of(quick: Durations, full: Durations, size: Size) -> Durations:
    """Return the durations of the size that is played."""
    return full if size == "full" else quick


def phase_offsets(durations: Durations) -> Mapping[Phase, tuple[float, float]]:
    """Return (begin, end) of every phase in seconds after the scenario's start; the drain's end is its latest."""
    lengths: dict[Phase, float] = {
        "warm_up": durations.warm_up_s,
        "steady": durations.steady_s,
        "attack": durations.attack_s,
        "recovery": durations.recovery_s,
        "drain": durations.drain_s,
    }
    offsets: dict[Phase, tuple[float, float]] = {}
    begin_s = 0.0
    for phase, length_s in lengths.items():
        offsets[phase] = (begin_s, begin_s + length_s)
        begin_s += length_s
    return offsets


def fault_window(plan: FaultPlan, offsets: Mapping[Phase, tuple[float, float]]) -> tuple[float, float]:
    """Return (begin, end) of a fault in seconds after the scenario's start, its phases being at `offsets`."""
    begin_s = min(offsets[phase][0] for phase in plan.during) + plan.from_s
    end_s = max(offsets[phase][1] for phase in plan.during)
    return begin_s, end_s if plan.for_s is None else min(end_s, begin_s + plan.for_s)


def fault_fields(plan: FaultPlan, size: Size) -> dict[str, Any]:
    """Return the description of a fault for the size that is played: `{"fault": <name>, **fields}`."""
    return plan.spec | plan.full if size == "full" else plan.spec
