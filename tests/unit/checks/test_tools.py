"""Are tools joined to their calls, and is side by side told from one after the other?"""

from __future__ import annotations

from harness.checks.tools import tools_overlap
from harness.model import Verdict

TIMES_S = {"time": 0.24, "weather": 0.7, "fortune": 0.16}


def question(
    given, number, *, side_by_side, at_s=None, marked=False, times_s=TIMES_S, argument=True, several=True, gap_s=0.005
):
    """One round with three tools: the ledger's records of it."""
    at_s = 5.0 + 1.2 * number if at_s is None else at_s
    run, mark = f"run_{number}", f"#hturn{number}" if marked else None
    names = list(times_s)[: None if several else 1]
    tools = tuple(given.tool(f"get_{name}", f'{{"about": "case{number:04d}"}}' if argument else "{}") for name in names)
    entries = [given.generation(run, "requires_action", at_s, mark=mark, tool_calls=tools)]
    begin_s = at_s + 0.01
    end_s = begin_s
    for name in names:
        path = f"/{name}?about=case{number:04d}" if argument else f"/{name}"
        entries.append(
            given.call(name, f"GET /{name}", path=path, at_s=begin_s, for_s=times_s[name], status=200, mark=mark)
        )
        end_s = max(end_s, begin_s + times_s[name])
        begin_s = begin_s + gap_s if side_by_side else end_s + gap_s
    entries.append(
        given.call(
            route="POST /v1/threads/{thread_id}/runs/{run_id}/submit_tool_outputs", generation=run, at_s=end_s + 0.01
        )
    )
    entries.append(given.generation(run, "completed", end_s + 0.1, mark=mark))
    return entries


def asked(given, number, **how):
    return given.evidence(ledger=[entry for index in range(number) for entry in question(given, index, **how)])


def test_tools_overlap_passes(given):
    finding = tools_overlap(asked(given, 6, side_by_side=True), at_most_cost_ratio=1.3)
    assert finding.verdict is Verdict.PASS
    assert finding.observed.startswith("6 of 6 (100.0 %) rounds overlapped, 0 ran one tool after the other")


def test_tools_overlap_fails(given):
    finding = tools_overlap(asked(given, 6, side_by_side=False), at_most_cost_ratio=1.3)
    assert finding.verdict is Verdict.FAIL
    assert finding.observed.startswith("0 of 6 (0.0 %) rounds overlapped, 6 ran one tool after the other")
    assert "a round took 1.59 times its longest tool" in finding.observed
    assert "get_time, get_weather, get_fortune: took 1.110 s, longest 0.700 s, sum 1.100 s" in finding.evidence[0]


def test_tools_overlap_of_nothing(given):
    finding = tools_overlap(given.evidence())
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert finding.reason == "too few samples: no round with several tools"


def test_a_ratio_that_one_after_the_other_would_meet_too_does_not_pass_it(given):
    evidence = asked(given, 6, side_by_side=False, times_s={"weather": 0.7, "time": 0.1})
    assert tools_overlap(evidence, at_most_cost_ratio=1.5).verdict is Verdict.FAIL


def test_too_few_rounds_are_inconclusive(given):
    finding = tools_overlap(asked(given, 4, side_by_side=True))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "4 rounds could be judged, it takes 5" in finding.reason


def test_rounds_at_the_same_time_are_told_apart_by_their_arguments(given):
    finding = tools_overlap(asked(given, 6, side_by_side=False, at_s=6.0))
    assert finding.verdict is Verdict.FAIL
    assert "6 judged, 0 ambiguous" in finding.counted


def test_rounds_at_the_same_time_are_told_apart_by_their_marks(given):
    finding = tools_overlap(asked(given, 6, side_by_side=True, at_s=6.0, argument=False, marked=True))
    assert finding.verdict is Verdict.PASS
    assert "6 judged, 0 ambiguous" in finding.counted


def test_rounds_at_the_same_time_without_either_are_ambiguous(given):
    finding = tools_overlap(asked(given, 6, side_by_side=True, at_s=6.0, argument=False))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "6 ambiguous" in finding.reason


def test_a_round_with_one_tool_can_make_another_ambiguous(given):
    ledger = [
        *question(given, 1, side_by_side=True, at_s=6.0, argument=False),
        *question(given, 2, side_by_side=True, at_s=6.0, argument=False, several=False),
    ]
    finding = tools_overlap(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "1 rounds with several tools: 0 judged, 1 ambiguous" in finding.counted


def test_a_tool_without_arguments_may_have_made_the_call_that_another_names(given):
    ledger = [
        *question(given, 1, side_by_side=False, at_s=6.0),
        *question(given, 2, side_by_side=False, at_s=6.0, argument=False, several=False),
    ]
    finding = tools_overlap(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "1 rounds with several tools: 0 judged, 1 ambiguous" in finding.counted


def test_tools_without_arguments_are_joined_where_one_round_is_open(given):
    assert tools_overlap(asked(given, 6, side_by_side=True, argument=False)).verdict is Verdict.PASS


def test_percent_encoded_arguments_are_found(given):
    ledger = []
    for index in range(6):
        tools = tuple(given.tool(f"get_{name}", '{"city": "東京 都"}') for name in ("weather", "news"))
        ledger += [given.generation(f"run_{index}", "requires_action", 6 + index, tool_calls=tools)]
        ledger += [
            given.call(name, path="/x?q=%E6%9D%B1%E4%BA%AC+%E9%83%BD", at_s=6.1 + index, for_s=0.2)
            for name in ("weather", "news")
        ]
        ledger += [given.generation(f"run_{index}", "in_progress", 6.5 + index)]
    assert tools_overlap(given.evidence(ledger=ledger)).verdict is Verdict.PASS


def test_a_retry_prolongs_its_tool_and_is_no_second_one(given):
    ledger = []
    for index in range(6):
        tools = (given.tool("get_weather", '{"city": "Tokyo"}'), given.tool("calculate", '{"expression": "1+1"}'))
        ledger += [given.generation(f"run_{index}", "requires_action", 6 + index, tool_calls=tools)]
        ledger += [
            given.call("weather", path="/x?q=Tokyo", at_s=6.1 + index + retry / 4, for_s=0.2) for retry in range(2)
        ]
        ledger += [given.generation(f"run_{index}", "in_progress", 6.9 + index)]
    finding = tools_overlap(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "6 not joined to two calls" in finding.counted


def test_calls_too_short_to_tell_are_left_out(given):
    evidence = asked(given, 6, side_by_side=False, times_s={"time": 0.002, "weather": 0.003}, gap_s=0.001)
    finding = tools_overlap(evidence)
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "6 too short to tell" in finding.counted


def test_where_outputs_are_not_handed_in_the_next_generation_of_the_turn_ends_the_round(given):
    ledger = []
    for index in range(6):
        at_s = 5.0 + index
        tools = tuple(given.tool(f"get_{name}") for name in ("weather", "time"))
        ledger += [
            given.generation(f"a{index}", "requires_action", at_s, conversation="c1", tool_calls=tools),
            *(given.call(name, at_s=at_s + 0.1, for_s=0.3) for name in ("weather", "time")),
            given.generation(f"b{index}", "in_progress", at_s + 0.5, conversation="c1"),
        ]
    assert tools_overlap(given.evidence(ledger=ledger)).verdict is Verdict.PASS


def test_a_round_that_broke_off_is_over_when_its_caller_was_answered(given):
    broken = given.generation("broken", "requires_action", 4.0, mark="#hbroken", tool_calls=(given.tool("get_time"),))
    ledger = [broken, *asked(given, 6, side_by_side=False, argument=False).ledger]
    assert "6 ambiguous" in tools_overlap(given.evidence(ledger=ledger)).counted
    told = given.sample(mark="#hbroken", at_s=3.9, latency_s=0.5, outcome="opaque_error")
    assert tools_overlap(given.evidence(ledger=ledger, samples=[told])).verdict is Verdict.FAIL
    gave_up = given.sample(mark="#hbroken", at_s=3.9, latency_s=0.5, outcome="timeout")
    assert "6 ambiguous" in tools_overlap(given.evidence(ledger=ledger, samples=[gave_up])).counted


def test_a_call_goes_to_the_round_that_still_lacks_one(given):
    # Each begins while the one before is at its last tool, and their tools have no arguments.
    ledger = [
        entry
        for index in range(6)
        for entry in question(given, index, side_by_side=False, argument=False, at_s=5.0 + index)
    ]
    finding = tools_overlap(given.evidence(ledger=ledger))
    assert finding.verdict is Verdict.FAIL
    assert "6 judged, 0 ambiguous" in finding.counted


def test_a_failed_call_leaves_its_round_lacking(given):
    ledger = [
        given.generation("run_1", "requires_action", 6.0, tool_calls=(given.tool("get_time"), given.tool("get_news"))),
        given.call("time", at_s=6.1, for_s=0.1, status=503),
        given.generation("run_2", "requires_action", 6.2, tool_calls=(given.tool("get_time"), given.tool("get_news"))),
        given.call("time", at_s=6.3, for_s=0.1),
    ]
    assert "2 ambiguous" in tools_overlap(given.evidence(ledger=ledger)).counted


def test_an_api_without_a_state_of_waiting_for_outputs_is_judged_alike(given):
    """A response completes with the calls that it asks for; the outputs come with the next response of the turn."""
    for side_by_side, verdict in ((True, Verdict.PASS), (False, Verdict.FAIL)):
        entries = []
        for number in range(6):
            at_s = 5.0 + 1.3 * number
            tools = tuple(given.tool(f"get_{name}", f'{{"about": "case{number:04d}"}}') for name in TIMES_S)
            entries.append(given.generation(f"resp_{number}", "completed", at_s, conversation="conv", tool_calls=tools))
            begin_s = at_s + 0.01
            for name, took_s in TIMES_S.items():
                path = f"/{name}?about=case{number:04d}"
                entries.append(given.call(name, f"GET /{name}", path=path, at_s=begin_s, for_s=took_s, status=200))
                begin_s += 0.005 if side_by_side else took_s
            entries.append(given.generation(f"resp_{number}b", "completed", at_s + 1.25, conversation="conv"))
        assert tools_overlap(given.evidence(ledger=entries), at_most_cost_ratio=1.3).verdict is verdict
