"""One campaign, from its plan to its verdicts: does what the conductor says, and tells it what was seen."""

from __future__ import annotations

import logging
import platform
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

import gevent
import msgspec
from locust.env import Environment

from harness import campaign, evidence, verdict
from harness.campaign import Action, Arm, Conductor, End, Enter, Event, Finish, Judge, Leave, Lift, Play, Prepare
from harness.faults import parse as parse_fault
from harness.launch import COMPLAINT
from harness.load.declared import played
from harness.load.ensemble import Ensemble
from harness.load.misconduct import caller_fault_id
from harness.load.player import PlayOrder, own_clock
from harness.load.stage import Bare, Observed, Stage, StageError, Supervised, WithUpstreams
from harness.model import FaultEvent, Moment, Plan, PlannedScenario, Size, Verdict
from harness.target import bare_target, read_target

_LOG = logging.getLogger("harness")

JUDGING_WITHIN_S: Final = 300.0
_TICK_S: Final = 0.02
"""How precisely a phase begins: well under the shortest phase, and 50 wake-ups a second cost nothing."""
_PROGRESS_S: Final = 0.5
_REHEARSAL_S: Final = 20.0
"""Players that have not got ready in this time are not waited for any longer: their lag is then seen and judged."""


class CampaignError(Exception):
    """A campaign cannot begin as it was asked for; the message is for who asked."""


class Campaign:
    """One campaign, from its plan to its verdicts, driven by a conductor.

    Raises CampaignError, ScenarioFileError, TargetError, StageError or EvidenceError when it cannot even begin.
    """

    def __init__(self, environment: Environment, ensemble: Ensemble) -> None:
        options = environment.parsed_options
        assert options is not None
        self._environment = environment
        self._ensemble = ensemble
        self._target = read_target(Path(options.target)) if options.target else bare_target()
        size: Size = "full" if options.full else "quick"
        variant = self._target.variant(options.variant) if options.variant else None
        host = (environment.host or self._target.host or "").rstrip("/")
        starts = self._target.start is not None and not host
        if not host and not starts:
            msg = (
                "There is no target. Give the URL of a running agent with --host http://127.0.0.1:8000, or a target "
                "file that says how to start one with --target target.toml."
            )
            raise CampaignError(msg)
        if starts and (options.pid or options.log_file or options.metrics_url):
            msg = "--pid, --log-file and --metrics-url have no effect: what the harness starts it watches anyway."
            raise CampaignError(msg)
        self._scenarios = played(environment.user_classes)
        name = options.variant or (self._target.name if options.target else "deployment")
        self.run_dir = (
            Path(options.run_dir) if options.run_dir else evidence.new_run_directory(Path(options.runs), name)
        )
        self._deadline_s = options.deadline or self._target.deadline_s(size)
        plan = Plan(
            run_id=self.run_dir.name,
            seed=options.seed,
            size=size,
            target_name=self._target.name if options.target else host,
            variant=options.variant or None,
            host=host or None,
            scenarios=tuple(planned for planned, _ in self._scenarios.values()),
            declared=self._target.declared(size),
            deadline_s=self._deadline_s,
            expect=variant.expect if variant else None,
            expect_scenarios=dict(variant.expect_scenarios) if variant else {},
            versions={name: metadata.version(name) for name in ("locust", "msgspec")}
            | {"python": platform.python_version()},
            git_revision=_git_revision(),
            wall_clock_anchor=datetime.now(UTC).isoformat(),
            monotonic_anchor_ns=time.monotonic_ns(),
            command=tuple(sys.argv),
        )
        evidence.write_json(self.run_dir / evidence.PLAN, plan)
        self._plan = plan
        self._log = evidence.JsonLinesWriter(self.run_dir / evidence.CAMPAIGN)
        self._stage: Stage
        if starts:
            arguments = ["--target", options.target, "--size", size, "--seed", str(options.seed)]
            arguments += ["--variant", options.variant] if options.variant else []
            arguments += ["--replicas", str(options.replicas)] if options.replicas else []
            for setting in options.set:
                arguments += ["--set", setting]
            self._stage = Supervised(self.run_dir, arguments)
        elif options.upstreams:
            self._stage = WithUpstreams(host, options.upstreams, self.run_dir)
        else:
            self._stage = Bare(host)
        watched = self._target.observed(options.pid, options.log_file, options.metrics_url).options()
        if watched:
            self._stage = Observed(self._stage, self.run_dir, watched)
        self._conductor = Conductor(plan.scenarios, size, self._deadline_s)
        self._planned_faults: evidence.JsonLinesWriter | None = None
        self._phases: evidence.JsonLinesWriter | None = None
        self._armed: dict[int, str | None] = {}
        self._with_callers: dict[int, FaultEvent] = {}
        self._reached: dict[str, tuple[str, str]] = {}
        self._judges: dict[str, gevent.Greenlet] = {}
        self._preparing: gevent.Greenlet | None = None
        self._rehearsed_by_s = 0.0
        self._interruption: str | None = None
        self._next_progress_s = 0.0
        self._host = host
        self.finished = False
        self.exit_code = verdict.EXIT_ERROR

    def rows(self) -> list[dict[str, str]]:
        """Return what is known of every scenario, in the order of play."""
        current = None if self._conductor.finished else self._conductor.scenario.name
        rows = []
        for planned in self._plan.scenarios:
            reached, summary = self._reached.get(planned.name, ("", ""))
            if not reached and planned.name == current:
                reached = (self._conductor.phase or "preparing").replace("_", "-")
            if planned.name in self._judges:
                reached = "judging"
            rows.append({"scenario": planned.name, "verdict": reached, "summary": summary})
        return rows

    def interrupt(self, reason: str) -> None:
        """End the campaign in order: what was recorded is brought to disk and judged, nothing is left behind."""
        self._interruption = reason

    def run(self) -> None:
        """Play to the end."""
        _LOG.info("Recording to %s", self.run_dir)
        try:
            self._drive()
        except evidence.EvidenceError as error:
            complain(error)
            self.exit_code = verdict.EXIT_ERROR
        finally:
            self._ensemble.stop()
            # There are some only where something broke.
            gevent.killall([*self._judges.values(), *([self._preparing] if self._preparing else [])])
            for armed in self._armed.values():
                if armed is not None:
                    self._lift(armed)  # upstreams that somebody else started outlive this campaign
            self._stage.close()
            self.finished = True

    def _drive(self) -> None:
        todo: deque[Action] = deque(self._conductor.begin())
        while not self._conductor.finished or todo:
            while todo:
                event = self._perform(todo.popleft())
                if event is not None:
                    todo.extend(self._conductor.on(event, time.monotonic_ns()))
            if self._conductor.finished:
                return
            gevent.sleep(_TICK_S)
            todo.extend(self._conductor.on(self._observe(), time.monotonic_ns()))

    def _observe(self) -> Event:
        if self._ensemble.failure is not None:
            raise self._ensemble.failure
        judgement = self._judgement()
        if judgement is not None:
            return judgement
        if self._interruption is not None:
            return campaign.Interrupt(self._interruption)
        prepared = self._prepared()
        if prepared is not None:
            return prepared
        now_s = time.monotonic()
        if self._conductor.phase is not None and now_s >= self._next_progress_s:
            self._next_progress_s = now_s + _PROGRESS_S
            self._say("progress")
        return campaign.Tick(self._ensemble.in_flight)

    def _perform(self, action: Action) -> Event | None:
        match action:
            case Prepare(planned):
                self._prepare(planned)
            case Play(planned, begin_ns):
                self._play(planned, begin_ns)
            case Enter(phase):
                self._say("phase", text=phase)
            case Leave(window):
                assert self._phases is not None
                self._phases.add(window)
                self._phases.flush()
            case Arm(index, plan):
                self._arm(index, campaign.fault_fields(plan, self._plan.size), must_fire=plan.must_fire)
            case Lift(index, _):
                if index in self._with_callers:
                    self._note(self._with_callers.pop(index), "lifted")
                armed = self._armed.pop(index, None)
                if armed is not None:
                    self._lift(armed)
            case End(planned, ended):
                self._end(planned, ended)
                return campaign.HasEnded()
            case Judge(planned):
                self._judges[planned.name] = gevent.spawn(self._judged_or_trouble, planned.name)
            case Finish(interrupted, reason):
                self._finish(interrupted=interrupted, reason=reason)
        return None

    def _prepare(self, planned: PlannedScenario) -> None:
        directory = evidence.scenario_directory(self.run_dir, planned.name)
        evidence.write_json(directory / evidence.SCENARIO, planned)
        self._phases = evidence.JsonLinesWriter(directory / evidence.PHASES)
        self._planned_faults = evidence.JsonLinesWriter(directory / evidence.PLANNED)
        self._armed, self._with_callers = {}, {}
        self._say("preparing")
        self._ensemble.rehearse(planned.name, self._plan.seed)
        self._preparing = gevent.spawn(self._host_or_trouble, planned)
        self._rehearsed_by_s = time.monotonic() + _REHEARSAL_S

    def _prepared(self) -> Event | None:
        """Return what has become of the preparations, None while they go on."""
        preparing = self._preparing
        rehearsed = self._ensemble.rehearsed or time.monotonic() > self._rehearsed_by_s
        if preparing is None or not preparing.ready() or not rehearsed:
            return None
        self._preparing = None
        outcome = preparing.get()
        if isinstance(outcome, StageError):
            complain(outcome)
            return campaign.PrepareFailed(str(outcome))
        self._host = outcome
        return campaign.Prepared(self._host)

    def _host_or_trouble(self, planned: PlannedScenario) -> str | StageError:
        # Returned, not raised: gevent prints the traceback of a greenlet that raises, and this is no mistake of ours.
        try:
            return self._stage.prepare(planned)
        except StageError as error:
            return error

    def _play(self, planned: PlannedScenario, begin_ns: int) -> None:
        directory = evidence.scenario_directory(self.run_dir, planned.name)
        order = PlayOrder(
            scenario=planned.name,
            size=self._plan.size,
            seed=self._plan.seed,
            begin_ns=begin_ns,
            clock=own_clock(),
            host=self._host,
            target=self._target,
            deadline_s=self._deadline_s,
            index=0,
            count=1,
        )
        writers = (evidence.JsonLinesWriter(directory / name) for name in (evidence.SAMPLES, evidence.CALLERS))
        self._ensemble.play(order, *writers)
        durations = campaign.durations_of(planned.declaration.quick, planned.declaration.full, self._plan.size)
        self._say("playing", duration_s=campaign.phase_offsets(durations)["drain"][0])

    def _arm(self, index: int, spec: dict[str, Any], *, must_fire: bool) -> None:
        fault = parse_fault(spec)
        planned = FaultEvent(
            at_ns=0,
            fault=fault.name,
            id=f"unarmed-{index}",
            event="planned",
            family=fault.family,
            where=str(next((spec[one] for one in ("upstream", "proxy", "process", "callers") if spec.get(one)), "")),
            must_fire=must_fire,
        )
        if fault.family == "caller":
            # The players know by themselves whom it meets, and report its firings.
            planned = msgspec.structs.replace(planned, id=caller_fault_id(index))
            self._with_callers[index] = planned
            self._note(planned, "planned")
            self._note(planned, "armed")
            return
        try:
            armed = self._stage.arm(spec)
        except StageError as error:
            _LOG.error("The fault %s cannot be armed: %s", fault.name, error)
            armed = None
        self._armed[index] = armed
        self._note(msgspec.structs.replace(planned, id=armed or planned.id), "planned")

    def _note(self, planned: FaultEvent, event: Literal["planned", "armed", "lifted"]) -> None:
        assert self._planned_faults is not None
        self._planned_faults.add(msgspec.structs.replace(planned, event=event, at_ns=time.monotonic_ns()))
        self._planned_faults.flush()

    def _lift(self, armed: str) -> None:
        try:
            self._stage.lift(armed)
        except StageError as error:
            _LOG.error("A fault cannot be lifted: %s", error)

    def _end(self, planned: PlannedScenario, ended: evidence.Ended) -> None:
        if self._preparing is not None:  # an interrupt came first
            self._preparing.kill()
            self._preparing = None
        scheduled = self._ensemble.scheduled
        self._ensemble.stop()
        assert self._phases is not None
        assert self._planned_faults is not None
        self._phases.close()
        self._planned_faults.close()
        if self._ensemble.trouble:
            complain(f"{planned.name}: {self._ensemble.trouble}")
            ended = evidence.Ended(how="broken", reason=self._ensemble.trouble)
        try:
            self._stage.end(planned)
        except StageError as error:
            _LOG.error("%s", error)
            if ended.how == "complete":
                ended = evidence.Ended(how="broken", reason=str(error))
        directory = evidence.scenario_directory(self.run_dir, planned.name)
        evidence.seal(directory, msgspec.structs.replace(ended, scheduled=scheduled))
        self._say("ended", text=ended.reason)

    def _judged_or_trouble(self, scenario: str) -> tuple[Verdict, str] | evidence.EvidenceError:
        # Returned, not raised, for the same reason.
        try:
            return judged(self.run_dir, scenario)
        except evidence.EvidenceError as error:
            return error

    def _judgement(self) -> Event | None:
        """Return what a judge has come to meanwhile."""
        done = next((name for name, judge in self._judges.items() if judge.ready()), None)
        if done is None:
            return None
        outcome = self._judges.pop(done).get()
        if isinstance(outcome, evidence.EvidenceError):
            raise outcome
        reached, text = outcome
        if reached is Verdict.ERROR:
            complain(f"{done}: {text}")
        self._reached[done] = (reached.value, text)
        _LOG.info("%s: %s: %s", done, reached.upper(), text)
        self._say("judged", scenario=done, reached=reached, text=text)
        return campaign.Judged(done, reached)

    def _finish(self, *, interrupted: bool, reason: str) -> None:
        unplayed = len(self._plan.scenarios) - len(self._conductor.verdicts)
        worst = verdict.worst([*self._conductor.verdicts.values(), *([Verdict.INCONCLUSIVE] if unplayed else [])])
        self.exit_code = verdict.EXIT_INTERRUPTED if interrupted else verdict.exit_code(worst)
        _LOG.info("Verdict: %s. Recorded in %s", "INTERRUPTED" if interrupted else worst.upper(), self.run_dir)
        self._say("finished", scenario="", reached=worst, text=reason)
        self._log.close()

    def _say(
        self,
        what: Any,
        *,
        scenario: str | None = None,
        reached: Verdict | None = None,
        text: str = "",
        duration_s: float = 0.0,
    ) -> None:
        self._log.add(
            Moment(
                at_ns=time.monotonic_ns(),
                what=what,
                scenario=self._conductor.scenario.name if scenario is None else scenario,
                phase=self._conductor.phase,
                sent=self._ensemble.sent,
                answered=self._ensemble.answered,
                in_flight=self._ensemble.in_flight,
                scheduled=self._ensemble.scheduled,
                duration_s=duration_s,
                verdict=reached,
                text=text,
            )
        )
        self._log.flush()


def judged(
    run_dir: Path, scenario: str, judge: Sequence[str] = (sys.executable, "-m", "harness.judge")
) -> tuple[Verdict, str]:
    """Judge a scenario in a process of its own: judging costs CPU, and this process must keep time.

    Args:
        run_dir: the run.
        scenario: the name of the scenario.
        judge: the command that judges.

    Returns:
        The verdict and its sentence; an error, and why, where the judge did not come to a judgement, or ended in
        another way than with it.
    """
    # What lies there already is of another run into the same directory, and must not stand in for what cannot be made.
    (evidence.scenario_directory(run_dir, scenario) / evidence.JUDGEMENT).unlink(missing_ok=True)
    code: int | None = None
    try:
        result = subprocess.run(
            [*judge, str(run_dir), "--scenario", scenario], capture_output=True, timeout=JUDGING_WITHIN_S, check=False
        )
        code, trouble = result.returncode, result.stderr.decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        trouble = f"judging took more than {JUDGING_WITHIN_S:g} s"
    judgement = evidence.read_judgement(run_dir, scenario)
    if judgement is not None and code == verdict.exit_code(judgement.verdict):
        return judgement.verdict, judgement.summary
    return Verdict.ERROR, f"it could not be judged: {trouble or f'the judge ended with exit code {code}'}"


def complain(what: object) -> None:
    """Say what is wrong, in the log and to whoever reads standard error; COMPLAINT is how that line is found there."""
    _LOG.error("%s", what)
    print(f"{COMPLAINT}{what}", file=sys.stderr, flush=True)


def _git_revision() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
