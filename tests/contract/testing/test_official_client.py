"""Somebody's own test with the official client: whole turns, streams, waits that nobody waits for."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx2
import openai
import pytest
from openai.types.beta.threads import Message
from openai.types.beta.threads.runs import RunStep

from tests.contract.assistants_turn import outputs_for, play_with_the_async_client

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
    for name, properties in (("get_time", {}), ("get_weather", {"location": {"type": "string"}}))
]
TWO_TOOLS = "今何時？天気は？ #h12345678"


def test_a_whole_turn_of_the_assistants(openai_upstream: Any, ledger: Any) -> None:
    with openai.OpenAI(_strict_response_validation=True) as client:
        beta = client.beta
        assistant = beta.assistants.create(model="gpt-4o", instructions="語尾はにゃん。", tools=TOOLS)
        thread = beta.threads.create()
        beta.threads.messages.create(thread.id, role="user", content=TWO_TOOLS)
        run = beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
        assert run.status == "requires_action"
        run = beta.threads.runs.submit_tool_outputs_and_poll(
            thread_id=thread.id, run_id=run.id, tool_outputs=outputs_for(run)
        )
        assert run.status == "completed"
        reply: Any = beta.threads.messages.list(thread.id, limit=1).data[0].content[0]
        assert reply.text.value.endswith("にゃん")
    assert [one.state for one in ledger.entries(mark="#h12345678") if hasattr(one, "state")] == [
        *("queued", "in_progress", "requires_action"),
        *("queued", "in_progress", "completed"),
    ]
    assert openai_upstream.calls[0].route == "POST /v1/assistants"
    assert ledger.summary().open_generations == 0
    assert ledger.open_generations() == []
    assert ledger.tool_calls_by_turn() == {"#h12345678": 2}
    assert ledger.retries(mark="#h12345678") == []
    assert ledger.spend()["by_caller"][""] == pytest.approx(ledger.summary().cost_usd)


async def test_the_same_with_the_async_client(openai_upstream: Any) -> None:
    async with openai.AsyncOpenAI(_strict_response_validation=True) as client:
        await play_with_the_async_client(client, TWO_TOOLS, TOOLS)


def test_a_streamed_run(openai_upstream: Any) -> None:
    with openai.OpenAI(_strict_response_validation=True) as client:
        assistant = client.beta.assistants.create(model="gpt-4o")
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "やあ"}])
        with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
            events = [event.event for event in stream]
            message: Any = stream.get_final_messages()[0].content[0]
            assert stream.get_final_run().status == "completed"
        assert "thread.message.delta" in events
        assert message.text.value


@pytest.mark.parametrize(("fault", "ends"), [("generation_fails", "failed"), ("generation_expires", "expired")])
def test_a_streamed_run_that_breaks_off(openai_upstream: Any, faults: Any, fault: str, ends: str) -> None:
    faults.arm(fault)
    with openai.OpenAI(_strict_response_validation=True) as client:
        assistant = client.beta.assistants.create(model="gpt-4o")
        thread = client.beta.threads.create(messages=[{"role": "user", "content": "やあ"}])
        with client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
            events = {event.event: event.data for event in stream}
            run = stream.get_final_run()
        assert [*events][-3:] == ["thread.message.incomplete", f"thread.run.step.{ends}", f"thread.run.{ends}"]
        message, step, _ = [*events.values()][-3:]
        assert isinstance(step, RunStep)
        assert isinstance(message, Message)
        assert client.beta.threads.runs.steps.retrieve(step.id, thread_id=thread.id, run_id=run.id) == step
        assert client.beta.threads.messages.retrieve(message.id, thread_id=thread.id) == message
    assert (step.status, message.status) == (ends, "incomplete")


@pytest.mark.upstreams(latency="realistic")
def test_streams_of_responses_and_chat_without_waiting(openai_upstream: Any, upstreams: Any) -> None:
    with openai.OpenAI(_strict_response_validation=True) as client:
        events = list(client.responses.create(model="gpt-4o", input="やあ", stream=True))
        assert events[-1].type == "response.completed"
        chunks = list(
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True)
        )
        assert chunks[-1].choices[0].finish_reason == "stop"
    took_s = sum(call.end_ns - call.begin_ns for call in openai_upstream.calls) / 1e9
    # All that the streams waited was jumped over: what is left of their time is what the machine took to compute.
    assert took_s > upstreams.clock.jumped_s > 1.0


@pytest.mark.upstreams(latency="realistic")
async def test_streams_without_waiting_in_a_loop(openai_upstream: Any, upstreams: Any) -> None:
    async with openai.AsyncOpenAI(_strict_response_validation=True) as client:

        async def count() -> int:
            stream = await client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            return len([chunk async for chunk in stream])

        counts = await asyncio.gather(*(count() for _ in range(5)))
    assert min(counts) > 1
    took_s = [(call.end_ns - call.begin_ns) / 1e9 for call in openai_upstream.calls]
    assert min(took_s) > 0.5
    # Side by side, as in real time: all together take as long as the longest, not as long as their sum.
    assert max(took_s) < sum(took_s) / 2
    assert 0.5 < upstreams.clock.jumped_s < sum(took_s)


def test_who_reads_half_a_stream_has_left(openai_upstream: Any) -> None:
    with openai.OpenAI() as client:
        stream = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        next(stream)
        assert openai_upstream.calls == []
        stream.close()
    assert [call.client_gone for call in openai_upstream.calls] == [True]


def test_binary_answers(openai_upstream: Any) -> None:
    with openai.OpenAI() as client:
        speech = client.audio.speech.create(model="tts-1", voice="alloy", input="hello", response_format="wav")
        assert speech.content.startswith(b"RIFF")


@pytest.mark.upstreams(api_keys=("sk-good",))
def test_keys(openai_upstream: Any) -> None:
    with openai.OpenAI(api_key="sk-good") as client:
        client.models.list()
    with openai.OpenAI(api_key="sk-bad") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_base_url_that_is_written_into_the_agent(openai_upstream: Any) -> None:
    openai_upstream.answer_at("https://gateway.example.com/llm/")
    with openai.OpenAI(base_url="https://gateway.example.com/llm") as client:
        client.models.list()
    assert [call.path for call in openai_upstream.calls] == ["/v1/models"]


def test_a_lost_answer_makes_a_second_thread(openai_upstream: Any, faults: Any, ledger: Any, no_sleeping: Any) -> None:
    faults.arm("answer_lost", upstream="openai", times=1)
    with openai.OpenAI(max_retries=1) as client:
        client.beta.threads.create()
    assert ledger.summary().live_conversations == 2


def test_back_offs_pass_at_once(openai_upstream: Any, faults: Any, no_sleeping: Any) -> None:
    faults.arm("status", upstream="openai", status=429, retry_after_s=30, times=2)
    begin_s, begin_ns = time.monotonic(), time.perf_counter_ns()
    with openai.OpenAI(max_retries=2) as client:
        client.models.list()
    assert time.monotonic() - begin_s > 60
    assert time.perf_counter_ns() - begin_ns > 60e9
    assert [call.status for call in openai_upstream.calls] == [429, 429, 200]


async def test_back_offs_pass_at_once_in_a_loop(openai_upstream: Any, faults: Any, no_sleeping: Any) -> None:
    faults.arm("status", upstream="openai", status=429, retry_after_s=30, times=2)
    async with openai.AsyncOpenAI(max_retries=2) as client:
        await client.models.list()
    first, _, last = openai_upstream.calls
    assert last.begin_ns - first.end_ns > 60e9


async def test_the_agents_own_deadline_comes_before_the_clients(openai_upstream: Any, faults: Any) -> None:
    faults.arm("hang", upstream="openai")
    loop = asyncio.get_running_loop()
    async with openai.AsyncOpenAI(timeout=600, max_retries=0) as client:
        begin_s = loop.time()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.beta.threads.create(), 5)
        assert 5 <= loop.time() - begin_s < 6
        with pytest.raises(openai.APITimeoutError):
            await client.beta.threads.create()
        assert 605 <= loop.time() - begin_s < 607
    assert [call.client_gone for call in openai_upstream.calls] == [True, True]


async def test_a_fault_lifted_in_the_middle_of_a_call(openai_upstream: Any, faults: Any) -> None:
    hang = faults.arm("hang", upstream="openai")
    async with openai.AsyncOpenAI(max_retries=0) as client:
        call = asyncio.create_task(client.beta.threads.create())
        await asyncio.sleep(2)
        hang.lift()
        with pytest.raises(openai.APIConnectionError) as caught:
            await call
        assert not isinstance(caught.value, openai.APITimeoutError)
        await client.models.list()


async def test_refusing_resets_what_is_under_way(openai_upstream: Any, faults: Any) -> None:
    faults.arm("slow", upstream="openai", delay_s=10, times=1)
    async with openai.AsyncOpenAI(max_retries=0) as client:
        call = asyncio.create_task(client.beta.threads.create())
        await asyncio.sleep(1)
        with faults.arm("refuse", upstream="openai"):
            with pytest.raises(openai.APIConnectionError):
                await call
            with pytest.raises(openai.APIConnectionError):
                await client.models.list()
        await client.models.list()
    assert [call.status for call in openai_upstream.calls] == [None, 200]


async def test_an_outage_that_comes_and_goes(openai_upstream: Any, upstreams: Any, faults: Any) -> None:
    begin_ns = upstreams.now_ns()
    faults.arm("refuse", upstream="openai", from_s=60, for_s=30)
    faults.arm("blackhole", upstream="openai", from_s=120, for_s=5)
    async with openai.AsyncOpenAI(max_retries=0, timeout=600) as client:
        await client.models.list()
        upstreams.clock.jump(61)
        with pytest.raises(openai.APIConnectionError):
            await client.models.list()
        upstreams.clock.jump(30)
        await client.models.list()
        upstreams.clock.jump(31)
        # Connecting takes as long as the packets are swallowed.
        await client.models.list()
    assert 125 <= (upstreams.now_ns() - begin_ns) / 1e9 < 150


def test_a_hang_that_ends_by_itself(openai_upstream: Any, faults: Any) -> None:
    faults.arm("hang", upstream="openai", for_s=20)
    with openai.OpenAI(max_retries=0, timeout=None) as client:
        with pytest.raises(openai.APIConnectionError):
            client.models.list()
        client.models.list()
    assert [call.status for call in openai_upstream.calls] == [None, 200]
    assert [event.event for event in faults.events] == ["armed", "fired", "lifted"]


@pytest.mark.parametrize("api", ["assistants", "responses", "chained responses", "chat"])
def test_the_ledger_says_how_many_earlier_answers_the_model_was_given(openai_upstream: Any, api: str) -> None:
    """Whichever way they come to the model; what it asks of tools within a turn is no answer."""
    with openai.OpenAI(_strict_response_validation=True) as client:
        if api == "assistants":
            assistant = client.beta.assistants.create(model="gpt-4o", tools=TOOLS)
            thread = client.beta.threads.create()
            for _ in range(3):
                client.beta.threads.messages.create(thread.id, role="user", content=TWO_TOOLS)
                run = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
                client.beta.threads.runs.submit_tool_outputs_and_poll(
                    thread_id=thread.id, run_id=run.id, tool_outputs=outputs_for(run)
                )
        elif api == "chat":
            messages: Any = []
            for _ in range(3):
                messages.append({"role": "user", "content": TWO_TOOLS})
                for _ in range(2):
                    said = client.chat.completions.create(model="gpt-4o", messages=messages, tools=TOOLS).choices[0]
                    messages.append(said.message.model_dump(exclude_none=True))
                    calls: Any = said.message.tool_calls or []
                    messages += [{"role": "tool", "tool_call_id": call.id, "content": "10:00"} for call in calls]
        else:
            conversation = client.conversations.create().id
            tools: Any = [{"type": "function", **tool["function"]} for tool in TOOLS]
            before: Any = {"conversation": conversation} if api == "responses" else {}
            for _ in range(3):
                given: Any = TWO_TOOLS
                for _ in range(2):
                    response = client.responses.create(model="gpt-4o", input=given, tools=tools, **before)
                    before = before if api == "responses" else {"previous_response_id": response.id}
                    given = [
                        {"type": "function_call_output", "call_id": item.call_id, "output": "10:00"}
                        for item in response.output
                        if item.type == "function_call"
                    ]
    told = [call.earlier_answers for call in openai_upstream.calls if call.earlier_answers is not None]
    assert told == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_loses_patience_ends_what_was_made_for_it(
    openai_upstream: Any, faults: Any, ledger: Any, stream: bool
) -> None:
    faults.arm("stuck", upstream="openai")
    hello: Any = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(max_retries=0, timeout=2) as client:
        for ask in (
            lambda: client.chat.completions.create(model="m", messages=hello, stream=stream),
            lambda: client.responses.create(model="m", input="hello", stream=stream),
        ):
            with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
                list(ask())
    assert [one.state for one in ledger.generations] == ["in_progress", "cancelled"] * 2


async def test_a_task_that_is_cancelled_ends_what_was_made_for_it(
    openai_upstream: Any, faults: Any, ledger: Any
) -> None:
    faults.arm("stuck", upstream="openai")
    async with openai.AsyncOpenAI(max_retries=0, timeout=None) as client:
        asking = asyncio.create_task(client.responses.create(model="m", input="hello"))
        while not ledger.generations:  # noqa: ASYNC110 - nothing tells when a call has arrived
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert [one.state for one in ledger.generations] == ["in_progress", "cancelled"]


def test_a_stream_that_is_read_to_its_last_words_is_completed(
    openai_upstream: Any, ledger: Any, upstreams: Any
) -> None:
    hello: Any = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(max_retries=0) as client:
        for event in client.responses.create(model="m", input="hello", stream=True):
            if event.type == "response.completed":
                break
        for chunk in client.chat.completions.create(model="m", messages=hello, stream=True):
            if chunk.choices[0].finish_reason:
                break
    upstreams.clock.jump(0.001)
    assert [one.state for one in ledger.generations] == ["in_progress", "completed"] * 2
