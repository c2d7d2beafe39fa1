"""Each fault in-process and over a socket: the official client makes the same of both."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai
import pytest

from harness.faults import NetworkFault, UpstreamFault, catalogue

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)

PATIENCE_S = 0.3
FIELDS: dict[str, dict[str, Any]] = {
    "bandwidth": {"bytes_per_s": 2.0},
    "drip": {"bytes": 50, "every_s": 0.002},
    "huge_body": {"megabytes": 1},
    "slow": {"delay_s": 1.0},
    "slow_tail": {"median_s": 2.0},
}
# What never ends over a socket is cut short: the client reads so many events and leaves.
EVENTS = 20

FIRST_SET: list[tuple[str, dict[str, Any], type[Exception]]] = [
    ("status", {"status": 400}, openai.BadRequestError),
    ("status", {"status": 401}, openai.AuthenticationError),
    ("status", {"status": 403}, openai.PermissionDeniedError),
    ("status", {"status": 409}, openai.ConflictError),
    ("status", {"status": 429, "retry_after_s": 1}, openai.RateLimitError),
    ("status", {"status": 500}, openai.InternalServerError),
    ("status", {"status": 502}, openai.InternalServerError),
    ("status", {"status": 503}, openai.InternalServerError),
    ("slow", {"delay_s": 5.0}, openai.APITimeoutError),
    ("hang", {}, openai.APITimeoutError),
    ("reset", {}, openai.APIConnectionError),
    ("cut", {"after_bytes": 5}, openai.APIConnectionError),
    ("refuse", {}, openai.APIConnectionError),
]


def broken() -> list[Any]:
    """Return (fault, its fields) of every fault that an upstream carries out."""
    return [
        pytest.param(name, FIELDS.get(name, {}), id=name)
        for name, record in catalogue().items()
        if issubclass(record, UpstreamFault | NetworkFault) and "upstream" in record.__struct_fields__
        if name in FIELDS or not [f for f in msgspec.structs.fields(record) if f.required]
    ]


def outcome(call: Any) -> tuple[str, ...]:
    """Return how a call ended, as the client tells it: the classes of its exception and of what lies beneath."""
    try:
        got = call()
    except Exception as error:
        causes = []
        cause: BaseException | None = error
        while cause is not None:
            if not type(cause).__module__.startswith("h11"):  # the parser of a socket's bytes, which are none here
                causes.append(f"{type(cause).__module__}.{type(cause).__name__}")
            cause = cause.__cause__
        return tuple(causes)
    return ("answered", str(got))


def speak(client: openai.OpenAI, *, stream: bool) -> Any:
    answer = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}], stream=stream, seed=1
    )
    if not stream:
        assert not isinstance(answer, openai.Stream)
        return type(answer).__name__, [choice.message.content for choice in answer.choices]  # type: ignore[union-attr]
    chunks = []
    for chunk in answer:
        chunks.append("".join(choice.delta.content or "" for choice in chunk.choices))  # type: ignore[union-attr]
        if len(chunks) == EVENTS:
            break
    return chunks


def options() -> dict[str, Any]:
    return {"api_key": "sk-test", "max_retries": 0, "timeout": PATIENCE_S}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(("fault", "fields"), broken())
def test_the_client_makes_the_same_of_both(
    stand: Any, upstreams: Any, openai_upstream: Any, fault: str, fields: dict[str, Any], stream: bool
) -> None:
    upstreams.let_through(stand.upstreams["openai"])
    id_ = stand.arm(fault, upstream="openai", **fields)
    upstreams.faults.arm(fault, upstream="openai", **fields, may_stay_unused=True)
    with openai.OpenAI(base_url=stand.upstreams["openai"], **options()) as client:
        served = outcome(lambda: speak(client, stream=stream))
    with openai.OpenAI(**options()) as client:
        in_process = outcome(lambda: speak(client, stream=stream))
    assert in_process == served
    fired = [event["event"] for event in stand.lines("/events") if event["id"] == id_].count("fired")
    assert upstreams.faults.armed[0].fired == fired


@pytest.mark.parametrize(("fault", "fields", "exception"), FIRST_SET)
async def test_the_first_set_sync_and_async(
    openai_upstream: Any, faults: Any, fault: str, fields: dict[str, Any], exception: type[Exception]
) -> None:
    faults.arm(fault, upstream="openai", **fields)
    with openai.OpenAI(**options()) as client, pytest.raises(exception) as caught:
        client.beta.threads.create()
    assert type(caught.value) is exception
    async with openai.AsyncOpenAI(**options()) as async_client:
        with pytest.raises(exception) as caught:
            await async_client.beta.threads.create()
    assert type(caught.value) is exception


def test_a_run_that_stays_where_it_is(openai_upstream: Any, upstreams: Any, faults: Any) -> None:
    faults.arm("stuck", upstream="openai", state="queued")
    with openai.OpenAI(**options()) as client:
        assistant = client.beta.assistants.create(model="gpt-4o")
        run = client.beta.threads.create_and_run(assistant_id=assistant.id)
        upstreams.clock.jump(60)
        assert client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id).status == "queued"


def test_a_model_that_wants_the_same_tool_for_ever(openai_upstream: Any, faults: Any) -> None:
    faults.arm("loop", upstream="openai", tool="get_time")
    tools: Any = [
        {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
    ]
    messages: list[Any] = [{"role": "user", "content": "hi"}]
    with openai.OpenAI(**options()) as client:
        for _ in range(3):
            message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0].message
            assert message.tool_calls
            messages.append(message.model_dump(exclude_none=True))
            messages.extend(
                {"role": "tool", "tool_call_id": call.id, "content": json.dumps("10:00")} for call in message.tool_calls
            )


def test_a_model_that_says_what_it_is_told_to(openai_upstream: Any, faults: Any) -> None:
    faults.arm("say", upstream="openai", reply="🔥", repeat=3, suffix="にゃん")
    with openai.OpenAI(**options()) as client:
        assert speak(client, stream=False)[1] == ["🔥🔥🔥にゃん"]
