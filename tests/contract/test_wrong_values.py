"""Whatever a body says that the client's own types do not allow is refused; what is answered, those types accept.

The fields and what they may hold are read from the client, so that one that it gets tomorrow is tried too.
"""

from __future__ import annotations

import collections.abc
import copy
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Required, Union, get_args, get_origin, get_type_hints

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
from typing_extensions import TypedDict, is_typeddict

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


_EAGER: dict[Any, Any] = {}


def eager(kind: Any) -> Any:
    """Return a type with lists for whatever can be gone through, of which pydantic would look at nothing."""
    origin, given = get_origin(kind), get_args(kind)
    if origin in (collections.abc.Iterable, collections.abc.Sequence, list):
        return list[eager(given[0])]  # type: ignore[misc]
    if origin is dict:
        return dict[given[0], eager(given[1])]  # type: ignore[misc,valid-type]
    if origin is Union:
        return Union[tuple(eager(one) for one in given)]  # noqa: UP007
    if origin is Required:
        return Required[eager(given[0])]
    if not is_typeddict(kind):
        return kind
    if kind not in _EAGER:
        _EAGER[kind] = kind  # what contains itself is not looked into a second time
        fields = {name: eager(below) for name, below in get_type_hints(kind, include_extras=True).items()}
        _EAGER[kind] = TypedDict(kind.__name__, fields, total=kind.__total__)  # type: ignore[operator]
    return _EAGER[kind]


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


# --- deep inside ------------------------------------------------------------------------------------------------------

_FUNCTION = {
    "name": "get_weather",
    "description": "d",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
NESTED: dict[str, dict[str, Any]] = {
    "/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "developer", "content": "x", "name": "n"},
            {"role": "system", "content": [{"type": "text", "text": "x"}], "name": "n"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                    {"type": "file", "file": {"file_id": "f"}},
                ],
                "name": "n",
            },
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "x"}, {"type": "refusal", "refusal": "no"}],
                "refusal": None,
                "name": "n",
                "audio": {"id": "a"},
            },
            {"role": "user", "content": "weather"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
                    {"id": "d", "type": "custom", "custom": {"name": "k", "input": "x"}},
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "x"}]},
            {"role": "tool", "tool_call_id": "d", "content": "x"},
        ],
        "tools": [
            {"type": "function", "function": _FUNCTION},
            {
                "type": "custom",
                "custom": {
                    "name": "k",
                    "description": "d",
                    "format": {"type": "grammar", "grammar": {"definition": "d", "syntax": "lark"}},
                },
            },
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True, "description": "d"},
        },
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
        "web_search_options": {
            "search_context_size": "low",
            "user_location": {"type": "approximate", "approximate": {"city": "x"}},
        },
        "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]},
        "functions": [{"name": "f", "parameters": {}, "description": "d"}],
    },
    "/responses": {
        "model": "m",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "x"},
                    {"type": "input_image", "image_url": "https://x", "detail": "low"},
                    {"type": "input_file", "file_id": "f", "filename": "n"},
                ],
                "type": "message",
            },
            {
                "type": "message",
                "role": "assistant",
                "id": "msg_1",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "x", "annotations": []},
                    {"type": "refusal", "refusal": "n"},
                ],
            },
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "x"}],
                "encrypted_content": "x",
                "status": "completed",
            },
            {"role": "user", "content": "weather"},
            {
                "type": "function_call",
                "call_id": "c",
                "name": "get_weather",
                "arguments": "{}",
                "id": "fc_1",
                "status": "completed",
            },
            {
                "type": "function_call_output",
                "call_id": "c",
                "output": [{"type": "input_text", "text": "x"}],
                "id": "fco_1",
                "status": "completed",
            },
        ],
        "tools": [
            {"type": "function", **_FUNCTION},
            {
                "type": "file_search",
                "vector_store_ids": ["v"],
                "max_num_results": 3,
                "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
            },
            {
                "type": "web_search",
                "search_context_size": "low",
                "user_location": {"type": "approximate", "city": "x"},
                "filters": {"allowed_domains": ["x"]},
            },
            {
                "type": "mcp",
                "server_label": "l",
                "server_url": "u",
                "allowed_tools": ["x"],
                "headers": {"a": "b"},
                "require_approval": "never",
            },
            {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}},
            {"type": "image_generation", "background": "auto", "quality": "low", "size": "auto"},
            {
                "type": "custom",
                "name": "k",
                "description": "d",
                "format": {"type": "grammar", "definition": "d", "syntax": "lark"},
            },
        ],
        "text": {
            "format": {
                "type": "json_schema",
                "name": "n",
                "schema": {"type": "object"},
                "strict": True,
                "description": "d",
            },
            "verbosity": "low",
        },
        "tool_choice": {"type": "function", "name": "get_weather"},
        "prompt": {"id": "p", "version": "1", "variables": {"a": "x"}},
        "reasoning": {"effort": "low", "summary": "auto"},
    },
    "/assistants": {
        "model": "m",
        "tools": [
            {"type": "function", "function": _FUNCTION},
            {
                "type": "file_search",
                "file_search": {"max_num_results": 3, "ranking_options": {"score_threshold": 0.5, "ranker": "auto"}},
            },
            {"type": "code_interpreter"},
        ],
        "tool_resources": {
            "code_interpreter": {"file_ids": ["f"]},
            "file_search": {
                "vector_stores": [
                    {
                        "file_ids": ["f"],
                        "metadata": {"a": "b"},
                        "chunking_strategy": {
                            "type": "static",
                            "static": {"chunk_overlap_tokens": 1, "max_chunk_size_tokens": 100},
                        },
                    }
                ]
            },
        },
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
    },
    "/threads": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_file", "image_file": {"file_id": "f", "detail": "low"}},
                    {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
                ],
                "attachments": [{"file_id": "f", "tools": [{"type": "file_search"}]}],
                "metadata": {"a": "b"},
            }
        ],
        "tool_resources": {"file_search": {"vector_store_ids": ["v"]}},
    },
    "/threads/{t}/runs": {
        "assistant_id": "{a}",
        "additional_messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}],
                "attachments": [{"file_id": "f", "tools": [{"type": "code_interpreter"}]}],
            }
        ],
        "tools": [{"type": "function", "function": _FUNCTION}],
        "truncation_strategy": {"type": "last_messages", "last_messages": 3},
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    },
    "/conversations": {
        "items": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "x"},
                    {"type": "input_image", "image_url": "u", "detail": "low"},
                ],
            },
            {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "x"},
        ],
        "metadata": {"a": "b"},
    },
}
"""A body for each route whose fields consist of others, with as much of them as goes together."""
VALUES_WITHIN: tuple[Any, ...] = (5, -1, 0.5, True, "", "banana", None, [], [1], {}, {"type": "x"}, {"type": 5}, [{}])
_LEFT_OUT = object()
MAY_BE_LEFT_OUT = {
    ("input_image", "detail"): "auto then, as the client's own documentation says",
    ("output_text", "annotations"): "none then",
    ("message", "id"): "what is repeated back without its id gets one",
    ("message", "status"): "completed then",
    ("reasoning", "id"): "as for messages",
    ("reasoning", "summary"): "there is none where none was asked for",
    ("function", "parameters"): "none then, as the API's reference says",
    ("function", "strict"): "true then, as the API's reference says",
}
"""By the type of what it belongs to: what the client's types demand and the API does not, and why."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of everything below the fields of a body."""
    if len(path) > 1:
        yield path
    for key, below in (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    ):
        yield from places(below, (*path, key))


def changed(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    holder: Any = body
    for key in path[:-1]:
        holder = holder[key]
    if value is _LEFT_OUT:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return body


def may_be_left_out(body: Any, path: tuple[Any, ...]) -> bool:
    for key in path[:-1]:
        body = body[key]
    return isinstance(body, dict) and (body.get("type"), path[-1]) in MAY_BE_LEFT_OUT


@pytest.mark.parametrize("route", [route for route in ROUTES if route.path in NESTED], ids=lambda route: route.path)
def test_wrong_values_deep_inside_are_refused(route: Route) -> None:
    caller, ids = prepared()
    adapter: TypeAdapter[Any] = TypeAdapter(eager(route.fields))
    body = json.loads(with_ids(json.dumps(NESTED[route.path]), ids))

    def status_of(tried: dict[str, Any]) -> int | None:
        ids["{t}"] = caller.openai("POST", "/threads")["id"]
        return caller.call("openai", "POST", f"/v1{with_ids(route.path, ids)}", tried).status

    assert allows(adapter, body)
    assert status_of(body) == 200
    wrong = []
    for path in places(body):
        for value in (*VALUES_WITHIN, _LEFT_OUT):
            tried = changed(body, path, value)
            is_allowed = allows(adapter, tried)
            if value is None or value is _LEFT_OUT:
                # Null is as good as left out.
                left_out = changed(body, path, _LEFT_OUT)
                is_allowed = is_allowed or may_be_left_out(body, path)
                is_allowed = is_allowed or (isinstance(path[-1], str) and allows(adapter, left_out))
            status = status_of(tried)
            if status not in (200, 400, 404) or (status == 200 and not is_allowed):
                wrong.append(f"{'.'.join(map(str, path))}: {value!r} is answered {status}")
    assert wrong == []


def test_every_body_that_is_tried_deep_inside_is_that_of_a_route() -> None:
    assert set(NESTED) <= {route.path for route in ROUTES}
