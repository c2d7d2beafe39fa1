"""What does a run come to in a handful of figures, over all its scenarios?"""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.evidence import Evidence
from harness.model import Outcome
from reports.content.quantities import ABSENT, count, duration, memory, share
from reports.content.waits import percentile


@dataclass(frozen=True)
class Figure:
    """One figure of a run in words; a dash where there is none."""

    what: str
    figure: str
    counted: str
    """What it was counted from."""


@dataclass
class Glance:
    """Sums over the scenarios of one run, added one at a time so that no evidence has to be kept."""

    requests: int = 0
    real_under_attack: int = 0
    real_answered_under_attack: int = 0
    real_told_under_attack: int = 0
    """Refused, or given an error that says so: no answer, but no silence either."""
    steady_waits_s: list[float] = field(default_factory=list)
    attack_waits_s: list[float] = field(default_factory=list)
    peak_rss_bytes: int | None = None
    calls: int | None = None
    cost_usd: float = 0.0
    last_end_ns: int | None = None
    """When the last phase of all ended."""

    def add(self, evidence: Evidence) -> None:
        """Add what one scenario saw."""
        ends = [window.end_ns for window in evidence.phases]
        self.last_end_ns = max([*ends, *([] if self.last_end_ns is None else [self.last_end_ns])], default=None)
        for sample in evidence.samples:
            if sample.outcome is Outcome.ABANDONED or sample.copy:
                continue
            self.requests += 1
            if sample.role != "real":
                continue
            if sample.phase == "attack":
                self.real_under_attack += 1
                self.real_answered_under_attack += sample.outcome is Outcome.ANSWERED
                self.real_told_under_attack += sample.outcome in (Outcome.REFUSED, Outcome.CLEAR_ERROR)
            if sample.outcome is not Outcome.UNSERVED and sample.phase in ("steady", "attack"):
                waits = self.steady_waits_s if sample.phase == "steady" else self.attack_waits_s
                waits.append(sample.latency_s)
        if evidence.telemetry:
            self.peak_rss_bytes = max(self.peak_rss_bytes or 0, *(point.rss_bytes for point in evidence.telemetry))
        if evidence.ledger is not None:
            self.calls = (self.calls or 0) + len(evidence.calls)
            self.cost_usd += sum(call.cost_usd for call in evidence.calls)

    @property
    def rows(self) -> tuple[Figure, ...]:
        """The figures for the top of the report."""
        answered = share(self.real_answered_under_attack, self.real_under_attack)
        answers = f"{self.real_answered_under_attack:,} of {self.real_under_attack:,}"
        if self.real_told_under_attack:
            answers += f"; {self.real_told_under_attack:,} more were refused or told of the failure"
        counted = f"{len(self.steady_waits_s):,} and {len(self.attack_waits_s):,} requests"

        def change(quantile: float) -> str:
            before, during = percentile(self.steady_waits_s, quantile), percentile(self.attack_waits_s, quantile)
            return ABSENT if before is during is None else f"{duration(before)} → {duration(during)}"

        return (
            Figure(
                "Real callers answered under attack or outage",
                answered,
                answers if self.real_under_attack else "",
            ),
            Figure("Their median wait, steady → attack", change(0.5), counted),
            Figure("Their p95 wait, steady → attack", change(0.95), counted),
            Figure("Peak memory", memory(self.peak_rss_bytes), "" if self.peak_rss_bytes else "not observed"),
            Figure(
                "Calls to upstreams",
                ABSENT if self.calls is None else f"{self.calls:,}",
                "not observed" if self.calls is None else f"for {count(self.requests, 'request')}",
            ),
            Figure(
                "Spent at upstreams",
                ABSENT if self.calls is None else f"${self.cost_usd:,.2f}",
                "not observed" if self.calls is None else "as the stand-ins price it",
            ),
        )
