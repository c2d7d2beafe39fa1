"""Do the checks of the ledger pass, fail and abstain for the right reason?"""

from __future__ import annotations

import pytest

from harness.checks.upstream import (
    characters_bounded,
    conversations_kept,
    hazard_never_fired,
    live_conversations_bounded,
    no_open_generations,
    nothing_unexpected,
    tool_calls_per_turn,
    upstream_calls_bounded,
)
from harness.model import Verdict

MESSAGE = "POST /v1/threads/{thread_id}/messages"
DELETE = "DELETE /v1/threads/{thread_id}"

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


# --- characters_bounded


def analysed(given, *characters):
    return [given.call("emotion", "POST /analyze", characters=number) for number in characters]


def flood(given):
    return given.many(5, role="attacker", message_chars=10_014)


def test_characters_bounded_passes(given):
    evidence = given.evidence(samples=flood(given), ledger=analysed(given, 20, 30, 500))
    finding = characters_bounded(evidence, upstream="emotion", at_most=500)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "longest text 500 characters, 0 of 3 calls above the limit"
    assert "had 10,014 characters" in finding.counted


def test_characters_bounded_fails(given):
    evidence = given.evidence(samples=flood(given), ledger=analysed(given, 20, 10_014))
    finding = characters_bounded(evidence, upstream="emotion", at_most=500)
    assert finding.verdict is Verdict.FAIL
    assert "10,014 characters" in finding.evidence[0]


def test_characters_bounded_of_nothing(given):
    finding = characters_bounded(given.evidence(), upstream="emotion", at_most=500)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.observed == "emotion was never called"


def test_an_upstream_that_is_hardly_used_proves_nothing(given):
    evidence = given.evidence(samples=flood(given), ledger=[*analysed(given, 20, 30), given.call("tts", characters=9)])
    finding = characters_bounded(evidence, upstream="emotion", at_most=500)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "2 ordinary calls to emotion, it takes 3" in finding.reason


def test_without_anything_longer_nothing_was_held_back(given):
    ledger = analysed(given, 20, 30, 40)
    evidence = given.evidence(samples=given.many(5, message_chars=30), ledger=ledger)
    finding = characters_bounded(evidence, upstream="emotion", at_most=500)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason.startswith("nothing longer than 500 characters was sent")
    tricked = given.evidence(samples=given.many(5), ledger=ledger, events=[given.event("say", "fired", family="model")])
    assert characters_bounded(tricked, upstream="emotion", at_most=500).verdict is Verdict.PASS


# --- hazard_never_fired


def hazard(given, *, baits=10, crashes=0, armed=True, spoken=3):
    return given.evidence(
        planned=[given.fault_plan("say"), given.fault_plan("crash_on_emoji", upstream="tts", must_fire=False)],
        events=[
            *([given.event("crash_on_emoji", "armed", 1)] if armed else []),
            *(given.event("say", "fired", 6 + index / 10, id="f2", family="model") for index in range(baits)),
            *(given.event("crash_on_emoji", "fired", 8, detail="🔥") for _ in range(crashes)),
        ],
        ledger=[given.call("tts", "POST /speak") for _ in range(spoken)],
    )


def test_hazard_never_fired_passes(given):
    finding = hazard_never_fired(hazard(given), fault="crash_on_emoji", bait="say", at_least_bait=10)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "crash_on_emoji fired 0 times, say 10 times"


def test_hazard_never_fired_fails(given):
    finding = hazard_never_fired(hazard(given, crashes=2), fault="crash_on_emoji", bait="say")
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence[0] == "fault f1 crash_on_emoji at 8.00 s: fired: 🔥"


def test_hazard_never_fired_of_nothing(given):
    finding = hazard_never_fired(given.evidence(), fault="crash_on_emoji", bait="say")
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "crash_on_emoji was never armed, so it could not fire"


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"armed": False}, "crash_on_emoji was never armed, so it could not fire"),
        ({"baits": 9}, "too little bait: say fired 9 times, it takes 10"),
        ({"spoken": 0}, "tts was never called, so crash_on_emoji could not fire"),
    ],
)
def test_a_hazard_that_nothing_tempted_proves_nothing(given, lacking, reason):
    finding = hazard_never_fired(hazard(given, **lacking), fault="crash_on_emoji", bait="say", at_least_bait=10)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == reason


# --- tool_calls_per_turn


def rounds(given, number, *, id_="run_1", mark=None, ends="completed"):
    states = [
        given.generation(id_, "requires_action", 6 + index / 100, mark=mark, tool_calls=(given.tool(),))
        for index in range(number)
    ]
    return [*states, given.generation(id_, ends, 9, mark=mark)]


def test_tool_calls_per_turn_passes(given):
    finding = tool_calls_per_turn(given.evidence(ledger=rounds(given, 3)), at_most=8)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("3 tool calls in one turn (get_weather 3 times), which had ended at the end")


def test_tool_calls_per_turn_fails(given):
    ledger = [*rounds(given, 2, id_="run_0"), *rounds(given, 57, ends="in_progress")]
    finding = tool_calls_per_turn(given.evidence(ledger=ledger), at_most=8)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith(
        "57 tool calls in one turn (get_weather 57 times), which was still going on at the end; 1 of 2 (50.0 %) turns"
    )
    assert len(finding.evidence) == 20


def test_tool_calls_per_turn_of_nothing(given):
    finding = tool_calls_per_turn(given.evidence(ledger=[given.generation()]), at_most=8)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "too few samples: 0 turns with a tool call, it takes 1"


def test_generations_of_one_mark_are_one_turn(given):
    ledger = [entry for index in range(5) for entry in rounds(given, 2, id_=f"response_{index}", mark="#h1")]
    finding = tool_calls_per_turn(given.evidence(ledger=ledger), at_most=8)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("10 tool calls in one turn")


def test_one_tool_call_that_is_recorded_twice_counts_once(given):
    tool = given.tool()
    ledger = [given.generation(state="requires_action", at_s=6 + step, tool_calls=(tool,)) for step in range(3)]
    finding = tool_calls_per_turn(given.evidence(ledger=ledger), at_most=1)
    assert finding.verdict is Verdict.PASS


# --- no_open_generations


def test_no_open_generations_passes(given):
    ledger = [given.generation("run_1", "in_progress", 6), given.generation("run_1", "completed", 7)]
    finding = no_open_generations(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "0 of 1 (0.0 %) generations left open"


@pytest.mark.parametrize("state", ["queued", "in_progress", "requires_action", "cancelling"])
def test_no_open_generations_fails(given, state):
    ledger = [given.generation("run_1", state, 6), given.generation("run_2", "cancelled", 6)]
    finding = no_open_generations(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == f"1 of 2 (50.0 %) generations left open: 1 {state}"


def test_no_open_generations_of_nothing(given):
    finding = no_open_generations(given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "the target started no generation"


def test_what_ends_after_the_drain_was_open_at_its_end(given):
    ledger = [given.generation("run_1", "in_progress", 6), given.generation("run_1", "expired", 30)]
    assert no_open_generations(given.evidence(ledger=ledger)).verdict is Verdict.FAIL


def test_grace_excuses_the_young_but_no_loop(given):
    young = [given.generation("run_1", "in_progress", 16.5)]
    assert no_open_generations(given.evidence(ledger=young), grace_s=1).verdict is Verdict.PASS
    loop = [given.generation("run_1", "in_progress", at_s) for at_s in (6, 16.9)]
    assert no_open_generations(given.evidence(ledger=loop), grace_s=1).verdict is Verdict.FAIL


# --- upstream_calls_bounded


def test_upstream_calls_bounded_passes(given):
    ledger = [given.call() for _ in range(50)]
    finding = upstream_calls_bounded(
        given.evidence(samples=given.many(10), ledger=ledger), upstream="openai", at_most_per_request=5
    )
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "50 calls for 10 requests, 5.00 each"


def test_upstream_calls_bounded_fails(given):
    ledger = [given.call(route="GET /v1/threads/{t}/runs/{r}", body_hash="x") for _ in range(51)]
    finding = upstream_calls_bounded(
        given.evidence(samples=given.many(10), ledger=ledger), upstream="openai", at_most_per_request=5
    )
    assert finding.verdict is Verdict.FAIL
    assert finding.evidence == ("51 calls: GET /v1/threads/{t}/runs/{r}",)
    assert "50 of them repeat an equal body" in finding.counted


def test_upstream_calls_bounded_of_nothing(given):
    nothing = upstream_calls_bounded(given.evidence(), upstream="openai", at_most_per_request=5)
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert "0 requests reached the target" in nothing.reason
    idle = upstream_calls_bounded(given.evidence(samples=given.many(9)), upstream="openai", at_most_per_request=5)
    assert idle.verdict is Verdict.INCONCLUSIVE
    assert "openai was never called" in idle.reason


def test_calls_outside_the_window_or_the_pattern_do_not_count(given):
    ledger = [
        *(given.call(at_s=2) for _ in range(100)),
        *(given.call(route="GET /v1/models") for _ in range(100)),
        *(given.call("tts", "POST /speak") for _ in range(100)),
        given.call(),
    ]
    finding = upstream_calls_bounded(
        given.evidence(samples=given.many(10), ledger=ledger), upstream="openai", at_most_per_request=1, route="POST *"
    )
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "1 calls for 10 requests, 0.10 each"


# --- nothing_unexpected


def test_nothing_unexpected_passes(given):
    assert nothing_unexpected(given.evidence(ledger=[given.call()])).verdict is Verdict.PASS


def test_nothing_unexpected_fails(given):
    strange = given.call(route="POST /v1/nonsense", status=404, unexpected=True)
    finding = nothing_unexpected(given.evidence(ledger=[given.call(), strange]))
    assert finding.verdict is Verdict.FAIL
    assert "POST /v1/nonsense 404" in finding.evidence[0]


def test_nothing_unexpected_of_nothing(given):
    assert nothing_unexpected(given.evidence()).verdict is Verdict.INCONCLUSIVE
