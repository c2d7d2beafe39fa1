"""What keys may ask for, who pays, and ids that come from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from harness.upstreams.epoch import Epoch, EpochSettings, Extras
from harness.upstreams.openai.limits import KeySettings, written
from harness.upstreams.prices import Prices, PricesError, read_prices, tokens_in
from tests.unit.upstreams.conftest import Caller

HELLO = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}


def with_settings(**settings: Any) -> Caller:
    return Caller(Epoch(EpochSettings(seed=1, **settings)))


def ask(caller: Any, key: str = "sk-a") -> Any:
    headers = {"authorization": f"Bearer {key}", "openai-beta": "assistants=v2"}
    return caller.call("openai", "POST", "/v1/chat/completions", HELLO, headers=headers)


def test_what_is_left_counts_down_and_comes_back() -> None:
    caller = with_settings(requests_per_minute=60, tokens_per_minute=6000, latency_scale=0.0)
    left = [ask(caller).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert left == ["59", "58", "57"]
    answer = ask(caller)
    assert answer.headers["x-ratelimit-limit-requests"] == "60"
    assert answer.headers["x-ratelimit-reset-requests"] == "4s"
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) < 6000
    caller.sleep(10)
    assert ask(caller).headers["x-ratelimit-remaining-requests"] == "59"


def test_too_many_requests_are_refused_until_some_come_back() -> None:
    caller = with_settings(requests_per_minute=2, latency_scale=0.0)
    assert [ask(caller).status for _ in range(3)] == [200, 200, 429]
    refused = ask(caller)
    error = refused.json["error"]
    assert (error["code"], error["type"]) == ("rate_limit_exceeded", "requests")
    assert "Limit 2, Used 2, Requested 1. Please try again in 30s." in error["message"]
    assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("30", "30000")
    assert ask(caller, "sk-b").status == 200
    caller.sleep(31)
    assert ask(caller).status == 200


def test_too_many_tokens_are_refused_too() -> None:
    caller = with_settings(tokens_per_minute=20, latency_scale=0.0)
    statuses = [ask(caller) for _ in range(3)]
    assert statuses[-1].status == 429
    assert statuses[-1].json["error"]["type"] == "tokens"


def test_keys_that_are_made_up_do_not_fill_the_memory() -> None:
    caller = with_settings(requests_per_minute=3, latency_scale=0.0)
    limits = caller.epoch.upstreams["openai"].limits  # type: ignore[attr-defined]
    limits.change(KeySettings(key="sk-revoked", revoked=True), caller.now_ns)
    limits.change(KeySettings(key="sk-small", requests_per_minute=1), caller.now_ns)
    assert ask(caller, "sk-small").status == 200
    assert [ask(caller, "sk-real").status for _ in range(3)] == [200, 200, 200]
    most = 0
    for number in range(5000):
        caller.sleep(0.0001)
        limits.key(f"sk-{number}-{'x' * 10_000}", caller.now_ns)
        if number % 400 == 0:
            assert ask(caller, "sk-real").status == 429
        most = max(most, len(limits.keys))
    assert most <= 1002
    assert max(map(len, limits.keys)) == 256
    assert [ask(caller, key).status for key in ("sk-revoked", "sk-small", "sk-real")] == [401, 429, 429]


def test_a_very_long_key_is_one_key() -> None:
    caller = with_settings(requests_per_minute=2, latency_scale=0.0)
    assert [ask(caller, "sk-" + "x" * 1000).status for _ in range(3)] == [200, 200, 429]


def test_a_key_without_limits_is_told_of_large_ones() -> None:
    caller = with_settings()
    assert ask(caller).headers["x-ratelimit-remaining-requests"] == "9999"


def test_reading_costs_no_request() -> None:
    caller = with_settings(requests_per_minute=1)
    assert [caller.call("openai", "GET", "/v1/models").status for _ in range(3)] == [200] * 3


def test_keys_are_revoked_accepted_again_and_limited(caller: Any) -> None:
    limits = caller.epoch.upstreams["openai"].limits
    assert ask(caller).status == 200
    limits.change(KeySettings(key="sk-a", revoked=True), caller.now_ns)
    assert ask(caller).json["error"]["code"] == "invalid_api_key"
    limits.change(KeySettings(key="sk-a", revoked=False, requests_per_minute=1), caller.now_ns)
    assert [ask(caller).status, ask(caller).status] == [200, 429]
    limits.change(KeySettings(key="sk-a", requests_per_minute=None), caller.now_ns)
    assert ask(caller).status == 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (0.999, "999ms"),
        (0.9999, "1s"),
        (1, "1s"),
        (6.5, "6.5s"),
        (59.999, "59.999s"),
        (59.9996, "1m0s"),
        (90, "1m30s"),
        (119.4, "1m59s"),
        (119.6, "2m0s"),
        (3599.4, "59m59s"),
        (3599.6, "1h0m0s"),
        (3600, "1h0m0s"),
        (90061, "25h1m1s"),
    ],
)
def test_durations_are_written_as_the_api_does(seconds: float, text: str) -> None:
    assert written(seconds) == text


# --- money -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("hell", 1), ("hello", 2), ("猫", 1), ("猫が好き", 3), ("😀", 1)]
)
def test_a_token_is_four_bytes(text: str, tokens: int) -> None:
    assert tokens_in(text) == tokens


def test_prices_can_be_replaced(tmp_path: Any) -> None:
    file = tmp_path / "prices.toml"
    file.write_text("per_1k_spoken_characters_usd = 1.0\nmodel_per_1k_tokens_usd = { gpt-5 = [0.001, 0.002] }\n")
    prices = read_prices(file)
    assert prices.of_tokens("gpt-5", 1000, 1000) == pytest.approx(0.003)
    assert prices.of_tokens("gpt-4o", 500, 500) == pytest.approx(0.03)
    caller = Caller(Epoch(EpochSettings(), extras=Extras(prices=prices)))
    caller.call("tts", "POST", "/speak", {"text": "にゃん"})
    assert caller.epoch.ledger.calls[0].cost_usd == pytest.approx(0.003)
    file.write_text("per_token = 1")
    with pytest.raises(PricesError, match="Expected are per_1k_tokens_usd"):
        read_prices(file)
    file.write_text("per_emotion_usd = -1")
    with pytest.raises(PricesError, match=r"a price is -1\.0, expected US dollars, 0 or more"):
        read_prices(file)
    assert Prices().of_tokens(None, 1000, 0) == 0.03


def test_spend_by_caller_and_model(caller: Any) -> None:
    for user in ("tanaka", "tanaka", "suzuki"):
        caller.openai("POST", "/chat/completions", HELLO | {"user": user})
    caller.call("tts", "POST", "/speak", {"text": "にゃん"})
    spend = caller.epoch.ledger.spend()
    assert spend["by_caller"]["tanaka"] == pytest.approx(2 * spend["by_caller"]["suzuki"], rel=0.2)
    assert set(spend["by_model"]) == {"gpt-4o", "tts"}
    assert sum(spend["by_model"].values()) == pytest.approx(caller.epoch.ledger.summary().cost_usd)


def test_the_caller_of_a_thread_is_in_its_metadata(caller: Any) -> None:
    thread = caller.openai("POST", "/threads", {"metadata": {"user_id": "tanaka"}})["id"]
    caller.openai("POST", f"/threads/{thread}/messages", {"role": "user", "content": "hi"})
    assert [call.caller for call in caller.epoch.ledger.calls] == ["tanaka", "tanaka"]


def test_retries_of_a_turn(caller: Any) -> None:
    for text in ("x #haaaaaaaa", "x #haaaaaaaa", "y #haaaaaaaa", "x #hbbbbbbbb"):
        caller.call("tts", "POST", "/speak", {"text": text})
    (retried,) = caller.epoch.ledger.retries(mark="#haaaaaaaa")
    assert (retried.route, retried.seqs) == ("POST /speak", (1, 2))


def test_open_generations_and_tool_calls_of_a_turn(caller: Any) -> None:
    _, run = caller.begin_run("今何時で、天気は？ #haaaaaaaa")
    caller.settled(run)
    (waiting,) = caller.epoch.ledger.open_generations()
    assert waiting.state == "requires_action"
    assert caller.epoch.ledger.tool_calls_by_turn() == {"#haaaaaaaa": 2}


# --- ids that come from elsewhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["assistants/asst_old", "threads/thread_old", "conversations/conv_old"])
def test_what_is_adopted_was_created_at_that_moment(path: str) -> None:
    caller = Caller(Epoch(EpochSettings(adopt_unknown_ids=True), wall_anchor_s=1.7e9, monotonic_anchor_ns=0))
    caller.sleep(86_400)
    adopted = caller.openai("GET", f"/{path}")
    assert adopted["created_at"] == caller.epoch.wall_s_at_zero + caller.now_ns // 10**9 == 1_700_086_401
    caller.sleep(60)
    assert caller.openai("GET", f"/{path}") == adopted


@pytest.mark.parametrize("path", ["threads/t/runs/run_old", "responses/resp_old", "chat/completions/chatcmpl-old"])
def test_what_was_made_elsewhere_is_completed_and_empty(path: str) -> None:
    caller = with_settings(adopt_unknown_ids=True)
    adopted = caller.openai("GET", f"/{path}")
    assert adopted["id"] == path.rsplit("/", 1)[1]
    assert adopted.get("status", "completed") == "completed"
    assert not adopted.get("output")
    caller.sleep(60)
    assert caller.openai("GET", f"/{path}") == adopted
    assert caller.epoch.ledger.open_generations() == []


@pytest.mark.parametrize(
    "path",
    [
        "threads/thread_old/messages/msg_old",
        "threads/thread_old/runs/run_old/steps/step_old",
        "conversations/conv_old/items/item_old",
    ],
)
def test_a_part_that_nobody_made_stays_unknown(path: str) -> None:
    assert with_settings(adopt_unknown_ids=True).refused("GET", f"/{path}")[0] == 404


def test_a_run_of_one_thread_is_not_adopted_in_another() -> None:
    caller = with_settings(adopt_unknown_ids=True)
    _, run = caller.begin_run("hello")
    assert caller.refused("GET", f"/threads/thread_old/runs/{run.rsplit('/', 1)[1]}")[0] == 404


def test_a_run_of_elsewhere_is_over_and_its_thread_is_free() -> None:
    caller = with_settings(adopt_unknown_ids=True)
    run = "/threads/thread_old/runs/run_old"
    assert caller.openai("GET", f"{run}/steps")["data"] == []
    assert caller.refused("POST", f"{run}/cancel") == (400, "Cannot cancel run with status 'completed'.")
    assert caller.refused("POST", f"{run}/submit_tool_outputs", {"tool_outputs": []})[0] == 400
    assert caller.openai("POST", run, {"metadata": {"a": "b"}})["metadata"] == {"a": "b"}
    assert [one["id"] for one in caller.openai("GET", "/threads/thread_old/runs")["data"]] == ["run_old"]
    assistant = caller.openai("GET", run)["assistant_id"]
    assert caller.openai("GET", f"/assistants/{assistant}")["id"] == assistant
    caller.openai("POST", "/threads/thread_old/runs", {"assistant_id": assistant})


def test_a_response_of_elsewhere_can_be_cancelled_and_gone_on_from() -> None:
    caller = with_settings(adopt_unknown_ids=True)
    assert caller.openai("POST", "/responses/resp_old/cancel")["status"] == "completed"
    assert caller.openai("GET", "/responses/resp_old/input_items")["data"] == []
    body = {"model": "m", "input": "hello", "previous_response_id": "resp_other"}
    caller.openai("POST", "/responses", body)
    assert caller.openai("GET", "/responses/resp_other")["status"] == "completed"
    assert caller.epoch.ledger.calls[-2].conversation == "resp_other"
    caller.openai("DELETE", "/responses/resp_other")
    assert caller.refused("POST", "/responses", body)[0] == 400


@pytest.mark.parametrize("path", ["responses/resp_old", "chat/completions/chatcmpl-old"])
def test_what_was_deleted_stays_unknown(path: str) -> None:
    caller = with_settings(adopt_unknown_ids=True)
    assert caller.openai("DELETE", f"/{path}")["deleted"] is True
    assert caller.refused("GET", f"/{path}")[0] == 404


def test_unknown_ids_come_to_life_where_that_is_wanted() -> None:
    caller = with_settings(adopt_unknown_ids=True)
    caller.openai("POST", "/threads/thread_old/messages", {"role": "user", "content": "今何時？"})
    run = caller.openai("POST", "/threads/thread_old/runs", {"assistant_id": "asst_old"})
    assert caller.settled(f"/threads/thread_old/runs/{run['id']}")["status"] == "completed"
    caller.openai("POST", "/responses", {"model": "m", "input": "x", "conversation": "conv_old"})
    caller.openai("POST", "/responses", {"model": "m", "input": "x", "previous_response_id": "resp_old"})
    assert caller.epoch.ledger.summary().live_conversations == 2
    caller.openai("DELETE", "/assistants/asst_old")
    assert caller.refused("GET", "/assistants/asst_old")[0] == 404
    caller.openai("DELETE", "/threads/thread_old")
    caller.openai("DELETE", "/conversations/conv_old")
    assert caller.refused("GET", "/threads/thread_old")[0] == 404
    assert caller.refused("GET", "/conversations/conv_old")[0] == 404
