"""How is evidence built by hand? Small records with sensible fields, so that a test names only what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from harness.evidence import Ended, Evidence
from harness.model import (
    Call,
    CheckPlan,
    Durations,
    FaultEvent,
    FaultPlan,
    Generation,
    MachinePoint,
    Outcome,
    PhaseWindow,
    Sample,
    Scenario,
    TelemetryPoint,
    ToolCall,
)

BEGIN_NS = 1_000_000_000_000
PHASES_S = {"warm_up": (0, 1), "steady": (1, 5), "attack": (5, 11), "recovery": (11, 15), "drain": (15, 17)}


class Given:
    """Builds records; times are seconds after the scenario's beginning."""

    def __init__(self) -> None:
        self._ordinals = count()
        self._seqs = count(1)

    def ns(self, at_s: float) -> int:
        return BEGIN_NS + round(at_s * 1e9)

    def sample(
        self,
        *,
        phase: str = "attack",
        at_s: float | None = None,
        outcome: str = "answered",
        latency_s: float = 0.1,
        lag_s: float = 0.0,
        role: str = "real",
        **fields: Any,
    ) -> Sample:
        due_s = PHASES_S[phase][0] + 0.5 if at_s is None else at_s
        ordinal = next(self._ordinals)
        end_ns = self.ns(due_s + latency_s)
        sent = outcome != Outcome.UNSERVED
        return Sample(
            **{
                "callers": {"real": "RealUsers", "attacker": "Attackers", "probe": "Probes"}[role],
                "role": role,
                "task": "talk",
                "ordinal": ordinal,
                "phase": phase,
                "user_id": f"{role}_{ordinal}",
                "intended_ns": self.ns(due_s),
                "sent_ns": self.ns(due_s + lag_s) if sent else None,
                "first_byte_ns": end_ns if outcome in ("answered", "refused", "clear_error", "opaque_error") else None,
                "end_ns": end_ns,
                "outcome": Outcome(outcome),
                "audio_s": 1.0 if outcome == "answered" else 0.0,
            }
            | fields
        )

    def many(self, number: int, *, phase: str = "attack", **fields: Any) -> list[Sample]:
        """Requests spread evenly over a phase."""
        begin_s, end_s = PHASES_S[phase]
        return [
            self.sample(phase=phase, at_s=begin_s + (end_s - begin_s) * index / number, **fields)
            for index in range(number)
        ]

    def call(self, upstream: str = "openai", route: str = "POST /v1/threads", **fields: Any) -> Call:
        at_s, for_s = fields.pop("at_s", 6.0), fields.pop("for_s", 0.01)
        return Call(
            **{
                "seq": next(self._seqs),
                "upstream": upstream,
                "route": route,
                "path": route.partition(" ")[2],
                "begin_ns": self.ns(at_s),
                "end_ns": self.ns(at_s + for_s),
                "status": 200,
            }
            | fields
        )

    def generation(self, id_: str = "run_1", state: str = "completed", at_s: float = 6.0, **fields: Any) -> Generation:
        return Generation(seq=next(self._seqs), id=id_, state=state, at_ns=self.ns(at_s), **fields)

    def tool(self, name: str = "get_weather", arguments: str = "{}", id_: str | None = None) -> ToolCall:
        return ToolCall(id=id_ or f"call_{next(self._ordinals)}", name=name, arguments=arguments)

    def event(self, fault: str, event: str, at_s: float = 6.0, **fields: Any) -> FaultEvent:
        return FaultEvent(
            **{"fault": fault, "event": event, "at_ns": self.ns(at_s), "id": "f1", "family": "upstream"} | fields
        )

    def point(self, at_s: float, rss_mb: float, replica: int = 0) -> TelemetryPoint:
        return TelemetryPoint(
            at_ns=self.ns(at_s), replica=replica, rss_bytes=round(rss_mb * 1e6), cpu_s=at_s, threads=4, open_files=8
        )

    def machine(
        self, *, others: float, own: float = 0.3, phase: str = "attack", cpus: int = 2
    ) -> tuple[MachinePoint, ...]:
        """Two points a second over all phases; in the one named others take their share of all CPUs."""
        points, busy_s, own_s = [], 1000.0, 100.0
        for tick in range(2 * int(max(end_s for _, end_s in PHASES_S.values()))):
            at_s = tick / 2
            points.append(MachinePoint(at_ns=self.ns(at_s), cpus=cpus, busy_s=busy_s, own_s=own_s))
            begin_s, end_s = PHASES_S[phase]
            own_s += own * cpus / 2
            busy_s += (own + (others if begin_s <= at_s < end_s else 0.0)) * cpus / 2
        return tuple(points)

    def memory(self, *levels_mb: tuple[str, float], wobble_mb: float = 0.5) -> list[TelemetryPoint]:
        """Twenty points in each phase around its level."""
        return [
            self.point(
                PHASES_S[phase][0] + (PHASES_S[phase][1] - PHASES_S[phase][0]) * index / 20,
                level_mb + wobble_mb * (-1) ** index,
            )
            for phase, level_mb in levels_mb
            for index in range(20)
        ]

    def fault_plan(self, fault: str, *, must_fire: bool = True, **fields: Any) -> FaultPlan:
        return FaultPlan(spec={"fault": fault, **fields}, must_fire=must_fire)

    def scenario(self, *, checks: Sequence[CheckPlan] = (), **fields: Any) -> Scenario:
        durations = Durations(warm_up_s=1, steady_s=4, attack_s=6, recovery_s=4, drain_s=2)
        return Scenario(
            **{
                "title": "Thread bombing",
                "category": "attack",
                "severity": "critical",
                "story": "Ids pile up.",
                "claim": "Conversations stay bounded.",
                "quick": durations,
                "full": durations,
                "checks": tuple(checks),
            }
            | fields
        )

    def evidence(
        self,
        *,
        samples: Sequence[Sample] = (),
        ledger: Sequence[Call | Generation] | None = (),
        telemetry: Sequence[TelemetryPoint] | None = (),
        events: Sequence[FaultEvent] = (),
        planned: Sequence[FaultPlan] = (),
        checks: Sequence[CheckPlan] = (),
        **fields: Any,
    ) -> Evidence:
        """Evidence of a complete run in which every vantage was there, and saw what is given."""
        return Evidence(
            **{
                "name": "thread_bombing",
                "scenario": self.scenario(checks=checks, faults=tuple(planned)),
                "size": "quick",
                "seed": 1,
                "deadline_s": 5.0,
                "declared": {"live_conversations": 40.0},
                "phases": tuple(
                    PhaseWindow(phase=phase, begin_ns=self.ns(begin_s), end_ns=self.ns(end_s))
                    for phase, (begin_s, end_s) in PHASES_S.items()
                ),
                "samples": tuple(sorted(samples, key=lambda sample: (sample.intended_ns, sample.ordinal))),
                "ledger": None if ledger is None else tuple(ledger),
                "telemetry": None if telemetry is None else tuple(telemetry),
                "log_lines": None,
                "faults": tuple(sorted(events, key=lambda event: event.at_ns)),
                # Of nothing, nothing is known: also not that nobody was to come.
                "ended": Ended(how="complete", scheduled=len({(one.callers, one.ordinal) for one in samples}) or None),
            }
            | fields
        )


@pytest.fixture
def given() -> Given:
    """Builders of records."""
    return Given()
