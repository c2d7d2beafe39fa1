"""What shape must a field have that the stand-in does not read, or only repeats? As the API's reference has it.

A shape is a type as msgspec reads it: checking costs half a microsecond, and only where the field is there.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from harness.upstreams.openai.errors import ApiError


def check_shape(value: Any, shape: Any, param: str) -> None:
    """Refuse a value that has not the shape.

    Raises:
        ApiError: 400, which says where the value differs.
    """
    try:
        msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise ApiError(400, f"Invalid value for '{param}': {error}.", param=param, code="invalid_value") from error


class Shaped:
    """A check of a field: it has this shape, or is null, which is as good as absent."""

    def __init__(self, shape: Any) -> None:
        self._shape = shape

    def __call__(self, body: dict[str, Any], name: str) -> None:
        """Check a field of a body."""
        value = body[name]
        if value is not None:
            check_shape(value, self._shape, name)


def _either(*shapes: Any) -> Any:
    return reduce(or_, shapes)


def _list_of(shape: Any) -> Any:
    return list[shape]


_Fields = dict[str, Any]


def _object(must: _Fields | None = None, may: _Fields | None = None, *, kind: str | None = None) -> Any:
    """Return the shape of an object: the fields that it must have, those that it may, and its `type`."""
    fields: list[Any] = list((must or {}).items())
    fields += [(name, _either(shape, None), None) for name, shape in (may or {}).items()]
    return msgspec.defstruct("Object", fields, tag_field=None if kind is None else "type", tag=kind)


def _kinds(kinds: dict[str, _Fields]) -> Any:
    """Return the shape of objects of several kinds, told apart by `type`, each with what it must have."""
    return _either(*(_object(must, kind=kind) for kind, must in kinds.items()))


_NAMED = _object({"name": str})
_TEXTS = list[str]
_Json = dict[str, Any]
_CHOICE = Literal["none", "auto", "required"]

EFFORT = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
VERBOSITY = Literal["low", "medium", "high"]
SERVICE_TIER = Literal["auto", "default", "flex", "scale", "priority", "fast"]
RESPONSES_SERVICE_TIER = Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"]
CACHE_RETENTION = Literal["in_memory", "24h"]
MODERATION = _object({"model": str})
CONTEXT_MANAGEMENT = _list_of(_object({"type": str}, {"compact_threshold": int}))
STREAM_OPTIONS = _object(may={"include_usage": bool, "include_obfuscation": bool})
REASONING = _object(
    may={
        "effort": EFFORT,
        "summary": Literal["auto", "concise", "detailed"],
        "generate_summary": Literal["auto", "concise", "detailed"],
        "context": Literal["auto", "current_turn", "all_turns"],
        "mode": str,
    }
)

RESPONSE_FORMAT = _kinds(
    {
        "text": {},
        "json_object": {},
        "json_schema": {
            "json_schema": _object({"name": str}, {"schema": _Json, "strict": bool, "description": str}),
        },
    }
)
RESPONSE_FORMAT_OR_AUTO = _either(Literal["auto"], RESPONSE_FORMAT)
TEXT_CONFIG = _object(
    may={
        "format": _kinds({"text": {}, "json_object": {}, "json_schema": {"name": str, "schema": _Json}}),
        "verbosity": VERBOSITY,
    }
)

CHAT_TOOL_CHOICE = _either(
    _CHOICE,
    _kinds(
        {
            "function": {"function": _NAMED},
            "custom": {"custom": _NAMED},
            "allowed_tools": {"allowed_tools": _object({"mode": Literal["auto", "required"], "tools": list[_Json]})},
        }
    ),
)
_HOSTED = (
    "file_search",
    "web_search_preview",
    "web_search_preview_2025_03_11",
    "computer",
    "computer_use",
    "computer_use_preview",
    "image_generation",
    "code_interpreter",
    "apply_patch",
    "shell",
    "programmatic_tool_calling",
)
RESPONSES_TOOL_CHOICE = _either(
    _CHOICE,
    _kinds(
        {
            "function": {"name": str},
            "custom": {"name": str},
            "mcp": {"server_label": str},
            "allowed_tools": {"mode": Literal["auto", "required"], "tools": list[_Json]},
            **{kind: {} for kind in _HOSTED},
        }
    ),
)
ASSISTANTS_TOOL_CHOICE = _either(
    _CHOICE, _kinds({"function": {"function": _NAMED}, "code_interpreter": {}, "file_search": {}})
)

# Tools beside functions, which `functions_in` reads.
CHAT_TOOLS = _kinds({"custom": {"custom": _NAMED}})
ASSISTANTS_TOOLS = _kinds({"code_interpreter": {}, "file_search": {}})
RESPONSES_TOOLS = _kinds(
    {
        "file_search": {"vector_store_ids": _TEXTS},
        "web_search": {},
        "web_search_2025_08_26": {},
        "web_search_preview": {},
        "web_search_preview_2025_03_11": {},
        "computer": {},
        "computer_use_preview": {
            "display_height": int,
            "display_width": int,
            "environment": Literal["windows", "mac", "linux", "ubuntu", "browser"],
        },
        "mcp": {"server_label": str},
        "code_interpreter": {"container": _either(str, _object({"type": Literal["auto"]}))},
        "image_generation": {},
        "local_shell": {},
        "shell": {},
        "apply_patch": {},
        "tool_search": {},
        "programmatic_tool_calling": {},
        "custom": {"name": str},
    }
)

TOOL_RESOURCES = _object(
    may={
        "code_interpreter": _object(may={"file_ids": _TEXTS}),
        "file_search": _object(may={"vector_store_ids": _TEXTS, "vector_stores": list[_Json]}),
    }
)
TRUNCATION_STRATEGY = _object({"type": Literal["auto", "last_messages"]}, {"last_messages": Annotated[int, Meta(ge=1)]})
ATTACHMENTS = _list_of(_object(may={"file_id": str, "tools": _list_of(ASSISTANTS_TOOLS)}))
MESSAGE_PARTS = _list_of(
    _kinds(
        {
            "text": {"text": str},
            "image_url": {"image_url": _object({"url": str}, {"detail": Literal["auto", "low", "high"]})},
            "image_file": {"image_file": _object({"file_id": str}, {"detail": Literal["auto", "low", "high"]})},
        }
    )
)
ITEM_PARTS = _list_of(
    _kinds(
        {
            "input_text": {"text": str},
            "output_text": {"text": str},
            "text": {"text": str},
            "summary_text": {"text": str},
            "reasoning_text": {"text": str},
            "refusal": {"refusal": str},
            "input_image": {},
            "input_file": {},
            "computer_screenshot": {},
        }
    )
)

LOGIT_BIAS = dict[str, Annotated[int, Meta(ge=-100, le=100)]]
MODALITIES = list[Literal["text", "audio"]]
FUNCTIONS = _list_of(_object({"name": str}, {"description": str, "parameters": _Json}))
FUNCTION_CALL = _either(Literal["none", "auto"], _NAMED)
AUDIO = _object({"voice": _either(str, _object({"id": str})), "format": str})
PREDICTION = _object({"type": Literal["content"], "content": _either(str, list[_Json])})
PROMPT = _object({"id": str}, {"version": str, "variables": _Json})
VOICE = _either(Annotated[str, Meta(min_length=1)], _object({"id": str}))
INCLUDE = list[
    Literal[
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "message.input_image.image_url",
        "computer_call_output.output.image_url",
        "code_interpreter_call.outputs",
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
    ]
]
_Tokens = Annotated[list[int], Meta(min_length=1)]
EMBEDDING_INPUT = _either(str, list[str | int | _Tokens])
MODERATION_INPUT = _either(
    str, _list_of(str | _kinds({"text": {"text": str}, "image_url": {"image_url": _object({"url": str})}}))
)
