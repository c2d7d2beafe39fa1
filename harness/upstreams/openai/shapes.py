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


def _dict_of(shape: Any) -> Any:
    return dict[str, shape]


_Fields = dict[str, Any]


def _object(must: _Fields | None = None, may: _Fields | None = None, *, kind: str | None = None) -> Any:
    """Return the shape of an object: the fields that it must have, those that it may, and its `type`."""
    fields: list[Any] = list((must or {}).items())
    fields += [(name, _either(shape, None), None) for name, shape in (may or {}).items()]
    return msgspec.defstruct("Object", fields, tag_field=None if kind is None else "type", tag=kind)


def _kinds(kinds: dict[str, _Fields], may: dict[str, _Fields] | None = None) -> Any:
    """Return the shape of objects of several kinds, told apart by `type`: what each must have, and what it may."""
    if len(kinds) == 1:
        # There is nothing to tell apart, so that msgspec would do without the type.
        ((kind, must),) = kinds.items()
        return _object({"type": Literal[kind], **must}, (may or {}).get(kind))
    return _either(*(_object(must, (may or {}).get(kind), kind=kind) for kind, must in kinds.items()))


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
        "format": _kinds(
            {"text": {}, "json_object": {}, "json_schema": {"name": str, "schema": _Json}},
            {"json_schema": {"strict": bool, "description": str}},
        ),
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

_LOW_TO_HIGH = Literal["low", "medium", "high"]
_GRAMMAR: _Fields = {"definition": str, "syntax": Literal["lark", "regex"]}
_CITY: _Fields = {"city": str, "country": str, "region": str, "timezone": str}
_APPROXIMATELY = _object(may={"type": Literal["approximate"], **_CITY})
_SCORE = float
WEB_SEARCH_OPTIONS = _object(
    may={
        "search_context_size": _LOW_TO_HIGH,
        "user_location": _object({"type": Literal["approximate"], "approximate": _object(may=_CITY)}),
    }
)

# Tools beside functions, which `functions_in` reads.
CHAT_TOOLS = _kinds(
    {
        "custom": {
            "custom": _object(
                {"name": str},
                {"description": str, "format": _kinds({"text": {}, "grammar": {"grammar": _object(_GRAMMAR)}})},
            )
        }
    }
)
ASSISTANTS_TOOLS = _kinds(
    {"code_interpreter": {}, "file_search": {}},
    {
        "file_search": {
            "file_search": _object(
                may={
                    "max_num_results": int,
                    "ranking_options": _object(
                        {"score_threshold": _SCORE}, {"ranker": Literal["auto", "default_2024_08_21"]}
                    ),
                }
            )
        }
    },
)
_WEB_SEARCH: _Fields = {
    "external_web_access": bool,
    "filters": _object(may={"allowed_domains": _TEXTS}),
    "search_context_size": _LOW_TO_HIGH,
    "user_location": _APPROXIMATELY,
}
_WEB_SEARCH_PREVIEW: _Fields = {
    "search_content_types": list[Literal["text", "image"]],
    "search_context_size": _LOW_TO_HIGH,
    "user_location": _object({"type": Literal["approximate"]}, _CITY),
}
_SOME_TOOLS = _object(may={"read_only": bool, "tool_names": _TEXTS})
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
        "code_interpreter": {
            "container": _either(
                str,
                _object(
                    {"type": Literal["auto"]},
                    {"file_ids": _TEXTS, "memory_limit": Literal["1g", "4g", "16g", "64g"], "network_policy": _Json},
                ),
            )
        },
        "image_generation": {},
        "local_shell": {},
        "shell": {},
        "apply_patch": {},
        "tool_search": {},
        "programmatic_tool_calling": {},
        "custom": {"name": str},
    },
    {
        "file_search": {
            "filters": _Json,
            "max_num_results": int,
            "ranking_options": _object(
                may={
                    "ranker": Literal["auto", "default-2024-11-15"],
                    "score_threshold": _SCORE,
                    "hybrid_search": _object({"embedding_weight": _SCORE, "text_weight": _SCORE}),
                }
            ),
        },
        "web_search": _WEB_SEARCH,
        "web_search_2025_08_26": _WEB_SEARCH,
        "web_search_preview": _WEB_SEARCH_PREVIEW,
        "web_search_preview_2025_03_11": _WEB_SEARCH_PREVIEW,
        "mcp": {
            "allowed_tools": _either(_TEXTS, _SOME_TOOLS),
            "authorization": str,
            "connector_id": str,
            "headers": dict[str, str],
            "require_approval": _either(
                Literal["always", "never"], _object(may={"always": _SOME_TOOLS, "never": _SOME_TOOLS})
            ),
            "server_description": str,
            "server_url": str,
        },
        "image_generation": {
            "action": Literal["generate", "edit", "auto"],
            "background": Literal["transparent", "opaque", "auto"],
            "input_fidelity": Literal["high", "low"],
            "input_image_mask": _object(may={"file_id": str, "image_url": str}),
            "model": str,
            "moderation": Literal["auto", "low"],
            "output_compression": int,
            "output_format": Literal["png", "webp", "jpeg", "gif", "svg"],
            "partial_images": int,
            "quality": Literal["low", "medium", "high", "xhigh", "max", "auto"],
            "size": str,
        },
        "custom": {"description": str, "format": _kinds({"text": {}, "grammar": _GRAMMAR})},
    },
)

_CHUNKING = _kinds(
    {"auto": {}, "static": {"static": _object({"chunk_overlap_tokens": int, "max_chunk_size_tokens": int})}}
)
TOOL_RESOURCES = _object(
    may={
        "code_interpreter": _object(may={"file_ids": _TEXTS}),
        "file_search": _object(
            may={
                "vector_store_ids": _TEXTS,
                "vector_stores": _list_of(
                    _object(may={"file_ids": _TEXTS, "metadata": dict[str, str], "chunking_strategy": _CHUNKING})
                ),
            }
        ),
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
_TEXT_PART: _Fields = {"text": str}
_CHAT_TEXTS = _list_of(_kinds({"text": _TEXT_PART}))
CHAT_PARTS: dict[str, Any] = {
    "user": _list_of(
        _kinds(
            {
                "text": _TEXT_PART,
                "image_url": {"image_url": _object({"url": str}, {"detail": Literal["auto", "low", "high"]})},
                "input_audio": {"input_audio": _object({"data": str, "format": Literal["wav", "mp3"]})},
                "file": {"file": _object(may={"file_data": str, "file_id": str, "filename": str})},
            }
        )
    ),
    "assistant": _list_of(_kinds({"text": _TEXT_PART, "refusal": {"refusal": str}})),
    **dict.fromkeys(("system", "developer", "tool"), _CHAT_TEXTS),
}
"""What the content of a message may consist of, by the role of who says it."""
CHAT_MESSAGE = _object(
    may={
        "name": str,
        "refusal": str,
        "audio": _object({"id": str}),
        "function_call": _object({"name": str, "arguments": str}),
    }
)
"""What a message may have beside its role and content."""
CHAT_CALLS = _list_of(
    _kinds(
        {
            "function": {"id": str, "function": _object({"name": str, "arguments": str})},
            "custom": {"id": str, "custom": _object({"name": str, "input": str})},
        }
    )
)
_IMAGE_DETAIL = Literal["low", "high", "auto", "original"]
_ANNOTATIONS = _list_of(
    _kinds(
        {
            "file_citation": {"file_id": str, "filename": str, "index": int},
            "url_citation": {"end_index": int, "start_index": int, "title": str, "url": str},
            "container_file_citation": {
                "container_id": str,
                "end_index": int,
                "file_id": str,
                "filename": str,
                "start_index": int,
            },
            "file_path": {"file_id": str, "index": int},
        }
    )
)
ITEM_PARTS = _list_of(
    _kinds(
        {
            "input_text": _TEXT_PART,
            "output_text": _TEXT_PART,
            "text": _TEXT_PART,
            "summary_text": _TEXT_PART,
            "reasoning_text": _TEXT_PART,
            "refusal": {"refusal": str},
            "input_image": {},
            "input_file": {},
            "computer_screenshot": {},
        },
        {
            "output_text": {"annotations": _ANNOTATIONS, "logprobs": list[_Json]},
            "input_image": {"detail": _IMAGE_DETAIL, "file_id": str, "image_url": str},
            "input_file": {
                "detail": Literal["auto", "low", "high"],
                "file_data": str,
                "file_id": str,
                "file_url": str,
                "filename": str,
            },
        },
    )
)
REASONING_ITEM = _object(
    may={
        "summary": _list_of(_kinds({"summary_text": _TEXT_PART})),
        "content": _list_of(_kinds({"reasoning_text": _TEXT_PART})),
    }
)

LOGIT_BIAS = dict[str, Annotated[int, Meta(ge=-100, le=100)]]
MODALITIES = list[Literal["text", "audio"]]
FUNCTIONS = _list_of(_object({"name": str}, {"description": str, "parameters": _Json}))
FUNCTION_CALL = _either(Literal["none", "auto"], _NAMED)
AUDIO = _object({"voice": _either(str, _object({"id": str})), "format": str})
PREDICTION = _object({"type": Literal["content"], "content": _either(str, _CHAT_TEXTS)})
_VARIABLE = _kinds(
    {"input_text": _TEXT_PART, "input_image": {}, "input_file": {}},
    {"input_image": {"detail": _IMAGE_DETAIL, "file_id": str, "image_url": str}, "input_file": {"file_id": str}},
)
PROMPT = _object({"id": str}, {"version": str, "variables": _dict_of(_either(str, _VARIABLE))})
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
