"""Whatever a body says that the client's own types do not allow is refused; what is answered, those types accept.

The fields and what they may hold are read from the client, so that one that it gets tomorrow is tried too.
"""

from __future__ import annotations

import collections.abc
import json
import re
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest
from openai.types import (
    CreateEmbeddingResponse,
    ModerationCreateResponse,
    embedding_create_params,
    moderation_create_params,
)
from openai.types.audio import speech_create_params
from openai.types.beta import (
    Assistant,
    Thread,
    assistant_create_params,
    assistant_update_params,
    thread_create_and_run_params,
    thread_create_params,
    thread_update_params,
)
from openai.types.beta.threads import (
    Message,
    Run,
    message_create_params,
    message_update_params,
    run_create_params,
    run_update_params,
)
from openai.types.beta.threads import run_submit_tool_outputs_params as outputs_params
from openai.types.chat import ChatCompletion, completion_create_params, completion_update_params
from openai.types.conversations import (
    Conversation,
    ConversationItemList,
    conversation_create_params,
    conversation_update_params,
    item_create_params,
)
from openai.types.responses import (
    CompactedResponse,
    InputTokenCountResponse,
    Response,
    input_token_count_params,
    response_compact_params,
    response_create_params,
)
from pydantic import TypeAdapter, ValidationError

from harness.upstreams.epoch import Epoch, EpochSettings
from tests.unit.upstreams.conftest import Caller


class Route(NamedTuple):
    path: str
    fields: Any
    """The client's type of the body."""
    body: dict[str, Any]
    """What is enough of it."""
    answer: Any
    """The client's type of the answer; None: no JSON."""


_HI = {"role": "user", "content": "hi"}
_CHAT = {"model": "m", "messages": [_HI]}
_TEXT = {"model": "m", "input": "hi"}
ROUTES = (
    Route("/chat/completions", completion_create_params.CompletionCreateParamsBase, _CHAT, ChatCompletion),
    Route("/responses", response_create_params.ResponseCreateParamsBase, _TEXT, Response),
    Route("/assistants", assistant_create_params.AssistantCreateParams, {"model": "m"}, Assistant),
    Route("/threads", thread_create_params.ThreadCreateParams, {}, Thread),
    Route(
        "/threads/{t}/messages", message_create_params.MessageCreateParams, {"role": "user", "content": "hi"}, Message
    ),
    Route("/threads/{t}/runs", run_create_params.RunCreateParamsBase, {"assistant_id": "{a}"}, Run),
    Route("/threads/runs", thread_create_and_run_params.ThreadCreateAndRunParamsBase, {"assistant_id": "{a}"}, Run),
    Route("/conversations", conversation_create_params.ConversationCreateParams, {}, Conversation),
    Route(
        "/embeddings",
        embedding_create_params.EmbeddingCreateParams,
        {"model": "m", "input": "x"},
        CreateEmbeddingResponse,
    ),
    Route("/moderations", moderation_create_params.ModerationCreateParams, {"input": "x"}, ModerationCreateResponse),
    Route("/assistants/{a}", assistant_update_params.AssistantUpdateParams, {}, Assistant),
    Route("/threads/{t}", thread_update_params.ThreadUpdateParams, {}, Thread),
    Route("/threads/{t}/messages/{m}", message_update_params.MessageUpdateParams, {}, Message),
    Route("/threads/{t}/runs/{r}", run_update_params.RunUpdateParams, {}, Run),
    Route(
        "/threads/{t}/runs/{r}/submit_tool_outputs",
        outputs_params.RunSubmitToolOutputsParamsBase,
        {},
        Run,
    ),
    Route("/conversations/{c}", conversation_update_params.ConversationUpdateParams, {"metadata": {}}, Conversation),
    Route("/conversations/{c}/items", item_create_params.ItemCreateParams, {"items": [_HI]}, ConversationItemList),
    Route("/responses/input_tokens", input_token_count_params.InputTokenCountParams, _TEXT, InputTokenCountResponse),
    Route("/responses/compact", response_compact_params.ResponseCompactParams, _TEXT, CompactedResponse),
    Route("/chat/completions/{k}", completion_update_params.CompletionUpdateParams, {"metadata": {}}, ChatCompletion),
    Route("/audio/speech", speech_create_params.SpeechCreateParams, _TEXT | {"voice": "a"}, None),
)
VALUES: tuple[Any, ...] = (
    5, -1, 0, 99, 0.5, 9.0, 1e308, True, False, "", "x", "banana", "auto", None,
    [], [1], ["x"], [None], [[]], [{}], [{"type": "x"}], [{"type": 5}], [{"type": "function"}],
    [{"type": "function", "function": 5}], [{"role": "user"}], [{"role": 5, "content": 5}],
    [{"type": "message", "role": "user", "content": [{"type": 5, "text": 5}]}],
    [{"role": "user", "content": [{"type": "x"}]}], [{"role": "user", "content": "x", "attachments": [1]}],
    {}, {"a": 1}, {"type": "x"}, {"type": 5}, {"name": "f"}, {"id": 5}, {"type": "function", "function": []},
    {"type": "json_schema"}, {"type": "json_schema", "json_schema": 5}, {"format": 5},
    {"format": {"type": "json_schema", "schema": 5}}, {"effort": 5}, {"summary": 5}, {"verbosity": 5},
    {"code_interpreter": 5}, {"file_search": {"vector_store_ids": 5}}, {"messages": 5}, {"tool_resources": 5},
)  # fmt: skip


def eager(kind: Any) -> Any:
    """Return a type with lists for whatever can be gone through, of which pydantic would look at nothing."""
    if get_origin(kind) in (collections.abc.Iterable, collections.abc.Sequence, list):
        return list[eager(get_args(kind)[0])]  # type: ignore[misc]
    if get_origin(kind) is Union:
        return Union[tuple(eager(one) for one in get_args(kind))]  # noqa: UP007
    return kind


def allows(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


NOT_IN_BODY = {
    ("/threads/{t}/runs", "include"),
    ("/threads/{t}/runs/{r}", "thread_id"),
    ("/conversations/{c}/items", "include"),
}
"""What the client's types name beside the body's fields: it sends them in the address."""
NO_BODY = {"/threads/{t}/runs/{r}/cancel", "/responses/{p}/cancel"}
"""What is only asked for, with nothing to say about it."""


def prepared() -> tuple[Caller, dict[str, str]]:
    """Return a caller, and the ids of one thing of each kind."""
    caller = Caller(Epoch(EpochSettings(latency_scale=0.0)))
    assistant = caller.assistant()
    thread, run = caller.begin_run("今何時？", assistant=assistant)
    caller.sleep(1)
    return caller, {
        "{a}": assistant,
        "{t}": thread.rsplit("/", 1)[1],
        "{r}": run.rsplit("/", 1)[1],
        "{m}": caller.openai("GET", f"{thread}/messages")["data"][0]["id"],
        "{c}": caller.openai("POST", "/conversations")["id"],
        "{k}": caller.openai("POST", "/chat/completions", _CHAT | {"store": True})["id"],
    }


def with_ids(text: str, ids: dict[str, str]) -> str:
    return re.sub(r"\{\w\}", lambda found: ids[found.group()], text)


def test_every_body_is_tried() -> None:
    caller, _ = prepared()
    known = {re.sub(r"\{\w+\}", "{}", template) for template in caller.epoch.upstreams["openai"].routes.templates}
    tried = {f"POST /v1{re.sub(r'{.}', '{}', path)}" for path in {route.path for route in ROUTES} | NO_BODY}
    assert {template for template in known if template.startswith("POST ")} == tried


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
def test_wrong_values_are_refused_and_answers_are_valid(route: Route) -> None:
    caller, ids = prepared()
    answer_type = None if route.answer is None else TypeAdapter(route.answer)
    wrong = []
    for field, kind in get_type_hints(route.fields).items():
        if (route.path, field) in NOT_IN_BODY:
            continue
        adapter: TypeAdapter[Any] = TypeAdapter(eager(kind))
        for value in VALUES:
            if "{r}" not in route.path:
                ids["{t}"] = caller.openai("POST", "/threads")["id"]
            body = json.loads(with_ids(json.dumps(route.body), ids)) | {field: value}
            answer = caller.call("openai", "POST", f"/v1{with_ids(route.path, ids)}", body)
            if answer.status in (400, 404):
                assert answer.json["error"]["message"]
                continue
            if answer.status != 200 or (value is not None and not allows(adapter, value)):
                wrong.append(f"{field}: {value!r} is answered {answer.status}")
            elif answer_type is not None:
                try:
                    answer_type.validate_json(answer.body, strict=True)
                except ValidationError as error:
                    wrong.append(f"{field}: {value!r} comes back as {error}")
    assert wrong == []
