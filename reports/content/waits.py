"""How long did callers wait, phase by phase? Percentiles from raw samples, and only where there are enough of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.evidence import Evidence
from harness.model import PHASES, Outcome, Phase, Role, Sample

ROLES: tuple[Role, ...] = ("real", "attacker", "probe")
BEYOND = 2
"""Samples that must lie beyond a percentile for it to be shown: p95 from 40 samples on, p99 from 200."""


@dataclass(frozen=True)
class Waits:
    """The waits of one role in one phase. Times in seconds; None where there are too few samples."""

    phase: Phase
    role: Role
    requests: int
    """All that were due, but for those that the caller or the harness broke off."""
    answered: int
    unserved: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    service_p50_s: float | None
    """Median from the sending instead of from the intended start."""
    lag_p99_s: float | None
    """How late the generator was, 99th percentile; the maximum where there are too few samples for it."""
    lag_is_max: bool


def percentile(seconds: list[float], quantile: float) -> float | None:
    """Return a percentile by linear interpolation, None where fewer than `BEYOND` samples lie beyond it.

    Args:
        seconds: the samples, in any order.
        quantile: above 0 and below 1.
    """
    # Rounded because 0.95 has no exact representation: 40 samples are enough, not 40.000000000000036.
    if round(len(seconds) * (1 - quantile), 9) < BEYOND:
        return None
    return float(np.quantile(seconds, quantile))


def _waits(phase: Phase, role: Role, samples: list[Sample]) -> Waits:
    due = [sample for sample in samples if sample.outcome is not Outcome.ABANDONED]
    sent = [sample for sample in due if sample.outcome is not Outcome.UNSERVED]
    latencies = [sample.latency_s for sample in sent]
    lags = [sample.dispatch_lag_s for sample in sent]
    lag = percentile(lags, 0.99)
    return Waits(
        phase=phase,
        role=role,
        requests=len(due),
        answered=sum(sample.outcome is Outcome.ANSWERED for sample in due),
        unserved=len(due) - len(sent),
        p50_s=percentile(latencies, 0.5),
        p95_s=percentile(latencies, 0.95),
        p99_s=percentile(latencies, 0.99),
        max_s=max(latencies, default=None),
        service_p50_s=percentile([sample.service_s for sample in sent], 0.5),
        lag_p99_s=max(lags, default=None) if lag is None else lag,
        lag_is_max=lag is None,
    )


def waits(evidence: Evidence) -> list[Waits]:
    """Return the waits by phase and role, as far as anybody called.

    A wait lasts from the intended start to the outcome, whatever it was: an answer, a refusal, an error, giving up at
    the deadline. Requests that were never sent (unserved) have no wait; they count in the share that was answered.
    """
    groups: dict[tuple[Phase, Role], list[Sample]] = {}
    for sample in evidence.samples:
        groups.setdefault((sample.phase, sample.role), []).append(sample)
    ordered = sorted(groups.items(), key=lambda item: (PHASES.index(item[0][0]), ROLES.index(item[0][1])))
    return [_waits(phase, role, samples) for (phase, role), samples in ordered]
