"""Whose conversation does the target keep, and how many? Checks of the ledger, whichever API they came through."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final, NamedTuple

from harness.checks import check, failed, inconclusive, passed
from harness.checks.selection import Amount, Minimum, Phases, reached
from harness.checks.wording import MOST_LINES, call_lines, figure, moment, phases, share
from harness.evidence import Evidence
from harness.model import Call, Finding, Generation, Outcome, Sample

_CREATED = re.compile(r"POST (/\S*)?/(threads|threads/runs|conversations)")
_DELETED = re.compile(r"DELETE (/\S*)?/(threads|conversations)/\{[^/]+\}")
_GOES_ON: Final = "the one before"
"""Stands for a conversation that has no name upstream, and goes on."""


@check(vantages=("client", "upstream"), question="Did live conversations stay bounded?")
def live_conversations_bounded(evidence: Evidence, *, at_most: Amount) -> Finding:
    """Judge the most conversations that were alive at once: created minus deleted, in the order they were answered.

    A target that creates none upstream and sends what was said along (chat completions) keeps them where nobody looks.
    Then those are counted that were alive when the attack ended: of whose earlier answers the model was told when
    their users came back. That is judged only where more attackers came back than the bound has room for.

    Args:
        at_most: conversations, usually "declared:live_conversations".
    """
    expected = f"at most {figure(at_most)} conversations alive at once"
    alive: set[str] = set()
    created: list[Call] = []
    deletions = 0
    most, most_at_ns, over = 0, 0, list[Call]()
    for call in sorted(_ok_calls(evidence), key=lambda call: (call.end_ns, call.seq)):
        if _CREATED.fullmatch(call.route):
            created.append(call)
            alive.add(call.conversation or f"ledger {call.seq}")
            if len(alive) > at_most:
                over.append(call)
            if len(alive) > most:
                most, most_at_ns = len(alive), call.end_ns
        elif _DELETED.fullmatch(call.route):
            deletions += (call.conversation or "") in alive
            alive.discard(call.conversation or "")
    if not created:
        return _known_on_return(evidence, at_most, expected)
    attackers = {sample.user_id for sample in evidence.samples if sample.role == "attacker" and reached(sample)}
    counted = (
        f"{len(created):,} conversations created, {deletions:,} deleted, {len(alive):,} alive at the end;"
        f" {len(attackers):,} distinct ids of attackers reached the target"
    )
    observed = f"{most:,} conversations alive at once ({moment(evidence, most_at_ns)})"
    lines = call_lines(evidence, over)
    if most > at_most:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if len(attackers) <= at_most:
        reason = (
            f"the attack could not exceed the bound: {len(attackers):,} distinct ids of attackers reached the target,"
            f" it takes more than {figure(at_most)}"
        )
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)
    return passed(expected=expected, observed=observed, counted=counted)


def _known_on_return(evidence: Evidence, at_most: float, expected: str) -> Finding:
    """Count the conversations that were alive when the attack ended, by who was remembered on coming back after it."""
    unnamed = "no conversation was created upstream"
    attack = evidence.window("attack")
    remembered = _remembered(evidence)
    ended_ns = 0 if attack is None else attack[1]
    there_before = {sample.user_id for sample in evidence.samples if reached(sample) and sample.end_ns <= ended_ns}
    attackers = {sample.user_id for sample in evidence.samples if sample.role == "attacker"} & there_before
    back: set[str] = set()
    told: dict[str, _Told] = {}
    for sample in sorted(evidence.samples, key=lambda sample: sample.sent_ns or 0):
        if (sample.sent_ns or 0) > ended_ns and sample.user_id in there_before and sample.mark is not None:
            back |= {sample.user_id} & attackers
            if sample.mark in remembered:
                # The first turn tells: the next one may be told of this one's answer.
                told.setdefault(sample.user_id, remembered[sample.mark])
    alive = [user for user, turn in told.items() if turn.goes_on]
    unseen = [user for user in back if user not in told]
    # Somebody must have been remembered at some time, or the target's memory is not of the kind that shows here.
    control = sum(sample.role == "real" and _goes_on(remembered, sample) for sample in evidence.samples)
    known_attackers = sum(user in attackers for user in alive)
    counted = (
        f"{unnamed}; counted are the users with whose earlier answers the model was told to go on when they came back"
        f" after the attack: {share(known_attackers, len(back))} attackers, {len(alive) - known_attackers} others;"
        f" {len(unseen)} attackers came back and did not get as far as the model"
    )
    observed = f"{len(alive):,} conversations alive at once" + (f" ({moment(evidence, ended_ns)})" if attack else "")
    lines = tuple(f"{user}: ledger {told[user].seq}" for user in alive[:MOST_LINES])
    if len(alive) > at_most:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if not control:
        reason = (
            f"{unnamed}, and no model was ever told of an earlier answer: the target keeps conversations elsewhere, or"
            " never came that far; this check sees only those that its upstream sees"
        )
    elif len(back) <= at_most:
        reason = (
            f"{unnamed}, so it takes attackers who come back to see who is still known: {len(back)} did after the"
            f" attack, it takes more than {figure(at_most)}"
        )
    elif len(alive) + len(unseen) > at_most:
        reason = (
            f"{unnamed}, and of {len(unseen)} attackers who came back nothing shows whether they were still known:"
            f" with them it could be {len(alive) + len(unseen)}"
        )
    else:
        return passed(expected=expected, observed=observed, counted=counted)
    return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted)


@check(vantages=("client", "upstream"), question="Did real users keep their conversations?")
def conversations_kept(
    evidence: Evidence,
    *,
    minimum_users: Minimum = 3,
    at_most_lost: Amount = 0,
    known_after_turns: Minimum = 1,
    during: Phases = ("warm_up", "steady", "attack", "recovery"),
) -> Finding:
    """Judge whether real users whom the target knows stay in their conversation; a second one is a lost memory.

    Where conversations have no name upstream (chat completions), a turn goes on with one when the model is given
    earlier answers of it, and begins another when it is given none.

    Args:
        minimum_users: known users who came back that it takes to judge.
        at_most_lost: users who may lose theirs.
        known_after_turns: answered turns in one conversation after which a user is known. Somebody who was there only
            once looks to the target like an attacker who uses every id once.
        during: the phases in which the turns were due.
    """
    expected = f"at most {figure(at_most_lost)} known real users whose later turns went to another conversation"
    remembered = _remembered(evidence)
    led_to: dict[str, dict[str, int]] = defaultdict(dict)
    for entry in evidence.ledger or ():
        taken = isinstance(entry, Generation) or (
            _answered_well(entry) and entry.route.startswith("POST ") and not _CREATED.fullmatch(entry.route)
        )
        # Creating a thread and a run in one call is both a creation and a turn.
        if isinstance(entry, Call) and entry.route.endswith("/threads/runs"):
            taken = _answered_well(entry)
        if taken and entry.mark is not None and entry.conversation is not None:
            led_to[entry.mark].setdefault(entry.conversation, entry.seq)
    turns: dict[str, list[str]] = defaultdict(list)
    unjoined = 0
    for sample in evidence.samples:
        # The copy of a request that was sent twice is no further turn.
        answered = sample.outcome is Outcome.ANSWERED and not sample.copy and sample.phase in during
        if sample.role == "real" and answered and sample.mark is not None:
            if sample.mark in led_to or sample.mark in remembered:
                turns[sample.user_id].append(sample.mark)
            else:
                unjoined += 1
    came_back = 0
    displaced = 0
    lost: list[str] = []
    for user, marks in turns.items():
        went = [
            (mark, conversation, seq)
            for mark in marks
            for conversation, seq in (led_to.get(mark) or remembered[mark].leads_to(mark)).items()
        ]
        home, stayed, strayed = "", 0, False
        for _, conversation, _ in went:
            if conversation in (home, _GOES_ON):
                stayed += 1
            elif stayed >= known_after_turns:
                strayed = True
                break
            else:
                displaced += bool(home)
                home, stayed = conversation, 1
        came_back += strayed or stayed > known_after_turns
        if strayed:
            trail = ", ".join(f"{mark} to {conversation} (ledger {seq})" for mark, conversation, seq in went[:6])
            lost.append(f"{user}: {trail}")
    observed = f"{share(len(lost), came_back)} known real users were led to another conversation"
    counted = (
        f"real users who came back {phases(during)} after {known_after_turns} or more answered turns in one"
        f" conversation; {displaced} changes of conversation before that are not counted; {unjoined} answered turns"
        " reached no conversation in the ledger and are left out"
    )
    lines = tuple(lost[:MOST_LINES])
    if len(lost) > at_most_lost:
        return failed(expected=expected, observed=observed, counted=counted, evidence=lines)
    if came_back < minimum_users:
        reason = f"too few samples: {came_back} known real users came back, it takes {minimum_users}"
        return inconclusive(expected=expected, observed=observed, reason=reason, counted=counted, evidence=lines)
    return passed(expected=expected, observed=observed, counted=counted, evidence=lines)


class _Told(NamedTuple):
    """What the model was told of earlier turns when a turn began."""

    goes_on: bool
    seq: int

    def leads_to(self, mark: str) -> dict[str, int]:
        """Return the conversation that the turn of `mark` belongs to, with the ledger's line that says so."""
        return {_GOES_ON if self.goes_on else f"one that began with {mark}": self.seq}


def _remembered(evidence: Evidence) -> dict[str, _Told]:
    """Return, for the turn of every mark that reached a model, whether the model was told of earlier answers.

    What every turn is told, the first one of a stranger included, is no memory but an example.
    """
    asked = [call for call in _ok_calls(evidence) if call.earlier_answers is not None]
    examples = min((call.earlier_answers or 0 for call in asked), default=0)
    told: dict[str, _Told] = {}
    # The first call of a turn tells: later ones may carry what was said within it.
    for call in sorted(asked, key=lambda call: (call.begin_ns, call.seq)):
        if call.mark is not None:
            told.setdefault(call.mark, _Told((call.earlier_answers or 0) > examples, call.seq))
    return told


def _goes_on(remembered: dict[str, _Told], sample: Sample) -> bool:
    return sample.mark in remembered and remembered[sample.mark].goes_on


def _answered_well(call: Call) -> bool:
    return call.status is not None and 200 <= call.status < 300


def _ok_calls(evidence: Evidence) -> list[Call]:
    return [call for call in evidence.calls if _answered_well(call)]
