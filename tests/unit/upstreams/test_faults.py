"""What each fault makes of an answer, as steps: no sockets."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from harness.faults import FaultError, parse
from harness.upstreams import wire
from harness.upstreams.sound import SAMPLE_RATE_HZ


def arm(caller: Any, fault: str, **fields: Any) -> str:
    return str(caller.epoch.faults.arm(parse({"fault": fault, **fields}), caller.now_ns))


def weather(caller: Any, city: str = "Tokyo") -> Any:
    return caller.call("weather", "GET", "/data/2.5/weather", query=f"q={city}&appid=k")


def events(caller: Any) -> list[str]:
    return [event.event for event in caller.epoch.ledger.events]


def test_slow_adds_to_the_latency(caller: Any) -> None:
    usual = weather(caller).waited_s
    arm(caller, "slow", upstream="weather", delay_s=2.0, jitter_s=1.0)
    slow = weather(caller)
    assert slow.status == 200
    assert 2.0 <= slow.waited_s - usual <= 3.1
    assert caller.epoch.ledger.calls[-1].fault == "slow"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_event_of_a_stream_that_drips_is_a_drop_at_least(caller: Any, stream: bool) -> None:
    arm(caller, "drip", upstream="openai", bytes=1_000_000, every_s=0.5)
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": stream}
    steps = caller.call("openai", "POST", "/v1/chat/completions", body).steps
    drops = [number for number, step in enumerate(steps) if isinstance(step, wire.Data)]
    assert len(drops) > 3 if stream else len(drops) == 1
    assert all(steps[number + 1] == wire.Wait(0.5) for number in drops)


def test_hang_says_nothing_and_does_nothing(caller: Any) -> None:
    arm(caller, "hang", upstream="openai")
    assert caller.call("openai", "POST", "/v1/threads").steps == [wire.Hang()]
    call = caller.epoch.ledger.calls[-1]
    assert (call.status, call.fault) == (None, "hang")
    assert caller.epoch.ledger.summary().live_conversations == 0


def test_reset(caller: Any) -> None:
    arm(caller, "reset", upstream="weather")
    assert weather(caller).steps == [wire.Reset()]


@pytest.mark.parametrize(
    ("upstream", "status", "where", "expected"),
    [
        ("openai", 401, ("error", "code"), "invalid_api_key"),
        ("openai", 429, ("error", "code"), "rate_limit_exceeded"),
        ("openai", 503, ("error", "type"), "service_unavailable_error"),
        ("weather", 401, ("cod",), 401),
        ("news", 429, ("code",), "rateLimited"),
        ("tts", 503, ("detail",), "Service Unavailable"),
        ("emotion", 500, ("detail",), "Internal Server Error"),
        ("time", 503, ("error",), "service unavailable"),
        ("fortune", 503, ("error",), "the stars are silent"),
    ],
)
def test_status_is_in_the_words_of_the_upstream(
    caller: Any, upstream: str, status: int, where: tuple[str, ...], expected: Any
) -> None:
    arm(caller, "status", upstream=upstream, status=status, retry_after_s=1.5)
    answer = caller.call(upstream, "GET", "/whatever")
    assert answer.status == status
    assert answer.headers["retry-after"] == "2"
    found = answer.json
    for key in where:
        found = found[key]
    assert found == expected


def test_a_skewed_clock_writes_the_date_of_retry_after_too(caller: Any) -> None:
    arm(caller, "clock_skew", upstream="weather", seconds=-86_400)
    id_ = arm(caller, "status", upstream="weather", status=429, retry_after_s=5, retry_after_as="date")
    headers = weather(caller).headers
    said, now = (parsedate_to_datetime(headers[name]).timestamp() for name in ("retry-after", "date"))
    assert said - now == pytest.approx(5, abs=1)
    assert now == pytest.approx(caller.epoch.wall_s(caller.now_ns) - 86_400, abs=1)
    caller.epoch.faults.lift(id_, caller.now_ns)
    arm(caller, "status", upstream="weather", status=429, retry_after_s=5)
    assert weather(caller).headers["retry-after"] == "5"


@pytest.mark.parametrize("later_s", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_a_date_to_come_back_is_never_earlier_than_was_asked_for(caller: Any, later_s: float) -> None:
    arm(caller, "status", upstream="weather", status=429, retry_after_s=2, retry_after_as="date")
    caller.sleep(later_s)
    begun_s = caller.epoch.wall_s(caller.now_ns)
    said_s = parsedate_to_datetime(weather(caller).headers["retry-after"]).timestamp()
    assert 2 <= said_s - begun_s < 3


def test_what_is_huge_takes_no_longer_than_what_a_model_writes(caller: Any) -> None:
    arm(caller, "over_long", characters=10_000)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    long_s = caller.call("openai", "POST", "/v1/chat/completions", body).waited_s
    caller.epoch.faults.lift_all(caller.now_ns)
    arm(caller, "over_long", characters=1_000_000)
    assert caller.call("openai", "POST", "/v1/chat/completions", body).waited_s < 2 * long_s


def test_a_fault_of_the_model_is_refused_where_no_model_is_asked(caller: Any) -> None:
    with pytest.raises(FaultError, match="expected `openai`, or nothing"):
        arm(caller, "loop", upstream="tts")
    arm(caller, "loop", upstream="openai")


def test_a_bad_gateway_speaks_html(caller: Any) -> None:
    arm(caller, "status", upstream="openai", status=502)
    answer = caller.call("openai", "GET", "/v1/assistants")
    assert answer.headers["content-type"] == "text/html"
    assert b"502 Bad Gateway" in answer.body


def test_cut_ends_short_of_what_was_announced_but_the_work_is_done(caller: Any) -> None:
    arm(caller, "cut", upstream="openai", after_bytes=10)
    answer = caller.call("openai", "POST", "/v1/threads")
    assert len(answer.body) == 10
    assert answer.length is not None
    assert answer.length > 10
    assert answer.steps[-1] == wire.Close()
    assert caller.epoch.ledger.summary().live_conversations == 1


def test_cut_takes_at_least_the_last_byte(caller: Any) -> None:
    arm(caller, "cut", upstream="weather", after_bytes=1_000_000)
    answer = weather(caller)
    assert len(answer.body) == answer.length - 1


def test_crash_on_emoji_only_on_emoji(caller: Any) -> None:
    arm(caller, "crash_on_emoji", down_s=3.0)
    assert caller.call("tts", "POST", "/speak", {"text": "こんにちはにゃん♪"}).status == 200
    assert caller.call("tts", "POST", "/speak", {"text": "🔥にゃん"}).steps == [wire.GoDown(3.0)]
    assert caller.call("tts", "POST", "/speak", {"text": "🇰🇷"}).steps == [wire.GoDown(3.0)]
    assert events(caller) == ["armed", "fired", "fired"]


def test_refuse_closes_and_opens_the_socket(caller: Any) -> None:
    heard: list[tuple[str, str, str | None]] = []
    caller.epoch.faults.listening = lambda *what: heard.append(what)
    id_ = arm(caller, "refuse", upstream="tts")
    caller.epoch.faults.lift(id_, caller.now_ns)
    assert heard == [("tts", id_, "refuse"), ("tts", id_, None)]
    assert events(caller) == ["armed", "fired", "lifted"]


@pytest.mark.parametrize("state", ["queued", "in_progress"])
def test_stuck_until_cancelled(caller: Any, state: str) -> None:
    id_ = arm(caller, "stuck", state=state)
    _, run = caller.begin_run("こんにちは")
    caller.sleep(500)
    caller.epoch.faults.lift(id_, caller.now_ns)
    caller.sleep(50)
    assert caller.openai("GET", run)["status"] == state
    caller.openai("POST", f"{run}/cancel")
    assert caller.settled(run)["status"] == "cancelled"


def test_stuck_in_cancelling_until_it_expires(caller: Any) -> None:
    arm(caller, "stuck", state="cancelling")
    _, run = caller.begin_run("今何時？")
    caller.settled(run)
    caller.openai("POST", f"{run}/cancel")
    caller.sleep(500)
    assert caller.openai("GET", run)["status"] == "cancelling"
    caller.sleep(101)
    assert caller.openai("GET", run)["status"] == "expired"


def rounds(caller: Any, text: str, count: int) -> list[tuple[str, str]]:
    """Let a run go through `count` rounds of tools; returns the calls it asked for."""
    asked = []
    _, run = caller.begin_run(text)
    for _ in range(count):
        found = caller.settled(run)
        if found["status"] != "requires_action":
            break
        calls = found["required_action"]["submit_tool_outputs"]["tool_calls"]
        asked += [(call["function"]["name"], call["function"]["arguments"]) for call in calls]
        outputs = [{"tool_call_id": call["id"], "output": "中立"} for call in calls]
        caller.openai("POST", f"{run}/submit_tool_outputs", {"tool_outputs": outputs})
    return asked


def test_loop_asks_for_the_same_tool_for_ever(caller: Any) -> None:
    arm(caller, "loop")
    asked = rounds(caller, "この文章の感情を分析して：悲しい", 8)
    assert len(asked) == 8
    assert set(asked) == {("analyze_emotion", '{"text":"悲しい"}')}


def test_loop_leaves_talk_alone(caller: Any) -> None:
    arm(caller, "loop")
    assert rounds(caller, "こんにちは", 3) == []
    assert events(caller) == ["armed"]


def test_loop_with_a_tool_of_its_own(caller: Any) -> None:
    arm(caller, "loop", tool="get_news", text="特別")
    assert [name for name, _ in rounds(caller, "特別な日", 3)] == ["get_news"] * 3
    assert rounds(caller, "普通の日", 3) == []


def test_say(caller: Any) -> None:
    arm(caller, "say", reply="🔥💥🎯", repeat=100, suffix="にゃん")
    thread, run = caller.begin_run("こんにちは")
    caller.settled(run)
    assert caller.reply(thread) == "🔥💥🎯" * 100 + "にゃん"


def seconds_of(answer: Any) -> float:
    return (len(answer.body) - 44) / (2 * SAMPLE_RATE_HZ)


def test_a_speech_server_that_stops_or_goes_on_for_too_long(caller: Any) -> None:
    def speak(text: str) -> float:
        return seconds_of(caller.call("tts", "POST", "/speak", {"text": text}))

    whole, part = speak("あ" * 60), speak("あ" * 40)
    id_ = arm(caller, "speaks_only")
    assert speak("あ" * 60) == part < whole
    assert speak("あ" * 39) < part
    assert events(caller) == ["armed", "fired"]
    caller.epoch.faults.lift(id_, caller.now_ns)
    arm(caller, "long_audio", seconds=90)
    assert speak("あ") == pytest.approx(90)
    assert caller.call("tts", "POST", "/speak", {"text": ""}).status == 400


# --- the model -------------------------------------------------------------------------------------------------------

CAT = "あなたは猫です。語尾はにゃん。"
EMOTION = "この文章の感情を分析して：悲しい"


def first_asked(caller: Any, text: str = EMOTION) -> tuple[str, str]:
    return rounds(caller, text, 1)[0]


def answer_to(caller: Any, text: str, output: str = "10:20") -> str:
    """Return what the model says at last, its tools having come to `output`."""
    thread, run = caller.begin_run(text, assistant=caller.assistant(CAT))
    found = caller.settled(run)
    if found["status"] == "requires_action":
        calls = found["required_action"]["submit_tool_outputs"]["tool_calls"]
        outputs = [{"tool_call_id": call["id"], "output": output} for call in calls]
        caller.openai("POST", f"{run}/submit_tool_outputs", {"tool_outputs": outputs})
        caller.settled(run)
    return str(caller.reply(thread))


def test_cycle_goes_round(caller: Any) -> None:
    arm(caller, "cycle", tools=["analyze_emotion", "get_news"])
    asked = rounds(caller, EMOTION, 5)
    assert [name for name, _ in asked] == [
        "analyze_emotion",
        "get_news",
        "analyze_emotion",
        "get_news",
        "analyze_emotion",
    ]
    assert asked[2][1] == '{"text":"中立"}'
    assert rounds(caller, "こんにちは", 2) == []


def test_cycle_of_one_analyses_its_own_result(caller: Any) -> None:
    arm(caller, "cycle")
    assert [arguments for _, arguments in rounds(caller, EMOTION, 3)] == [
        '{"text":"悲しい"}',
        '{"text":"中立"}',
        '{"text":"中立"}',
    ]


@pytest.mark.parametrize(
    ("fault", "fields", "asked"),
    [
        ("unknown_tool", {}, ("search_the_web", '{"text":"悲しい"}')),
        ("malformed_arguments", {}, ("analyze_emotion", '{"text":"悲しい"')),
        ("mistyped_arguments", {}, ("analyze_emotion", '{"text": ["悲しい"]}')),
        ("huge_arguments", {"characters": 7}, ("analyze_emotion", '{"text": "悲しい悲しい悲"}')),
    ],
)
def test_tools_asked_for_wrongly(caller: Any, fault: str, fields: dict[str, Any], asked: tuple[str, str]) -> None:
    arm(caller, fault, **fields)
    assert first_asked(caller) == asked
    assert rounds(caller, "こんにちは", 2) == []


def test_calls_tool_named(caller: Any) -> None:
    text = "analyze_emotionという関数について教えて"
    assert rounds(caller, text, 1) == []
    arm(caller, "calls_tool_named")
    assert first_asked(caller, text)[0] == "analyze_emotion"


@pytest.mark.parametrize(
    ("fault", "fields", "said"),
    [
        ("empty_answer", {}, ""),
        ("out_of_persona", {"reply": "こんにちは"}, "こんにちは"),
        ("wrong_language", {}, "Hello! How can I help you today?"),
        ("leaks_prompt", {}, CAT),
    ],
)
def test_answers_that_go_wrong(caller: Any, fault: str, fields: dict[str, Any], said: str) -> None:
    arm(caller, fault, **fields)
    assert answer_to(caller, "こんにちは") == said


def test_over_long(caller: Any) -> None:
    arm(caller, "over_long", characters=123)
    assert len(answer_to(caller, "こんにちは")) == 123


def test_ignores_results_and_tool_as_text(caller: Any) -> None:
    assert "10時20分" in answer_to(caller, "今何時？")
    id_ = arm(caller, "ignores_results")
    assert "10時20分" not in answer_to(caller, "今何時？")
    caller.epoch.faults.lift(id_, caller.now_ns)
    arm(caller, "tool_as_text")
    assert answer_to(caller, "今何時？") == "get_time({})"


@pytest.mark.parametrize(
    ("fault", "state"),
    [("generation_fails", "failed"), ("generation_expires", "expired"), ("generation_incomplete", "incomplete")],
)
@pytest.mark.parametrize("text", ["こんにちは", "今何時？"])
def test_generations_that_end_badly(caller: Any, fault: str, state: str, text: str) -> None:
    arm(caller, fault)
    thread, run = caller.begin_run(text)
    found = caller.settled(run)
    assert found["status"] == state
    assert (found["last_error"] is not None) == (state == "failed")
    caller.openai("POST", f"{thread}/messages", {"role": "user", "content": "x"})


def test_a_fault_that_touched_nothing_did_not_fire(caller: Any) -> None:
    arm(caller, "stream_cut", upstream="openai")
    arm(caller, "poll_after")
    caller.openai("POST", "/threads")
    assert events(caller) == ["armed", "armed"]
    assert caller.epoch.ledger.summary().live_conversations == 1


# --- which calls a fault meets ---------------------------------------------------------------------------------------


def test_only_the_upstream_the_route_and_the_text_that_are_named(caller: Any) -> None:
    arm(caller, "status", upstream="openai", route="POST /v1/threads/*/messages", text="特別")
    thread = caller.openai("POST", "/threads")["id"]
    assert weather(caller).status == 200
    caller.openai("POST", f"/threads/{thread}/messages", {"role": "user", "content": "普通"})
    assert caller.refused("POST", f"/threads/{thread}/messages", {"role": "user", "content": "特別"})[0] == 503
    caller.openai("GET", f"/threads/{thread}/messages")


def test_the_text_is_that_of_the_latest_user_message_also_for_later_calls(caller: Any) -> None:
    arm(caller, "hang", upstream="openai", text="#h12345678", route="GET *")
    _, run = caller.begin_run("こんにちは #h12345678")
    assert caller.call("openai", "GET", f"/v1{run}").steps == [wire.Hang()]


def test_times_and_probability(caller: Any) -> None:
    id_ = arm(caller, "status", upstream="weather", times=2)
    assert [weather(caller).status for _ in range(4)] == [503, 503, 200, 200]
    caller.epoch.faults.lift(id_, caller.now_ns)
    arm(caller, "status", upstream="weather", probability=0.3)
    share = [weather(caller).status for _ in range(300)].count(503) / 300
    assert 0.2 < share < 0.4


def test_the_first_fault_is_the_outermost(caller: Any) -> None:
    arm(caller, "slow", upstream="weather", delay_s=5)
    arm(caller, "reset", upstream="weather")
    assert weather(caller).steps == [wire.Wait(5.0), wire.Reset()]


def test_a_lifted_fault_is_over(caller: Any) -> None:
    id_ = arm(caller, "reset", upstream="*")
    released: list[str] = []
    caller.epoch.faults.released = released.append
    caller.epoch.faults.lift(id_, caller.now_ns)
    assert weather(caller).status == 200
    assert released == [id_]
    with pytest.raises(KeyError):
        caller.epoch.faults.lift(id_, caller.now_ns)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"fault": "hang", "upstream": "opena"}, "There is no upstream `opena`; expected one of openai, tts"),
        ({"fault": "kill"}, "The fault `kill` is a process fault"),
        (
            {"fault": "hang", "upstream": "openai", "route": "POST /v1/thread"},
            "`route` is 'POST /v1/thread', which no route of openai matches. Did you mean `POST /v1/threads`?",
        ),
    ],
)
def test_what_upstreams_cannot_carry_out_is_refused(caller: Any, fault: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultError, match="^" + re.escape(message)):
        caller.epoch.faults.arm(parse(fault), 0)


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_planned_fault_is_visible_before_and_when_it_never_came(caller: Any) -> None:
    faults = caller.epoch.faults
    soon = faults.plan(parse({"fault": "reset", "upstream": "weather"}), 0)
    never = faults.plan(parse({"fault": "hang", "upstream": "weather"}), 0)
    assert [armed.id for armed in faults.planned] == [soon, never]
    assert weather(caller).status == 200
    faults.arm_planned(soon, caller.now_ns)
    assert weather(caller).steps == [wire.Reset()]
    faults.lift(never, caller.now_ns)
    faults.arm_planned(never, caller.now_ns)
    assert [armed.id for armed in faults.in_force] == [soon]
    assert [(event.id, event.event) for event in caller.epoch.ledger.events] == [
        *((soon, "planned"), (never, "planned")),
        *((soon, "armed"), (soon, "fired"), (never, "lifted")),
    ]


def test_an_epoch_that_ends_gives_up_what_was_planned(caller: Any) -> None:
    caller.epoch.faults.plan(parse({"fault": "hang"}), 0)
    caller.epoch.close(1)
    assert events(caller) == ["planned", "lifted"]
    assert caller.epoch.ledger.events[-1].detail == "never fired"
