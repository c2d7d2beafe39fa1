"""What did the callers live through? Checks of the samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from harness.checks import check, failed, inconclusive, passed
from harness.checks.percentile import percentile as percentile_of
from harness.checks.selection import (
    Amount,
    Minimum,
    Outcomes,
    Percent,
    Phases,
    Roles,
    Share,
    requests,
    served,
    undisturbed,
)
from harness.checks.wilson import interval, trials_to_show, trials_to_tell
from harness.checks.wording import bounds, figure, moment, people, percent, phases, sample_lines, share
from harness.evidence import Evidence
from harness.model import Finding, Outcome, Phase, Role, Sample

_NO_ANSWER = frozenset({Outcome.TIMEOUT, Outcome.UNSERVED, Outcome.DISCONNECTED})
_FAULT_FAMILIES = frozenset({"upstream", "model", "network", "process", "caller"})


@check(vantages=("client",), question="Were real users served?", service=True)
def real_users_served(
    evidence: Evidence, *, at_least_share: Share, during: Phases = ("attack",), minimum: Minimum = 20
) -> Finding:
    """Judge the share of real users' requests that were answered before their deadline: the blast radius.

    Args:
        at_least_share: 0 to 1; the whole 95 % Wilson interval has to be on one side of it.
        during: the phases in which the requests were due.
        minimum: requests that it takes to judge at all.
    """
    expected = f"at least {percent(at_least_share)} of real users' requests answered within {evidence.deadline_s:g} s"
    asked = requests(evidence, ("real",), during)
    unserved = [sample for sample in asked if not served(evidence, sample)]
    good = len(asked) - len(unserved)
    steady = undisturbed(evidence)
    before = share(sum(served(evidence, sample) for sample in steady), len(steady))
    likely = interval(good, len(asked))
    observed = f"{share(good, len(asked))} {phases(during)}, {bounds(likely)}; in steady state {before}"
    counted = f"real users' requests due {phases(during)}, {_outcomes(asked)}; those they hung up on are left out"
    lines = sample_lines(evidence, unserved)
    if len(asked) < minimum:
        reason = f"too few samples: {len(asked)} requests of real users {phases(during)}, it takes {minimum}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return _by_interval(
        good, len(asked), at_least_share, expected=expected, observed=observed, counted=counted, evidence=lines
    )


@check(vantages=("client",), question="Did every caller hear back before the deadline?", service=True)
def answered_before_deadline(
    evidence: Evidence,
    *,
    roles: Roles = ("real",),
    during: Phases = ("attack",),
    at_most_unanswered: Amount = 0,
    minimum: Minimum = 1,
) -> Finding:
    """Count the requests that got no answer of any kind before their deadline: timed out, cut off, or never served.

    Args:
        roles: whose requests.
        during: the phases in which they were due.
        at_most_unanswered: how many of them may go without.
        minimum: requests that it takes to judge at all.
    """
    asked = requests(evidence, roles, during)
    return _few_without(
        [sample for sample in asked if sample.outcome in _NO_ANSWER],
        asked,
        evidence,
        roles,
        during,
        at_most_unanswered,
        minimum,
        lacking="without any answer",
        counted="an error is an answer here",
    )


@check(vantages=("client",), question="Was everybody really answered?", service=True)
def all_answered(
    evidence: Evidence,
    *,
    roles: Roles = ("real",),
    during: Phases = ("attack",),
    at_most_unanswered: Amount = 0,
    minimum: Minimum = 5,
) -> Finding:
    """Count the requests that did not get what they asked for in time: an error, however clear, is no answer here.

    For so few requests that a share of them would say nothing.

    Args:
        roles: whose requests.
        during: the phases in which they were due.
        at_most_unanswered: how many of them may go without.
        minimum: requests that it takes to judge at all.
    """
    asked = requests(evidence, roles, during)
    return _few_without(
        [sample for sample in asked if not served(evidence, sample)],
        asked,
        evidence,
        roles,
        during,
        at_most_unanswered,
        minimum,
        lacking="not answered",
        counted="an error is no answer here",
    )


@check(vantages=("client",), question="Were errors clear ones?", service=True)
def errors_are_clear(
    evidence: Evidence,
    *,
    during: Phases = ("attack",),
    roles: Roles = ("real",),
    at_most: Amount = 0,
    minimum: Minimum = 1,
) -> Finding:
    """Count opaque errors (5xx without an explanation, a body that is none) and connections that broke.

    Args:
        during: the phases in which the requests were due.
        roles: whose requests.
        at_most: how many of them may end so.
        minimum: requests with an answer of any kind that it takes to judge at all.
    """
    expected = f"at most {figure(at_most)} opaque errors or broken connections for {people(roles)}"
    asked = requests(evidence, roles, during)
    opaque = [sample for sample in asked if sample.outcome in (Outcome.OPAQUE_ERROR, Outcome.DISCONNECTED)]
    ended = [sample for sample in asked if sample.outcome not in (Outcome.TIMEOUT, Outcome.UNSERVED)]
    observed = f"{share(len(opaque), len(ended))} of the requests that ended {phases(during)}"
    counted = (
        f"requests of {people(roles)} due {phases(during)}, {_outcomes(asked)};"
        " those that never ended are not errors and count elsewhere"
    )
    lines = sample_lines(evidence, opaque)
    if len(opaque) > at_most:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if len(ended) < minimum:
        reason = (
            f"too few samples: {len(ended)} of {len(asked)} requests of {people(roles)} {phases(during)} ended in any"
            f" way, it takes {minimum}"
        )
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return passed(expected=expected, observed=observed, counted=counted, evidence=lines)


@check(vantages=("client",), question="Was service back soon after the fault?", service=True)
def recovers(evidence: Evidence, *, within_s: Amount, minimum: Minimum = 3) -> Finding:
    """Judge how long after the last fault was lifted real users were served again, and stayed so.

    Args:
        within_s: seconds from the lifting (or from the end of the attack, where nothing was lifted) to the first
            request of a real user from which on every one in recovery was served.
        minimum: requests served from there on that it takes to call it recovered.
    """
    expected = f"every request of real users served from at most {figure(within_s)} s after the fault was lifted"
    lifted = _last_lift(evidence)
    if lifted is None:
        reason = "neither an attack nor a recovery phase was played"
        return inconclusive(expected=expected, observed="no recovery", reason=reason)
    lift_ns, what = lifted
    asked = [sample for sample in requests(evidence, ("real",), ("recovery",)) if sample.intended_ns >= lift_ns]
    bad = [sample for sample in asked if not served(evidence, sample)]
    good = asked if not bad else [sample for sample in asked if sample.intended_ns > bad[-1].intended_ns]
    counted = f"real users' requests due in recovery, from {what} on: {len(asked)}, {_outcomes(asked)}"
    lines = sample_lines(evidence, reversed(bad))
    if not asked:
        observed = f"no request of a real user in recovery after {what}"
        reason = "too few samples: 0 requests of real users in recovery after the fault was lifted"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    last_bad_s = (bad[-1].intended_ns - lift_ns) / 1e9 if bad else -math.inf
    first_good_s = (good[0].intended_ns - lift_ns) / 1e9 if good else math.inf
    if last_bad_s > within_s:
        observed = f"a request {last_bad_s:.2f} s after {what} was still not served, {len(good)} after it were"
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    observed = (
        f"served from {first_good_s:.2f} s after {what} on, {len(good)} requests"
        if good
        else f"none of {len(asked)} requests after {what} was the first of an unbroken row of served ones"
    )
    if len(good) < minimum:
        reason = f"too few samples: {len(good)} served requests at the end of recovery, it takes {minimum}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    if first_good_s > within_s:
        reason = f"no request was due between {max(last_bad_s, 0):.2f} s and {first_good_s:.2f} s after {what}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return passed(expected=expected, observed=observed, counted=counted, evidence=lines)


@check(vantages=("client",), question="Did the callers hear something?", service=True)
def heard_something(
    evidence: Evidence,
    *,
    at_least_share: Share,
    roles: Roles = ("real",),
    during: Phases = ("attack",),
    minimum: Minimum = 5,
) -> Finding:
    """Judge the share of requests that were answered with audio that a player opens and that is longer than nothing.

    Args:
        at_least_share: 0 to 1; the whole 95 % Wilson interval has to be on one side of it.
        roles: whose requests.
        during: the phases in which they were due.
        minimum: requests that it takes to judge at all.
    """
    expected = f"at least {percent(at_least_share)} of the requests of {people(roles)} answered with playable audio"
    asked = requests(evidence, roles, during)
    silent = [sample for sample in asked if sample.outcome is not Outcome.ANSWERED or sample.audio_s <= 0]
    heard = len(asked) - len(silent)
    mute = sum(sample.outcome is Outcome.ANSWERED for sample in silent)
    observed = f"{share(heard, len(asked))} heard something {phases(during)}, {bounds(interval(heard, len(asked)))}" + (
        f"; {mute} were answered without playable audio" if mute else ""
    )
    counted = f"requests of {people(roles)} due {phases(during)}, {_outcomes(asked)}"
    lines = sample_lines(evidence, silent)
    if len(asked) < minimum:
        reason = f"too few samples: {len(asked)} requests of {people(roles)} {phases(during)}, it takes {minimum}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    answers = [sample for sample in evidence.samples if sample.outcome is Outcome.ANSWERED]
    if answers and not any(sample.audio_s > 0 for sample in answers):
        reason = (
            f"the target never answered with audio ({len(answers)} answers to anybody): it does not speak, or its"
            " target file reads audio from the wrong place; see `audio` under [reply]"
        )
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return _by_interval(
        heard, len(asked), at_least_share, expected=expected, observed=observed, counted=counted, evidence=lines
    )


@check(vantages=("client",), question="Were the callers answered quickly?", service=True)
def answered_within(
    evidence: Evidence,
    *,
    at_most_s: Amount,
    percentile: Percent = 95.0,
    roles: Roles = ("real",),
    during: Phases = ("attack",),
    ended_as: Outcomes = (Outcome.ANSWERED,),
    minimum: Minimum = 10,
) -> Finding:
    """Judge a percentile of the latency from the intended start, from raw samples.

    A request that ended in another way than `ended_as` counts as one that took for ever.

    Args:
        at_most_s: seconds.
        percentile: above 0, below 100.
        roles: whose requests.
        during: the phases in which they were due.
        ended_as: what counts as an answer; with "refused" and "clear_error" it asks for quick refusals.
        minimum: requests that it takes to judge at all; a high percentile takes more, one beyond it at least.
    """
    expected = f"p{percentile:g} of {people(roles)} at most {figure(at_most_s)} s"
    asked = requests(evidence, roles, during)
    waits = [(sample.latency_s if sample.outcome in ended_as else math.inf, sample) for sample in asked]
    slow = sorted((one for one in waits if one[0] > at_most_s), key=lambda one: -one[0])
    counted = (
        f"requests of {people(roles)} due {phases(during)}, {_outcomes(asked)}, from the intended start; anything but"
        f" {' or '.join(ended_as)} took for ever"
    )
    lines = sample_lines(evidence, (sample for _, sample in slow))
    needed = max(minimum, math.ceil(100 / (100 - percentile) - 1e-9))
    if len(asked) < needed:
        return inconclusive(
            expected=expected,
            observed=f"{len(asked)} requests {phases(during)}",
            reason=f"too few samples: {len(asked)} requests, a p{percentile:g} takes {needed}",
            counted=counted,
            evidence=lines,
        )
    value = percentile_of((wait for wait, _ in waits), percentile)
    reached = f"p{percentile:g} {value:.3f} s" if math.isfinite(value) else f"p{percentile:g} never answered"
    observed = f"{reached} {phases(during)}, {len(slow)} of {len(asked)} requests above {figure(at_most_s)} s"
    conclude = passed if value <= at_most_s else failed
    return conclude(expected=expected, observed=observed, counted=counted, evidence=lines)


def _few_without(
    without: list[Sample],
    asked: list[Sample],
    evidence: Evidence,
    roles: Iterable[Role],
    during: Iterable[Phase],
    at_most: float,
    minimum: int,
    *,
    lacking: str,
    counted: str,
) -> Finding:
    """Judge how many of the requests that were asked went without, each of them counting."""
    expected = f"at most {figure(at_most)} requests of {people(roles)} {lacking} within {evidence.deadline_s:g} s"
    observed = f"{share(len(without), len(asked))} {lacking} {phases(during)}"
    counted = f"requests of {people(roles)} due {phases(during)}, {_outcomes(asked)}; {counted}"
    lines = sample_lines(evidence, without)
    if len(without) > at_most:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if len(asked) < minimum:
        reason = f"too few samples: {len(asked)} requests of {people(roles)} {phases(during)}, it takes {minimum}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return passed(expected=expected, observed=observed, counted=counted, evidence=lines)


def _by_interval(
    good: int,
    trials: int,
    at_least_share: float,
    *,
    expected: str,
    observed: str,
    counted: str,
    evidence: tuple[str, ...],
) -> Finding:
    """Judge a share: the whole 95 % Wilson interval has to be on one side of the limit."""
    likely = interval(good, trials)
    if likely.low >= at_least_share:
        return passed(expected=expected, observed=observed, counted=counted, evidence=evidence)
    if likely.high < at_least_share:
        return failed(expected=expected, observed=observed, counted=counted, evidence=evidence)
    needed = trials_to_show(at_least_share) if good == trials else trials_to_tell(good / trials, at_least_share)
    reason = f"{percent(at_least_share)} lies within the interval of {trials} requests" + (
        f"; at this share it takes about {needed} requests to tell" if needed else "; no number of requests can tell"
    )
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=evidence)


def _outcomes(samples: Iterable[Sample]) -> str:
    counts = Counter(sample.outcome for sample in samples)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if counts[outcome]) or "none"


def _last_lift(evidence: Evidence) -> tuple[int, str] | None:
    """Return when the last fault was lifted that recovery has to start from, and what that was, in words."""
    recovery = evidence.window("recovery")
    attack = evidence.window("attack")
    if recovery is None and attack is None:
        return None
    hazards = {plan.spec.get("fault") for plan in evidence.scenario.faults if not plan.must_fire}
    lifts = [
        event
        for event in evidence.faults
        if event.event == "lifted"
        and event.family in _FAULT_FAMILIES
        and event.must_fire
        and event.fault not in hazards
        and (recovery is None or event.at_ns <= recovery[1])
    ]
    if lifts:
        last = max(lifts, key=lambda event: event.at_ns)
        return last.at_ns, f"{last.fault} was lifted ({moment(evidence, last.at_ns)})"
    at_ns = attack[1] if attack is not None else recovery[0] if recovery is not None else 0
    return at_ns, f"the attack ended ({moment(evidence, at_ns)})"
