"""Is it judged rightly whose conversation is kept, and how many are alive, with names upstream and without?"""

from __future__ import annotations

import pytest

from harness.checks.conversations import conversations_kept, live_conversations_bounded
from harness.model import Verdict

MESSAGE = "POST /v1/threads/{thread_id}/messages"
DELETE = "DELETE /v1/threads/{thread_id}"
CHAT = "POST /v1/chat/completions"

# --- live_conversations_bounded


def created(given, number, *, begin_s=6.0, route="POST /v1/threads"):
    return [
        given.call(route=route, conversation=f"thread_{begin_s}_{index}", at_s=begin_s + index / 100)
        for index in range(number)
    ]


def test_live_conversations_bounded_passes(given):
    calls = []
    for index in range(100):
        calls.append(given.call(conversation=f"t{index}", at_s=6 + index / 100))
        if index >= 30:
            calls.append(given.call(route=DELETE, conversation=f"t{index - 30}", at_s=6.001 + index / 100))
    evidence = given.evidence(samples=given.many(100, role="attacker"), ledger=calls)
    finding = live_conversations_bounded(evidence, at_most=40)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("31 conversations alive at once")
    assert "100 conversations created, 70 deleted, 30 alive at the end; 100 distinct ids" in finding.counted


def test_live_conversations_bounded_fails(given):
    evidence = given.evidence(samples=given.many(100, role="attacker"), ledger=created(given, 100))
    finding = live_conversations_bounded(evidence, at_most=40)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "100 conversations alive at once (at 7.00 s)"
    assert len(finding.evidence) == 20
    assert finding.evidence[0].startswith("ledger 41 at 6.40 s")


def test_live_conversations_bounded_of_nothing(given):
    finding = live_conversations_bounded(given.evidence(), at_most=40)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("no conversation was created upstream")


def test_an_attack_smaller_than_the_bound_proves_nothing(given):
    evidence = given.evidence(samples=given.many(40, role="attacker"), ledger=created(given, 40))
    finding = live_conversations_bounded(evidence, at_most=40)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "40 distinct ids of attackers reached the target, it takes more than 40" in finding.reason


def test_attackers_who_came_to_a_closed_door_do_not_count(given):
    samples = given.many(100, role="attacker", outcome="disconnected")
    finding = live_conversations_bounded(given.evidence(samples=samples, ledger=created(given, 5)), at_most=40)
    assert finding.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("route", ["POST /v1/threads/runs", "POST /v1/conversations", "POST /openai/threads"])
def test_conversations_of_every_interface_count(given, route):
    evidence = given.evidence(samples=given.many(9, role="attacker"), ledger=created(given, 9, route=route))
    assert live_conversations_bounded(evidence, at_most=5).verdict is Verdict.FAIL


def test_what_was_not_created_or_is_no_conversation_does_not_count(given):
    calls = [
        *(given.call(conversation=None, status=503) for _ in range(9)),
        *(given.call(conversation=None, status=None) for _ in range(9)),
        *(given.call(route=MESSAGE, conversation=f"t{index}") for index in range(9)),
        given.call(conversation="t0"),
    ]
    evidence = given.evidence(samples=given.many(9, role="attacker"), ledger=calls)
    finding = live_conversations_bounded(evidence, at_most=5)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("1 conversations")


def test_deleting_a_message_deletes_no_conversation(given):
    calls = created(given, 9)
    calls += [
        given.call(route="DELETE /v1/threads/{thread_id}/messages/{message_id}", conversation=call.conversation)
        for call in calls
    ]
    evidence = given.evidence(samples=given.many(9, role="attacker"), ledger=calls)
    assert live_conversations_bounded(evidence, at_most=5).verdict is Verdict.FAIL


# --- conversations_kept


def turn(given, user, number, conversation, **fields):
    mark = f"#h{user}{number}"
    sample = given.sample(user_id=user, mark=mark, at_s=2 + number, phase="steady", **fields)
    calls = [
        given.call(route=MESSAGE, mark=mark, conversation=conversation),
        given.call(route="POST /v1/threads/{thread_id}/runs", mark=mark, conversation=conversation),
    ]
    return sample, [*calls, given.generation(f"run{mark}", mark=mark, conversation=conversation)]


def talks(given, users, conversation):
    turns = [turn(given, f"user{one}", number, conversation(one, number)) for one in range(users) for number in (0, 1)]
    return given.evidence(samples=[one for one, _ in turns], ledger=[entry for _, some in turns for entry in some])


def test_conversations_kept_passes(given):
    finding = conversations_kept(talks(given, 4, lambda user, number: f"t{user}"))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "0 of 4 (0.0 %) known real users were led to another conversation"


def test_conversations_kept_fails(given):
    finding = conversations_kept(talks(given, 4, lambda user, number: f"t{user}_{number if user else 0}"))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("3 of 4")
    assert finding.evidence[0].startswith("user1: #huser10 to t1_0 (ledger ")


def test_conversations_kept_of_nothing(given):
    finding = conversations_kept(given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "too few samples: 0 known real users came back, it takes 3"


def told(given, *conversations):
    """One user's turns, each in the conversation that is named."""
    turns = [turn(given, "user", number, conversation) for number, conversation in enumerate(conversations)]
    return given.evidence(samples=[one for one, _ in turns], ledger=[entry for _, some in turns for entry in some])


def test_who_was_there_only_once_is_not_known_yet(given):
    finding = conversations_kept(told(given, "t1", "t2", "t2", "t2"), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.PASS
    assert "1 changes of conversation before that" in finding.counted


def test_who_was_there_twice_is_known_and_can_be_lost(given):
    finding = conversations_kept(told(given, "t1", "t1", "t2"), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("1 of 1")


def test_a_known_user_who_never_came_back_proves_nothing(given):
    finding = conversations_kept(told(given, "t1", "t1"), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.INCONCLUSIVE


def test_a_turn_without_an_answer_took_no_memory_with_it(given):
    first, first_calls = turn(given, "user", 0, "t1", outcome="timeout")
    later = [turn(given, "user", number, "t2") for number in (1, 2)]
    evidence = given.evidence(
        samples=[first, *(sample for sample, _ in later)],
        ledger=[*first_calls, *(entry for _, some in later for entry in some)],
    )
    assert conversations_kept(evidence, minimum_users=1).verdict is Verdict.PASS


def test_a_conversation_that_is_created_with_its_run_is_a_turn_in_it(given):
    samples = [given.sample(user_id="user", mark=f"#h{number}") for number in (0, 1)]
    calls = [
        given.call(route="POST /v1/threads/runs", mark=sample.mark, conversation=f"t{sample.mark}")
        for sample in samples
    ]
    finding = conversations_kept(given.evidence(samples=samples, ledger=calls), minimum_users=1)
    assert finding.verdict is Verdict.FAIL


def test_a_call_that_was_turned_down_leads_nowhere(given):
    evidence = talks(given, 3, lambda user, number: f"t{user}")
    refused = given.call(route=MESSAGE, mark="#huser00", conversation="t_other", status=404)
    finding = conversations_kept(given.evidence(samples=evidence.samples, ledger=[*evidence.ledger, refused]))
    assert finding.verdict is Verdict.PASS


# --- without names upstream: what the model is told of earlier turns


def asked(given, mark, earlier, *, at_s=6.0, **fields):
    return given.call(route=CHAT, mark=mark, earlier_answers=earlier, at_s=at_s, **fields)


def bombed(given, *, known, forgotten, refused=0, control=True, examples=0):
    """Attackers who were there and come back after the attack, beside a real user of two turns."""
    ids = known + forgotten + refused
    samples = [given.sample(role="attacker", user_id=f"a{one}", at_s=5.5) for one in range(ids)]
    ledger = [asked(given, None, examples) for _ in range(ids)]
    for one in range(ids):
        mark, came = f"#ha{one}", given.sample(role="probe", user_id=f"a{one}", mark=f"#ha{one}", phase="recovery")
        samples.append(came)
        if one < known + forgotten:
            ledger.append(asked(given, mark, examples + (one < known), at_s=11.6))
    for turn in (0, 1):
        samples.append(given.sample(user_id="user", mark=f"#hu{turn}", at_s=3 + turn))
        ledger.append(asked(given, f"#hu{turn}", examples + (turn if control else 0), at_s=3 + turn))
    return given.evidence(samples=samples, ledger=ledger)


def test_whom_the_target_knows_on_their_return_was_alive(given):
    finding = live_conversations_bounded(bombed(given, known=12, forgotten=0), at_most=10)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "12 conversations alive at once (at 11.00 s)"
    assert finding.evidence[0].startswith("a0: ledger ")


def test_whom_the_target_has_forgotten_on_their_return_was_not(given):
    finding = live_conversations_bounded(bombed(given, known=3, forgotten=9), at_most=10)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "3 conversations alive at once (at 11.00 s)"
    assert "3 of 12 (25.0 %) attackers, 0 others; 0 attackers came back" in finding.counted


def test_an_example_that_everybody_is_shown_is_no_memory(given):
    finding = live_conversations_bounded(bombed(given, known=0, forgotten=12, examples=2), at_most=10)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("0 conversations")


def test_real_users_who_are_remembered_count_as_well(given):
    evidence = bombed(given, known=10, forgotten=2)
    later = given.sample(user_id="user", mark="#hu2", phase="recovery")
    evidence = given.evidence(
        samples=[*evidence.samples, later], ledger=[*evidence.ledger, asked(given, "#hu2", 2, at_s=11.7)]
    )
    assert live_conversations_bounded(evidence, at_most=10).verdict is Verdict.FAIL


def test_who_is_let_in_at_the_second_try_is_looked_at_then(given):
    evidence = bombed(given, known=0, forgotten=4, refused=9)
    again = [given.sample(role="probe", user_id=f"a{one}", mark=f"#hb{one}", at_s=14) for one in range(4, 13)]
    calls = [asked(given, one.mark, 0, at_s=14) for one in again]
    evidence = given.evidence(samples=[*evidence.samples, *again], ledger=[*evidence.ledger, *calls])
    assert live_conversations_bounded(evidence, at_most=10).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ({"known": 0, "forgotten": 12, "control": False}, "no model was ever told of an earlier answer"),
        ({"known": 0, "forgotten": 10}, "10 did after the attack, it takes more than 10"),
        ({"known": 2, "forgotten": 4, "refused": 9}, "of 9 attackers who came back nothing shows"),
    ],
)
def test_without_enough_who_came_back_nothing_is_known(given, case, reason):
    finding = live_conversations_bounded(bombed(given, **case), at_most=10)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert reason in finding.reason


def test_who_comes_back_while_the_attack_lasts_shows_nothing_of_its_end(given):
    evidence = bombed(given, known=12, forgotten=0)
    early = [one if one.role != "probe" else given.sample(role="probe", user_id=one.user_id, mark=one.mark, at_s=10)
             for one in evidence.samples]  # fmt: skip
    finding = live_conversations_bounded(given.evidence(samples=early, ledger=evidence.ledger), at_most=10)
    assert finding.verdict is Verdict.INCONCLUSIVE


def chatted(given, *earlier):
    """One user's turns on chat completions; each number is how many earlier answers the model was told of."""
    samples = [given.sample(user_id="user", mark=f"#h{turn}", at_s=2 + turn) for turn in range(len(earlier))]
    calls = [asked(given, f"#h{turn}", told, at_s=2 + turn) for turn, told in enumerate(earlier)]
    # A second call of the same turn, with what was said within it, says nothing about memory.
    calls += [asked(given, f"#h{turn}", told + 1, at_s=2.5 + turn) for turn, told in enumerate(earlier)]
    return given.evidence(samples=samples, ledger=calls)


def test_a_conversation_without_a_name_is_kept_while_its_answers_are_told(given):
    finding = conversations_kept(chatted(given, 0, 1, 2, 3, 3), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("0 of 1")


def test_a_conversation_without_a_name_is_lost_when_none_is_told_any_more(given):
    finding = conversations_kept(chatted(given, 0, 1, 2, 0, 1), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.FAIL
    assert "#h3 to one that began with #h3" in finding.evidence[0]


def test_what_happens_outside_the_phases_that_are_asked_for_does_not_count(given):
    lost = chatted(given, 0, 1, 2, 0)
    finding = conversations_kept(lost, minimum_users=1, known_after_turns=2, during=("steady",))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "came back during steady after 2 or more" in finding.counted


def test_a_target_that_never_tells_of_earlier_answers_has_no_memory_to_judge(given):
    finding = conversations_kept(chatted(given, 0, 0, 0, 0), minimum_users=1, known_after_turns=2)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("too few samples: 0 known real users")
