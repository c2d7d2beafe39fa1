"""Was this a run that anything can be concluded from? Asked of every scenario; never worse than inconclusive."""

from __future__ import annotations

from collections import Counter

from harness.checks import check, inconclusive, passed
from harness.checks.percentile import percentile as percentile_of
from harness.checks.selection import Amount, Minimum, Percent, Share, reached, served, undisturbed
from harness.checks.wilson import interval
from harness.checks.wording import bounds, event_lines, figure, moment, percent, phases, sample_lines, share
from harness.evidence import Evidence
from harness.model import Finding, Outcome, Phase, PhaseWindow

_JUDGED: tuple[Phase, ...] = ("steady", "attack", "recovery")
# What a fault does when it happens: those of the process report the deed itself.
_HAPPENED = frozenset({"fired", "killed", "stopped"})
_NO_CONTROL = ": faults need `--upstreams URL`, those of the process `--target target.toml` with a [start] section"


@check(vantages=("client",), question="Was anything sent?", implicit=True)
def something_was_sent(evidence: Evidence) -> Finding:
    """Count the requests that were sent."""
    sent = sum(sample.sent_ns is not None for sample in evidence.samples)
    expected, observed = "at least one request sent", f"{sent:,} of {len(evidence.samples):,} requests sent"
    if sent:
        return passed(expected=expected, observed=observed)
    reason = "no request was sent: nothing can be concluded from a run without load"
    return inconclusive(expected=expected, observed=observed, reason=reason)


@check(vantages=("client",), question="Was the scenario played to its end?", implicit=True)
def ended_complete(evidence: Evidence) -> Finding:
    """Look how the playing of the scenario ended."""
    expected = "all phases played"
    played = ", ".join(window.phase.replace("_", "-") for window in evidence.phases) or "none"
    observed = f"{evidence.ended.how}; phases played: {played}"
    if evidence.ended.how != "complete":
        reason = f"the scenario is {evidence.ended.how}: {evidence.ended.reason or 'no reason was recorded'}"
        return inconclusive(expected=expected, observed=observed, reason=reason)
    if not evidence.phases:
        reason = "no phase was recorded, so nothing tells what was due when"
        return inconclusive(expected=expected, observed=observed, reason=reason)
    return passed(expected=expected, observed=observed)


@check(vantages=("client",), question="Is every caller accounted for?", implicit=True, foundation=True)
def every_caller_is_accounted_for(evidence: Evidence) -> Finding:
    """Hold the callers that are among the samples against those who were to arrive; a lost sample is no served one."""
    scheduled = evidence.ended.scheduled
    found = len({(sample.callers, sample.ordinal) for sample in evidence.samples})
    observed = f"{found:,} callers among the samples"
    if scheduled is None:
        expected = "as many callers as were scheduled"
        if evidence.ended.how != "complete":
            # That it was not played to its end is told by ended_complete, once.
            return passed(expected=expected, observed=f"{observed}; no schedule, the scenario did not end complete")
        reason = "how many callers were to arrive was not recorded, so nothing tells whether samples were lost"
        return inconclusive(expected=expected, observed=observed, reason=reason)
    expected = f"{scheduled:,} callers, as scheduled"
    if found == scheduled:
        return passed(expected=expected, observed=observed)
    reason = f"{scheduled:,} callers were to arrive and {found:,} are among the samples: " + (
        "some were never sent or their samples were lost"
        if found < scheduled
        else "some came whom nothing had scheduled; was the directory written by two runs?"
    )
    return inconclusive(expected=expected, observed=observed, reason=reason)


@check(vantages=("client",), question="Was every request waited for?", implicit=True)
def nothing_was_abandoned(evidence: Evidence) -> Finding:
    """Count the requests that the harness itself gave up: they are in no other check's figures.

    A run that was interrupted gives up what is under way; that is told by ended_complete.
    """
    expected = "no request given up in a scenario that was played to its end"
    # Who hung up on purpose did so because the scenario says so.
    given_up = [one for one in evidence.samples if one.outcome is Outcome.ABANDONED and one.fault is None]
    left = sum(one.outcome is Outcome.ABANDONED for one in evidence.samples) - len(given_up)
    observed = f"{len(given_up):,} of {len(evidence.samples):,} requests given up" + (
        f"; {left:,} hung up on purpose" if left else ""
    )
    if not evidence.samples:
        reason = "no request was recorded"
        return inconclusive(expected=expected, observed=observed, reason=reason)
    if not given_up or evidence.ended.how != "complete":
        return passed(expected=expected, observed=observed)
    reason = (
        f"{len(given_up):,} requests were given up by the harness before they had ended, so that no check counts them:"
        f" the drain was too short for the callers' deadline of {evidence.deadline_s:g} s; give the scenario a longer"
        " drain_s"
    )
    return inconclusive(expected=expected, observed=observed, reason=reason, evidence=sample_lines(evidence, given_up))


@check(vantages=("client",), question="Did the load keep its schedule?", implicit=True, foundation=True)
def load_kept_schedule(evidence: Evidence, *, at_most_lag_s: Amount = 0.25, percentile: Percent = 99.0) -> Finding:
    """Judge how late requests were sent. A generator that lags measures itself.

    Args:
        at_most_lag_s: seconds. A quarter is well below every deadline, and above what a busy machine does by chance.
        percentile: of the dispatch lag over all requests that were sent in the phases that are judged.
    """
    expected = f"p{percentile:g} of the dispatch lag at most {figure(at_most_lag_s)} s"
    asked = [sample for sample in evidence.samples if sample.phase in _JUDGED]
    sent = [sample for sample in asked if sample.sent_ns is not None]
    counted = f"requests sent {phases(_JUDGED)}; {len(asked) - len(sent)} unserved ones are left out"
    if not sent:
        reason = f"no request was sent {phases(_JUDGED)}"
        return inconclusive(expected=expected, observed="nothing sent", reason=reason, counted=counted)
    lag_s = percentile_of((sample.dispatch_lag_s for sample in sent), percentile)
    late = sorted((one for one in sent if one.dispatch_lag_s > at_most_lag_s), key=lambda one: -one.dispatch_lag_s)
    observed = f"p{percentile:g} {lag_s:.3f} s over {len(sent):,} requests, {len(late):,} later than the limit"
    if lag_s <= at_most_lag_s:
        return passed(expected=expected, observed=observed, counted=counted)
    reason = (
        f"the load generator lagged behind its own schedule (p{percentile:g} {lag_s:.3f} s): latencies are partly its"
        " own; give it a free CPU or a lower rate"
    )
    return inconclusive(
        expected=expected, observed=observed, reason=reason, counted=counted, evidence=sample_lines(evidence, late)
    )


@check(
    vantages=("client",),
    question="Was the machine left to the run?",
    implicit=True,
    foundation=True,
    only_takes_back=True,
)
def machine_was_left_to_the_run(
    evidence: Evidence, *, at_most_others: Share = 0.15, at_least_idle: Share = 0.1
) -> Finding:
    """Judge whether others took CPU that the target could have used: they are slow callers' real reason then.

    Where nobody looked it passes: what is not known takes no fail back.

    Args:
        at_most_others: 0 to 1, of all CPUs, in each phase that is judged. A quiet desktop takes a few percent; one
            process that burns a CPU of six already takes more than this.
        at_least_idle: 0 to 1, of all CPUs. Where so much was left over, whatever others took was taken from nobody.
    """
    expected = f"others take at most {percent(at_most_others)} of all CPUs, or {percent(at_least_idle)} are idle"
    if evidence.machine is None:
        return passed(expected=expected, observed="nobody looked: there was no supervisor")
    found = {
        window.phase: used
        for window in evidence.phases
        if window.phase in _JUDGED and (used := _use_of_machine(evidence, window)) is not None
    }
    if not found:
        return passed(expected=expected, observed="no phase was long enough to tell")
    phase, (others, idle) = max(found.items(), key=lambda one: (one[1][1] < at_least_idle, one[1][0]))
    taken, left = percent(round(others, 2)), percent(round(idle, 2))
    observed = f"others took {taken} of all CPUs {phases((phase,))}, {left} were idle"
    if others <= at_most_others or idle >= at_least_idle:
        return passed(expected=expected, observed=observed)
    reason = f"{observed}: what the target did not get it could not use; play it again on a machine with CPUs to spare"
    return inconclusive(expected=expected, observed=observed, reason=reason)


def _use_of_machine(evidence: Evidence, window: PhaseWindow) -> tuple[float, float] | None:
    """Return which shares of all CPUs others took in a phase, and were idle; None where it is too short to tell."""
    points = [point for point in evidence.machine or () if window.begin_ns <= point.at_ns <= window.end_ns]
    if len(points) < 2:
        return None
    first, last = points[0], points[-1]
    all_s = last.cpus * (last.at_ns - first.at_ns) / 1e9
    busy_s, own_s = last.busy_s - first.busy_s, last.own_s - first.own_s
    return max(busy_s - own_s, 0.0) / all_s, max(all_s - busy_s, 0.0) / all_s


@check(vantages=("client",), question="Was the target well before the attack?", implicit=True, foundation=True)
def steady_state_held(evidence: Evidence, *, at_least_share: Share = 0.8, minimum: Minimum = 16) -> Finding:
    """Judge whether real users were served before anything was broken: else there is nothing to compare with.

    Args:
        at_least_share: 0 to 1, to be shown by the lower bound of the 95 % Wilson interval.
        minimum: requests that it takes; 16, all served, are the fewest that can show 80 %.
    """
    expected = f"at least {percent(at_least_share)} of real users' requests served in steady state"
    asked = undisturbed(evidence)
    good = sum(served(evidence, sample) for sample in asked)
    likely = interval(good, len(asked))
    observed = f"{share(good, len(asked))}, {bounds(likely)}"
    lines = sample_lines(evidence, (sample for sample in asked if not served(evidence, sample)))
    counted = "real users' requests that were over in the steady state, before anything was broken"
    if len(asked) >= minimum and likely.low >= at_least_share:
        return passed(expected=expected, observed=observed, counted=counted, evidence=lines)
    reason = (
        f"too few samples: {len(asked)} requests of real users in steady state, it takes {minimum}"
        if len(asked) < minimum
        else f"the target did not serve its users before the attack already: {observed}"
    )
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)


@check(vantages=("client",), question="Did every planned fault happen?", implicit=True)
def faults_fired(evidence: Evidence) -> Finding:
    """Look for every fault that was planned and had to happen; a fault that never fired proves nothing."""
    planned = Counter(str(plan.spec.get("fault")) for plan in evidence.scenario.faults if plan.must_fire)
    if not planned:
        return passed(expected="every planned fault fires", observed="no fault was planned that has to fire")
    expected = "fired: " + ", ".join(f"{name} ({times}x)" if times > 1 else name for name, times in planned.items())
    firings = [event for event in evidence.faults if event.event in _HAPPENED and event.fault in planned]
    times_fired = Counter(event.fault for event in firings)
    observed = ", ".join(f"{name} fired {times_fired[name]} times" for name in planned)
    lines = event_lines(evidence, (event for event in evidence.faults if event.fault in planned))
    reasons = _absent(evidence, planned, {(event.fault, event.id) for event in firings})
    if not reasons:
        return passed(expected=expected, observed=observed, evidence=lines)
    return inconclusive(expected=expected, observed=observed, reason="; ".join(reasons), evidence=lines)


def _absent(evidence: Evidence, planned: Counter[str], fired: set[tuple[str, str]]) -> list[str]:
    """Return what is missing, in words. Ids tell two faults of one name apart: neither can stand in for the other."""
    begun = [event for event in evidence.faults if event.event == "planned" and event.must_fire]
    armed = {event.id for event in evidence.faults if event.event == "armed"}
    reasons = []
    for event in begun:
        if event.fault in planned and (event.fault, event.id) not in fired:
            name = f"{event.fault}{' on ' if event.where else ''}{event.where}"
            reasons.append(
                f"{name} was armed and never fired: nothing came its way"
                if event.id in armed
                else f"{name} could not be armed{'' if evidence.ledger is not None else _NO_CONTROL}"
            )
    known = {event.id for event in begun}
    unannounced = planned - Counter(event.fault for event in begun)
    for name, times in unannounced.items():
        if sum(fault == name and id_ not in known for fault, id_ in fired) < times:
            reasons.append(f"{name} was never armed{'' if evidence.ledger is not None else _NO_CONTROL}")
    return reasons


@check(vantages=("client",), question="Did the bundled upstreams stay up?", implicit=True)
def upstreams_stayed_up(evidence: Evidence) -> Finding:
    """Look whether the harness's own upstreams ended: what the target did without them is not its own doing."""
    expected = "the bundled upstreams run to the end"
    ends = [event for event in evidence.faults if event.family == "upstream" and event.event in ("exited", "oom")]
    if ends:
        detail = f": {ends[0].detail}" if ends[0].detail else ""
        reason = f"the bundled upstreams ended {moment(evidence, ends[0].at_ns)}{detail}"
        lines = event_lines(evidence, ends)
        return inconclusive(expected=expected, observed="they ended", reason=reason, evidence=lines)
    if evidence.ledger is None:
        return passed(expected=expected, observed="none were joined to this run")
    if not evidence.ledger:
        reason = "the ledger is empty: no call of the target reached the bundled upstreams; does it call them?"
        return inconclusive(expected=expected, observed="no call", reason=reason)
    return passed(expected=expected, observed=f"no end was recorded, {len(evidence.calls):,} calls were")


@check(vantages=("client",), question="Did the attack reach the target?", implicit=True)
def attack_arrived(evidence: Evidence, *, at_least_share: Share = 0.5, minimum: Minimum = 1) -> Finding:
    """Look whether the attackers' requests came as far as the target.

    Args:
        at_least_share: 0 to 1, of the attackers' requests, as counted. Of less than half of an attack nobody would say
            that it was withstood.
        minimum: attackers' requests that have to have got there, whatever the share.
    """
    expected = f"at least {percent(at_least_share)} of attackers' requests reach the target, and at least {minimum}"
    attacks = [sample for sample in evidence.samples if sample.role == "attacker"]
    populations = [plan.callers for plan in evidence.load if plan.role == "attacker"]
    if not attacks and not populations:
        return passed(expected="no attackers in this scenario", observed="no attackers in this scenario")
    arrived = sum(reached(sample) for sample in attacks)
    observed = f"{share(arrived, len(attacks))} of attackers' requests reached the target"
    counted = "requests that were sent and did not end as a broken connection without a byte"
    if arrived >= max(minimum, at_least_share * len(attacks)):
        return passed(expected=expected, observed=observed, counted=counted)
    unserved = sum(sample.outcome is Outcome.UNSERVED for sample in attacks)
    failing = "the attack did not arrive whole" if arrived else "the attack did not arrive"
    reason = (
        f"{failing}: of {len(attacks)} requests of attackers {unserved} were never sent and"
        f" {len(attacks) - unserved - arrived} were cut off before a byte came back"
        if attacks
        else f"{failing}: {' and '.join(populations)} sent nothing"
    )
    lines = sample_lines(evidence, attacks)
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
