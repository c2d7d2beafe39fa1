"""What did the target do to its upstreams? Checks of the ledger."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from fnmatch import fnmatchcase
from typing import Final

from harness.checks import check, failed, inconclusive, passed
from harness.checks.selection import Amount, Minimum, Phases, reached, times_asked
from harness.checks.wording import call_lines, event_lines, figure, generation_lines, moment, phases, share
from harness.evidence import Evidence
from harness.model import OPEN_STATES, Call, Finding, Generation


@check(vantages=("client", "upstream"), question="Was the upstream spared what is too long for it?")
def characters_bounded(evidence: Evidence, *, upstream: str, at_most: Amount, control_calls: Minimum = 3) -> Finding:
    """Judge the longest text that reached an upstream.

    Args:
        upstream: its name in the ledger, e.g. emotion or tts.
        at_most: characters (code points).
        control_calls: calls with a text within the limit that show that the upstream was in use at all; without them
            a target that never calls it would pass.
    """
    expected = f"at most {figure(at_most)} characters in any call to {upstream}"
    calls = [call for call in evidence.calls if call.upstream == upstream]
    over = sorted((call for call in calls if call.characters > at_most), key=lambda call: (-call.characters, call.seq))
    ordinary = [call for call in calls if 0 < call.characters <= at_most]
    longest = max((call.characters for call in calls), default=0)
    offered = max((sample.message_chars for sample in evidence.samples if reached(sample)), default=0)
    tricked = sum(event.family == "model" and event.event == "fired" for event in evidence.faults)
    observed = (
        f"longest text {longest:,} characters, {len(over)} of {len(calls)} calls above the limit"
        if calls
        else f"{upstream} was never called"
    )
    counted = f"calls to {upstream}; the longest message that reached the target had {offered:,} characters" + (
        f", and the model was made to misbehave {tricked} times" if tricked else ""
    )
    lines = call_lines(evidence, over)
    if over:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if len(ordinary) < control_calls:
        reason = (
            f"too few samples: {len(ordinary)} ordinary calls to {upstream}, it takes {control_calls} to show that"
            " the target uses it"
        )
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    if offered <= at_most and not tricked:
        reason = f"nothing longer than {figure(at_most)} characters was sent to the target, so nothing was held back"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    return passed(expected=expected, observed=observed, counted=counted)


@check(vantages=("upstream",), question="Did the hazard stay asleep?")
def hazard_never_fired(evidence: Evidence, *, fault: str, bait: str, at_least_bait: Minimum = 1) -> Finding:
    """Judge that a weakness that was lying in wait was never touched, while the bait for it was laid.

    Args:
        fault: name of the hazard, e.g. crash_on_emoji.
        bait: name of the fault that has to have fired to tempt it, e.g. say.
        at_least_bait: how often the bait has to have fired.
    """
    expected = f"{fault} never fires, while {bait} fires at least {figure(at_least_bait)} times"
    armed = [event for event in evidence.faults if event.fault == fault and event.event == "armed"]
    fired = [event for event in evidence.faults if event.fault == fault and event.event == "fired"]
    baits = sum(event.fault == bait and event.event == "fired" for event in evidence.faults)
    lies_at = {plan.spec.get("upstream") for plan in evidence.scenario.faults if plan.spec.get("fault") == fault}
    calls = Counter(call.upstream for call in evidence.calls)
    observed = f"{fault} fired {len(fired)} times, {bait} {baits} times"
    counted = "firings in the fault log" + "".join(
        f"; {calls[name]} calls to {name}" for name in sorted(filter(None, lies_at)) if name != "*"
    )
    lines = event_lines(evidence, fired)
    if fired:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    reason = ""
    if not armed:
        reason = f"{fault} was never armed, so it could not fire"
    elif baits < at_least_bait:
        reason = f"too little bait: {bait} fired {baits} times, it takes {at_least_bait}"
    else:
        idle = sorted(name for name in filter(None, lies_at) if name != "*" and not calls[name])
        if idle:
            reason = f"{' and '.join(idle)} was never called, so {fault} could not fire"
    if reason:
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    return passed(expected=expected, observed=observed, counted=counted)


@check(vantages=("upstream",), question="Were tool calls in a turn capped?")
def tool_calls_per_turn(evidence: Evidence, *, at_most: Amount, minimum: Minimum = 1) -> Finding:
    """Judge the most tools that a single turn asked for.

    A turn is what one message set off: all generations that the ledger says are of one turn, else those with its mark,
    or one generation where there is no mark.

    Args:
        at_most: tool calls.
        minimum: turns with a tool call that it takes to judge.
    """
    expected = f"at most {figure(at_most)} tool calls in a turn"
    asked: dict[str, dict[str, str]] = defaultdict(dict)
    members: dict[str, set[str]] = defaultdict(set)
    states: dict[str, list[Generation]] = defaultdict(list)
    last: dict[str, Generation] = {}
    for state in evidence.generations:
        turn = state.turn or state.mark or state.id  # ledgers of earlier versions name no turns
        members[turn].add(state.id)
        last[state.id] = state
        if state.tool_calls:
            states[turn].append(state)
        # The same request is repeated in every record of its state: its id counts it once.
        asked[turn].update({f"{state.id} {call.id}": call.name for call in state.tool_calls})
    turns = {turn: tools for turn, tools in asked.items() if tools}
    sent = times_asked(evidence)
    twice = sum(sent[turn] > 1 for turn in turns)
    counted = f"{len(turns):,} turns with a tool call, of {len(asked):,}" + (
        f"; {twice} were asked for twice by their callers, and may take that many more" if twice else ""
    )
    if len(turns) < minimum:
        reason = f"too few samples: {len(turns)} turns with a tool call, it takes {minimum}"
        observed = "no turn with a tool call" if not turns else f"{len(turns)} turns with a tool call"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    worst = max(turns, key=lambda turn: len(turns[turn]) / max(1, sent[turn]))
    going_on = any(last[member].state in OPEN_STATES for member in members[worst])
    names = ", ".join(f"{name} {times} times" for name, times in Counter(turns[worst].values()).most_common(3))
    above = sum(len(tools) > at_most * max(1, sent[turn]) for turn, tools in turns.items())
    observed = (
        f"{len(turns[worst]):,} tool calls in one turn ({names}), which"
        f" {'was still going on' if going_on else 'had ended'} at the end;"
        f" {share(above, len(turns))} turns above the limit"
    )
    lines = generation_lines(evidence, states[worst])
    conclude = failed if above else passed
    return conclude(expected=expected, observed=observed, counted=counted, evidence=lines)


@check(vantages=("upstream",), question="Did every generation end?")
def no_open_generations(evidence: Evidence, *, grace_s: Amount = 0, at_most: Amount = 0) -> Finding:
    """Look for generations that still cost money when the drain is over.

    Args:
        grace_s: seconds; a generation that began later than so long before the end may still be under way.
        at_most: how many may be left open.
    """
    expected = f"at most {figure(at_most)} generations open at the end of the drain"
    window = evidence.window("drain") or evidence.window("warm_up", "steady", "attack", "recovery")
    end_ns = window[1] if window else max((state.at_ns for state in evidence.generations), default=0)
    began: dict[str, int] = {}
    last: dict[str, Generation] = {}
    for state in evidence.generations:
        if state.at_ns <= end_ns:
            began.setdefault(state.id, state.at_ns)
            last[state.id] = state
    left_open = [state for state in last.values() if state.state in OPEN_STATES]
    zombies = [state for state in left_open if (end_ns - began[state.id]) / 1e9 >= grace_s]
    kinds = ", ".join(f"{times} {name}" for name, times in Counter(state.state for state in zombies).most_common())
    observed = f"{share(len(zombies), len(last))} generations left open" + (f": {kinds}" if kinds else "")
    counted = f"last states {moment(evidence, end_ns)}" + (
        f"; {len(left_open) - len(zombies)} younger than {figure(grace_s)} s are left out" if grace_s else ""
    )
    lines = generation_lines(evidence, zombies)
    if len(zombies) > at_most:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if not last:
        reason = "the target started no generation"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    return passed(expected=expected, observed=observed, counted=counted, evidence=lines)


@check(vantages=("client", "upstream"), question="Were calls to the upstream in proportion?")
def upstream_calls_bounded(
    evidence: Evidence,
    *,
    upstream: str,
    at_most_per_request: Amount,
    during: Phases = ("attack",),
    route: str = "*",
    minimum: Minimum = 5,
) -> Finding:
    """Judge how many calls to an upstream one request of a caller costs: no retry storm, no busy loop.

    Args:
        upstream: its name in the ledger.
        at_most_per_request: calls, repeats included, for each request that reached the target.
        during: the phases, for calls and requests alike.
        route: only routes that match this pattern, e.g. "POST *".
        minimum: requests that it takes to judge.
    """
    expected = f"at most {figure(at_most_per_request)} calls to {upstream} for each request"
    window = evidence.window(*during)
    asked = [sample for sample in evidence.samples if sample.phase in during and reached(sample)]
    used = [call for call in evidence.calls if call.upstream == upstream and fnmatchcase(call.route, route)]
    calls = [call for call in used if window is not None and window[0] <= call.begin_ns <= window[1]]
    counted = f"calls to {upstream}" + ("" if route == "*" else f" that match {route}") + f" begun {phases(during)}"
    per_request = len(calls) / len(asked) if asked else math.inf
    observed = f"{len(calls):,} calls for {len(asked):,} requests" + (f", {per_request:.2f} each" if asked else "")
    same = Counter((call.mark, call.body_hash) for call in calls if call.body_hash)
    sent = times_asked(evidence)
    # What a caller sends twice may well be asked twice.
    repeats = sum(max(0, times - max(1, sent[mark or ""])) for (mark, _), times in same.items())
    counted += f"; {repeats} of them repeat an equal body" if repeats else ""
    routes = Counter(call.route for call in calls).most_common(20)
    lines = tuple(f"{times:,} calls: {name}" for name, times in routes)
    if len(asked) < minimum:
        reason = f"too few samples: {len(asked)} requests reached the target {phases(during)}, it takes {minimum}"
    elif not used:
        reason = f"{upstream} was never called, in no phase: nothing shows that the target uses it"
    else:
        conclude = passed if per_request <= at_most_per_request else failed
        return conclude(expected=expected, observed=observed, counted=counted, evidence=lines)
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)


_INVITE_A_REPEAT: Final = frozenset({408, 425, 429})


@check(vantages=("client", "upstream"), question="Were failed calls repeated with restraint?")
def retries_bounded(
    evidence: Evidence,
    *,
    upstream: str,
    at_most_per_request: Amount,
    during: Phases = ("attack",),
    minimum: Minimum = 10,
) -> Finding:
    """Judge how many repeats of failed calls there are for each request: the retry budget that the target keeps to.

    A call failed when it got no answer, a 5xx, a 408, 425 or 429. Those of the same turn (else mark, or conversation),
    path and body are one call that was repeated; what has none of the three cannot be told apart, and is left out.

    A target that soon stops to call an upstream that is down (a breaker) has few calls that fail. Few that were hardly
    repeated are no less within the budget for that: all repeats are counted, and set against all requests. Few that
    were repeated beyond it may be chance, and prove nothing; nor does an outage in which no call failed.

    Args:
        upstream: its name in the ledger.
        at_most_per_request: repeats, for each request that reached the target.
        during: the phases, for calls and requests alike.
        minimum: requests that it takes to judge, and different calls that failed that it takes to condemn.
    """
    expected = f"at most {figure(at_most_per_request)} repeats of failed calls to {upstream} for each request"
    window = evidence.window(*during)
    attempts: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    left_out = 0
    for call in evidence.calls:
        if call.upstream != upstream or window is None or not window[0] <= call.begin_ns <= window[1]:
            continue
        if call.status is not None and call.status < 500 and call.status not in _INVITE_A_REPEAT:
            continue
        whose = call.turn or call.mark or call.conversation  # ledgers of earlier versions name no turns
        if whose is None:
            left_out += 1
        else:
            attempts[whose, f"{call.route} {call.path}", call.body_hash].append(call)
    asked = sum(sample.phase in during and reached(sample) for sample in evidence.samples)
    repeats = sum(map(len, attempts.values())) - len(attempts)
    per_request = repeats / asked if asked else math.inf
    observed = f"{repeats:,} repeats for {asked:,} requests" + (f", {per_request:.2f} each" if asked else "")
    counted = (
        f"{len(attempts):,} different calls to {upstream} that got no answer, a 5xx, 408, 425 or 429, begun"
        f" {phases(during)}; {left_out:,} more that cannot be told from each other are left out"
    )
    often = max(attempts, key=lambda one: len(attempts[one]), default=None)
    lines = call_lines(evidence, attempts[often]) if often else ()
    conclude = passed if per_request <= at_most_per_request else failed
    if not attempts or asked < minimum or (conclude is failed and len(attempts) < minimum):
        reason = (
            f"too few samples: {len(attempts)} different calls to {upstream} failed for {asked} requests"
            f" {phases(during)}, it takes {minimum}"
        )
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return conclude(expected=expected, observed=observed, counted=counted, evidence=lines)


@check(vantages=("upstream",), question="Was every upstream call one that exists?")
def nothing_unexpected(evidence: Evidence) -> Finding:
    """Look for calls that no upstream knows."""
    expected = "no call that no upstream knows"
    strange = [call for call in evidence.calls if call.unexpected]
    observed = f"{share(len(strange), len(evidence.calls))} calls were unknown"
    if not evidence.calls:
        reason = "the target called no upstream: are its upstreams pointed at the bundled ones?"
        return inconclusive(expected=expected, observed=observed, reason=reason)
    conclude = failed if strange else passed
    return conclude(expected=expected, observed=observed, evidence=call_lines(evidence, strange))
