"""Do the checks of the ledger pass, fail and abstain for the right reason?"""

from __future__ import annotations

import pytest

from harness.checks.upstream import (
    characters_bounded,
    hazard_never_fired,
    no_open_generations,
    nothing_unexpected,
    retries_bounded,
    tool_calls_per_turn,
    upstream_calls_bounded,
)
from harness.model import Verdict

MESSAGE = "POST /v1/threads/{thread_id}/messages"
DELETE = "DELETE /v1/threads/{thread_id}"

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


def test_generations_of_one_turn_are_one_whatever_their_marks(given):
    tools = [given.tool(id_=f"call_{index}") for index in range(10)]
    ledger = [given.generation(f"chat_{index}", turn="call_0", tool_calls=(tool,)) for index, tool in enumerate(tools)]
    finding = tool_calls_per_turn(given.evidence(ledger=ledger), at_most=8)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("10 tool calls in one turn")
    apart = [
        given.generation(f"run_{index}", mark="#h1", turn=f"thread/{index}", tool_calls=(tool,))
        for index, tool in enumerate(tools)
    ]
    assert tool_calls_per_turn(given.evidence(ledger=apart), at_most=8).verdict is Verdict.PASS


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


# --- retries_bounded


def in_vain(given, calls, times, **fields):
    return [
        given.call(**({"route": MESSAGE, "mark": f"#h{number}", "body_hash": "b", "status": 503} | fields))
        for number in range(calls)
        for _ in range(times)
    ]


def judged(given, ledger, **limits):
    evidence = given.evidence(samples=given.many(20), ledger=ledger)
    return retries_bounded(evidence, **({"upstream": "openai", "at_most_per_request": 0.2} | limits))


def test_retries_bounded_passes(given):
    answered = [given.call(route=MESSAGE, mark=f"#h{number}", body_hash="b") for number in range(12)]
    finding = judged(given, [*in_vain(given, 8, 1), *in_vain(given, 2, 3, path="/y"), *answered])
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "4 repeats for 20 requests, 0.20 each"
    assert finding.counted.startswith("10 different calls to openai")


def test_retries_bounded_fails(given):
    finding = judged(given, in_vain(given, 12, 3))
    assert finding.verdict is Verdict.FAIL
    assert finding.observed == "24 repeats for 20 requests, 1.20 each"
    assert len(finding.evidence) == 3


def test_retries_bounded_of_nothing(given):
    finding = retries_bounded(given.evidence(), upstream="openai", at_most_per_request=0.2)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == (
        "too few samples: 0 different calls to openai failed for 0 requests during attack, it takes 10"
    )


def test_repeats_of_a_handful_of_calls_prove_nothing(given):
    assert judged(given, in_vain(given, 9, 3)).verdict is Verdict.INCONCLUSIVE


def test_a_target_that_leaves_an_upstream_alone_is_within_its_budget(given):
    finding = judged(given, [*in_vain(given, 3, 1), *in_vain(given, 1, 5, path="/y")])
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "4 repeats for 20 requests, 0.20 each"
    assert judged(given, [*in_vain(given, 3, 1), *in_vain(given, 1, 6, path="/y")]).verdict is Verdict.INCONCLUSIVE
    assert judged(given, []).verdict is Verdict.INCONCLUSIVE, "nothing shows that there was an outage"
    few = given.evidence(samples=given.many(9), ledger=in_vain(given, 3, 1))
    assert retries_bounded(few, upstream="openai", at_most_per_request=0.2).verdict is Verdict.INCONCLUSIVE


def test_the_same_again_in_a_later_turn_is_no_repeat(given):
    ledger = [entry for turn in range(12) for entry in in_vain(given, 1, 1, conversation="t", turn=f"t/{turn}")]
    assert judged(given, ledger).observed == "0 repeats for 20 requests, 0.00 each"


@pytest.mark.parametrize("status", [None, 408, 429, 500, 503])
def test_whatever_invites_a_repeat_is_a_call_that_failed(given, status):
    assert judged(given, in_vain(given, 10, 2, status=status)).verdict is Verdict.FAIL


def test_what_is_refused_for_good_or_elsewhere_or_before_or_anybodys_is_no_retry(given):
    ledger = [
        *in_vain(given, 10, 1),
        *in_vain(given, 10, 3, status=401),
        *in_vain(given, 10, 3, upstream="tts"),
        *in_vain(given, 10, 3, at_s=2),
        *in_vain(given, 10, 3, mark=None),
        *in_vain(given, 2, 2, mark=None, conversation="t1", path="/v1/threads/t1/messages"),
    ]
    finding = judged(given, ledger)
    assert finding.verdict is Verdict.PASS
    assert finding.observed == "3 repeats for 20 requests, 0.15 each"
    assert "30 more that cannot be told from each other are left out" in finding.counted


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
