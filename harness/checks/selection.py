"""Which requests does a check count, and which of them were served?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec

from harness.evidence import Evidence
from harness.model import Outcome, Phase, Role, Sample

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A limit of 0 to 1."""
Amount = Annotated[float, msgspec.Meta(ge=0)]
"""A limit of 0 and up: a number of things, seconds, megabytes."""
Minimum = Annotated[int, msgspec.Meta(ge=1)]
"""The fewest that something may be judged by."""
Percent = Annotated[float, msgspec.Meta(gt=0, lt=100)]
"""A percentile."""
Phases = Annotated[tuple[Phase, ...], msgspec.Meta(min_length=1)]
Roles = Annotated[tuple[Role, ...], msgspec.Meta(min_length=1)]
Outcomes = Annotated[tuple[Outcome, ...], msgspec.Meta(min_length=1)]


def requests(evidence: Evidence, roles: Iterable[Role], during: Iterable[Phase]) -> list[Sample]:
    """Return the requests of `roles` that were due in the phases `during`.

    A request that its caller abandoned on purpose is left out: it counts for and against nobody. One that was sent
    twice is one request: where only its copy was answered, that answer is the one that its caller got, and waited for
    since the first was due.
    """
    wanted, when = frozenset(roles), frozenset(during)
    asked = [sample for sample in evidence.samples if sample.role in wanted and sample.phase in when]
    answered = {
        (copy.callers, copy.ordinal, copy.turn): copy
        for copy in asked
        if copy.copy and copy.outcome is Outcome.ANSWERED
    }
    return [
        _as_lived(sample, answered) for sample in asked if not sample.copy and sample.outcome is not Outcome.ABANDONED
    ]


def _as_lived(sample: Sample, answered_copies: Mapping[tuple[str, int, int], Sample]) -> Sample:
    copy = answered_copies.get((sample.callers, sample.ordinal, sample.turn))
    if copy is None or sample.outcome is Outcome.ANSWERED:
        return sample
    return msgspec.structs.replace(copy, intended_ns=sample.intended_ns)


def times_asked(evidence: Evidence) -> Counter[str]:
    """Return how many requests with each mark reached the target: more than one where a caller sent it twice."""
    return Counter(sample.mark for sample in evidence.samples if sample.mark is not None and reached(sample))


def undisturbed(evidence: Evidence) -> list[Sample]:
    """Return the real users' requests whose fate was settled in the steady state: before anything was broken.

    A request that was due in the steady state and still under way when the attack began may owe its end to the attack;
    one that had been due since the warm-up and ended in the steady state has been disturbed by nobody. Settled is what
    has ended, or has been waited for longer than the deadline.
    """
    window = evidence.window("steady")
    if window is None:
        return []
    deadline_ns = round(evidence.deadline_s * 1e9)
    return [
        sample
        for sample in requests(evidence, ("real",), ("warm_up", "steady"))
        if window[0] <= min(sample.end_ns, sample.intended_ns + deadline_ns) <= window[1]
    ]


def served(evidence: Evidence, sample: Sample) -> bool:
    """Return whether a request was answered before its caller's deadline, counted from its intended start."""
    return sample.outcome is Outcome.ANSWERED and sample.latency_s <= evidence.deadline_s


def reached(sample: Sample) -> bool:
    """Return whether a request came as far as the target: sent, and not a connection that broke without a byte."""
    if sample.sent_ns is None or sample.outcome is Outcome.UNSERVED:
        return False
    return sample.outcome is not Outcome.DISCONNECTED or sample.first_byte_ns is not None or sample.status is not None
