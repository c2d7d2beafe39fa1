"""Were the tools of a turn called side by side? Joins what the model asked for with the calls that followed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from harness.checks import check, failed, inconclusive, passed
from harness.checks.selection import Amount, Minimum, Share
from harness.checks.wilson import interval
from harness.checks.wording import MOST_LINES, bounds, figure, moment, percent, share
from harness.evidence import Evidence
from harness.model import Call, Finding, Generation, Outcome, ToolCall

_NO_TOOLS: Final = frozenset({"openai", "tts"})
_FOR_EVER: Final = 1 << 62
_ANSWERS: Final = frozenset({Outcome.ANSWERED, Outcome.REFUSED, Outcome.CLEAR_ERROR, Outcome.OPAQUE_ERROR})
"""Ends of a request that the target itself made: with them its turn is over."""
_REPEATED: Final = frozenset({408, 425, 429})
"""Refusals, beside 5xx and silence, that a client may well answer by asking again."""
_LEAST_OVERLAP: Final = 0.5
"""Of what could overlap at most; below it a turn is not called overlapped, however short its longest tool."""


@dataclass
class _Turn:
    """One round in which the model asked for tools, and the calls that are surely its own."""

    state: Generation
    until_ns: int
    asked: dict[str, tuple[ToolCall, tuple[str, ...]]]
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)
    ambiguous: bool = False

    def takes(self, call: Call) -> bool:
        """Return whether `call` could answer one of its tools: in its window, of its mark or of the kind of a tool."""
        if not self.state.at_ns <= call.begin_ns <= self.until_ns:
            return False
        if call.mark is not None and self.state.mark is not None:
            return call.mark == self.state.mark
        return any(call.upstream in tool.name for tool, _ in self.asked.values())

    def names(self, call: Call) -> list[str]:
        """Return the ids of its tools of whose arguments `call` carries one."""
        carried = unquote_plus(call.path) + "\n" + call.text
        return [
            id_
            for id_, (tool, values) in self.asked.items()
            if call.upstream in tool.name and any(value in carried for value in values)
        ]

    def may_say_anything(self, call: Call) -> bool:
        """Return whether a tool of the kind of `call` was asked for without anything: what it says its target chose."""
        return any(call.upstream in tool.name and not values for tool, values in self.asked.values())

    def wants(self, call: Call) -> bool:
        """Return whether a tool of the kind of `call` has not been called yet, but for calls that invite a repeat."""
        return sum(call.upstream in tool.name for tool, _ in self.asked.values()) > self.met[call.upstream]

    def add(self, call: Call) -> None:
        """Count `call` in; a repeat of the same tool prolongs its span."""
        self.met[call.upstream] += call.status is not None and call.status < 500 and call.status not in _REPEATED
        named = self.names(call) or [id_ for id_, (tool, _) in self.asked.items() if call.upstream in tool.name]
        key = named[0] if len(named) == 1 else f"{call.upstream} {call.path} {call.body_hash}"
        begin_ns, end_ns = self.spans.get(key, (call.begin_ns, call.end_ns))
        self.spans[key] = (min(begin_ns, call.begin_ns), max(end_ns, call.end_ns))


@dataclass(frozen=True)
class _Timing:
    """How the tools of one joined turn lay to each other."""

    state: Generation
    tools: int
    wall_s: float
    sum_s: float
    longest_s: float
    covered_s: float

    @property
    def overlap(self) -> float:
        """0 where they ran one after the other, 1 where all lay within the longest."""
        spare_s = self.sum_s - self.longest_s
        return (self.sum_s - self.covered_s) / spare_s if spare_s > 0 else 0.0


@check(vantages=("upstream",), question="Were the tools of a turn called side by side?")
def tools_overlap(
    evidence: Evidence,
    *,
    at_least_turns: Minimum = 5,
    at_most_cost_ratio: Amount = 1.5,
    at_least_share: Share = 0.5,
    shortest_s: Amount = 0.02,
) -> Finding:
    """Judge whether the calls of one round of tools overlap, so that they cost about the longest of them.

    A call is joined to a round that was open when it began: by its mark, or else by the upstream's name within the
    tool's name, and an argument of the tool in the call's path or text (a tool without one may have made any call of
    its kind); between rounds that are equal in that, to the one that still lacks such a call. A round whose calls
    another open round could have made as well is left out, and so is one too short to tell.

    Args:
        at_least_turns: joined rounds that it takes to judge.
        at_most_cost_ratio: the time from the first call's beginning to the last one's end, over the longest call.
        at_least_share: 0 to 1, of rounds that overlap; the whole 95 % interval has to be on one side of it.
        shortest_s: seconds that overlapping can save at the least; below it, scheduling noise decides.
    """
    expected = (
        f"in at least {percent(at_least_share)} of the rounds with several tools their calls overlap and take at most"
        f" {figure(at_most_cost_ratio)} times the longest"
    )
    every = _turns(evidence)
    _join(every, [call for call in evidence.calls if call.upstream not in _NO_TOOLS])
    turns = [turn for turn in every if len(turn.asked) >= 2]
    ambiguous = sum(turn.ambiguous for turn in turns)
    timings = [_timing(turn) for turn in turns if not turn.ambiguous and len(turn.spans) >= 2]
    telling = [one for one in timings if one.sum_s - one.longest_s >= shortest_s]
    unjoined = len(turns) - ambiguous - len(timings)
    good = [
        one for one in telling if one.overlap >= _LEAST_OVERLAP and one.wall_s <= at_most_cost_ratio * one.longest_s
    ]
    in_a_row = sum(one.overlap < 0.1 for one in telling)
    likely = interval(len(good), len(telling))
    counted = (
        f"{len(turns)} rounds with several tools: {len(telling)} judged, {ambiguous} ambiguous (another open round"
        f" could have made the calls), {unjoined} not joined to two calls, {len(timings) - len(telling)} too short to"
        " tell"
    )
    lines = tuple(_line(evidence, one) for one in telling if one not in good)[:MOST_LINES] or tuple(
        _line(evidence, one) for one in good[:MOST_LINES]
    )
    if not telling:
        reason = f"no round with several tools could be judged; {counted}" if turns else "no round with several tools"
        return inconclusive(
            expected=expected, observed="no round to judge", reason=f"too few samples: {reason}", counted=counted
        )
    ratio = sum(one.wall_s for one in telling) / sum(one.longest_s for one in telling)
    observed = (
        f"{share(len(good), len(telling))} rounds overlapped, {in_a_row} ran one tool after the other; a round took"
        f" {ratio:.2f} times its longest tool on average ({bounds(likely)})"
    )
    if len(telling) < at_least_turns:
        reason = f"too few samples: {len(telling)} rounds could be judged, it takes {at_least_turns}; {counted}"
    elif likely.low >= at_least_share:
        return passed(expected=expected, observed=observed, counted=counted, evidence=lines)
    elif likely.high < at_least_share:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    else:
        reason = f"{percent(at_least_share)} lies within the interval of {len(telling)} rounds; {counted}"
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)


def _turns(evidence: Evidence) -> list[_Turn]:
    """Return the rounds with tools, each with the moment when its outputs were handed in.

    Those with a single tool are among them: they decide nothing, but a call may be theirs.
    """
    outputs: dict[str, list[int]] = defaultdict(list)
    for call in evidence.calls:
        if "submit_tool_outputs" in call.route and call.generation is not None:
            outputs[call.generation].append(call.begin_ns)
    for begins in outputs.values():
        begins.sort()
    states: dict[str, list[Generation]] = defaultdict(list)
    followers: dict[str, list[Generation]] = defaultdict(list)
    for state in evidence.generations:
        states[state.id].append(state)
        for key in {state.mark, state.conversation} - {None}:
            followers[str(key)].append(state)
    answered_ns: dict[str, int] = {}
    for sample in evidence.samples:
        if sample.outcome in _ANSWERS and sample.mark is not None:  # of one that was sent twice, the last answer
            answered_ns[sample.mark] = max(sample.end_ns, answered_ns.get(sample.mark, 0))
    turns = []
    for state in evidence.generations:
        # Responses and chat completions have no state of waiting for outputs: they complete with what they ask for.
        if state.state in ("requires_action", "completed") and state.tool_calls:
            later = (begin for begin in outputs[state.id] if begin >= state.at_ns)
            until = next(later, None)
            if until is None:
                until = next((other.at_ns for other in states[state.id] if other.seq > state.seq), None)
            if until is None:
                # Where outputs are not handed in to the same generation, the next one of the turn tells.
                heirs = followers[state.mark or state.conversation or ""]
                until = next((one.at_ns for one in heirs if one.seq > state.seq and one.id != state.id), _FOR_EVER)
            # A turn that broke off hands in nothing; its caller knows when it was over.
            until = min(until, answered_ns.get(state.mark or "", _FOR_EVER))
            asked = {tool.id: (tool, tuple(_values(tool.arguments))) for tool in state.tool_calls}
            turns.append(_Turn(state=state, until_ns=until, asked=asked))
    return turns


def _join(turns: list[_Turn], calls: list[Call]) -> None:
    """Give every call to the open round that must have made it; rounds that share a doubt are marked ambiguous."""
    waiting = sorted(turns, key=lambda turn: turn.state.at_ns, reverse=True)
    open_turns: list[_Turn] = []
    for call in sorted(calls, key=lambda call: (call.begin_ns, call.seq)):
        while waiting and waiting[-1].state.at_ns <= call.begin_ns:
            open_turns.append(waiting.pop())
        open_turns = [turn for turn in open_turns if turn.until_ns >= call.begin_ns]
        possible = [turn for turn in open_turns if turn.takes(call)]
        marked = [turn for turn in possible if call.mark is not None and turn.state.mark == call.mark]
        possible = marked or possible
        owners = possible
        if any(turn.names(call) for turn in possible):
            owners = [turn for turn in possible if turn.names(call) or turn.may_say_anything(call)]
        owners = [turn for turn in owners if turn.wants(call)] or owners
        if len(owners) == 1:
            owners[0].add(call)
        for turn in owners if len(owners) > 1 else ():
            turn.ambiguous = True


def _timing(turn: _Turn) -> _Timing:
    spans = sorted(turn.spans.values())
    durations = [(end_ns - begin_ns) / 1e9 for begin_ns, end_ns in spans]
    covered_ns, reach_ns = 0, spans[0][0]
    for begin_ns, end_ns in spans:
        covered_ns += max(0, end_ns - max(begin_ns, reach_ns))
        reach_ns = max(reach_ns, end_ns)
    return _Timing(
        state=turn.state,
        tools=len(spans),
        wall_s=(reach_ns - spans[0][0]) / 1e9,
        sum_s=sum(durations),
        longest_s=max(durations),
        covered_s=covered_ns / 1e9,
    )


def _values(arguments: str) -> Iterator[str]:
    """Yield the argument values of a tool call that are long enough to be told from others."""
    try:
        given: Any = json.loads(arguments)
    except ValueError:
        return
    for value in given.values() if isinstance(given, dict) else ():
        text = str(value)
        if len(text) >= 2:
            yield text


def _line(evidence: Evidence, one: _Timing) -> str:
    mark = f" {one.state.mark}" if one.state.mark else ""
    names = ", ".join(call.name for call in one.state.tool_calls)
    return (
        f"ledger {one.state.seq} {moment(evidence, one.state.at_ns)} {one.state.id}{mark}: {names}: took"
        f" {one.wall_s:.3f} s, longest {one.longest_s:.3f} s, sum {one.sum_s:.3f} s"
    )
