"""Items: what conversations and responses consist of: messages, function calls, and their outputs."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from harness.upstreams.exchange import decoded
from harness.upstreams.openai.body import one_of, optional_text, text_of_content
from harness.upstreams.openai.errors import ApiError, missing, wrong_type, wrong_value
from harness.upstreams.openai.shapes import ITEM_PARTS, REASONING_ITEM, check_shape
from harness.upstreams.thought import Said, ToolResult

_STATES = ("in_progress", "completed", "incomplete")
_ROLES = ("user", "assistant", "system", "developer")


class Item(msgspec.Struct, frozen=True):
    """One item, as the API writes it."""

    id: str
    document: dict[str, Any]

    @property
    def type(self) -> str:
        """message, function_call, function_call_output, ..."""
        return str(self.document["type"])


def text_of(item: Item) -> str:
    """Return the text of a message, or the output of a function call."""
    kind = item.document["type"]
    if kind == "message":
        return text_of_content(item.document["content"])
    if kind == "function_call_output":
        output = item.document["output"]
        return output if isinstance(output, str) else text_of_content(output, "output")
    return ""


def read_items(source: Any, new_id: Any, param: str = "input") -> list[Item]:
    """Return the items that a request brings.

    Args:
        source: a text (the user's message), or an array of items as clients write them.
        new_id: prefix -> id, for items that have none.
        param: what errors call it.

    Raises:
        ApiError: 400 for anything else.
    """
    if isinstance(source, str):
        return [_message(new_id("msg_"), "user", source)]
    if not isinstance(source, list):
        raise wrong_type(param, "one of a string or array of input items", source)
    return [_read_item(one, new_id, f"{param}[{index}]") for index, one in enumerate(source)]


def _read_item(source: Any, new_id: Any, param: str) -> Item:
    if not isinstance(source, dict):
        raise wrong_type(param, "an object", source)
    for name in ("id", "encrypted_content"):
        optional_text(source, name)
    one_of(source, "status", _STATES)
    kind = source.get("type", "message")
    if kind == "message":
        role = source.get("role")
        if role is None:
            raise missing(f"{param}.role")
        if role not in _ROLES:
            raise wrong_value(f"{param}.role", role, _ROLES)
        content = source.get("content")
        if content is None:
            raise missing(f"{param}.content")
        text_of_content(content, f"{param}.content")
        if isinstance(content, list):
            check_shape(content, ITEM_PARTS, f"{param}.content")
        return _message(source.get("id") or new_id("msg_"), role, content)
    if kind == "function_call":
        for name in ("call_id", "name", "arguments"):
            if not isinstance(source.get(name), str):
                raise missing(f"{param}.{name}")
        id_ = source.get("id") or new_id("fc_")
        return Item(id_, {**source, "id": id_, "type": "function_call", "status": source.get("status") or "completed"})
    if kind == "function_call_output":
        if not isinstance(source.get("call_id"), str):
            raise missing(f"{param}.call_id")
        if source.get("output") is None:
            raise missing(f"{param}.output")
        text_of_content(source["output"], f"{param}.output")
        if isinstance(source["output"], list):
            check_shape(source["output"], ITEM_PARTS, f"{param}.output")
        id_ = source.get("id") or new_id("fco_")
        return Item(id_, {**source, "id": id_, "status": source.get("status") or "completed"})
    if kind in ("reasoning", "item_reference", "compaction"):
        if kind == "reasoning":
            check_shape(source, REASONING_ITEM, param)
        id_ = source.get("id") or new_id("item_")
        return Item(id_, {**source, "id": id_})
    raise wrong_value(
        param,
        kind,
        ("message", "function_call", "function_call_output", "reasoning", "item_reference", "compaction"),
    )


def _message(id_: str, role: str, content: Any) -> Item:
    own = "output_text" if role == "assistant" else "input_text"
    parts: list[dict[str, Any]]
    parts = [{"type": own, "text": content}] if isinstance(content, str) else [dict(part) for part in content]
    for part in parts:
        if part["type"] == "output_text":
            part.setdefault("annotations", [])
            part.setdefault("logprobs", [])
    return Item(id_, {"id": id_, "type": "message", "status": "completed", "role": role, "content": parts})


def answer_item(id_: str, text: str, status: str = "completed") -> Item:
    """Return a message of the model."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return Item(id_, {"id": id_, "type": "message", "status": status, "role": "assistant", "content": [part]})


def call_item(id_: str, call_id: str, name: str, arguments: str) -> Item:
    """Return a function call of the model."""
    return Item(
        id_,
        {
            "id": id_,
            "type": "function_call",
            "status": "completed",
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
        },
    )


def compaction_item(id_: str, items: list[Item]) -> Item:
    """Return an item that stands for a whole history, which only this stand-in can read."""
    packed = base64.b64encode(msgspec.json.encode([item.document for item in items])).decode()
    return Item(id_, {"id": id_, "type": "compaction", "encrypted_content": packed})


def unpacked(items: list[Item]) -> list[Item]:
    """Return items with every compaction replaced by what it stands for; one from elsewhere stands for nothing."""
    whole: list[Item] = []
    for item in items:
        if item.document["type"] != "compaction":
            whole.append(item)
            continue
        try:
            documents = decoded(base64.b64decode(item.document.get("encrypted_content") or ""))
            whole += read_items(documents, lambda prefix: prefix)
        except (binascii.Error, msgspec.DecodeError, ApiError):
            continue
    return whole


class History(msgspec.Struct, frozen=True):
    """What the model makes of items."""

    instructions: str
    messages: tuple[Said, ...]
    results: tuple[ToolResult, ...]
    """Of the tools that were called since the user's latest message."""
    turns: int
    """How often the model has answered."""
    first_call: str | None = None
    """Id of the first tool call since the user's latest message."""


def history_of(items: list[Item]) -> History:
    """Read items as the model does.

    Raises:
        ApiError: 400: an output belongs to no call, or a call has no output.
    """
    instructions: list[str] = []
    messages: list[Said] = []
    results: list[ToolResult] = []
    calls: dict[str, tuple[str, str]] = {}
    unanswered: dict[str, None] = {}
    turns = 0
    first_call: str | None = None
    for item in items:
        document = item.document
        kind = document["type"]
        if kind == "message":
            role, text = document["role"], text_of(item)
            if role in ("system", "developer"):
                instructions.append(text)
            else:
                messages.append(Said(role, text))
                turns += role == "assistant"
            if role == "user":
                results.clear()
                first_call = None
        elif kind == "function_call":
            calls[document["call_id"]] = (document["name"], document["arguments"])
            unanswered[document["call_id"]] = None
            turns += 1
            first_call = first_call or document["call_id"]
        elif kind == "function_call_output":
            call_id = document["call_id"]
            if call_id not in calls:
                raise ApiError(
                    400, f"No tool call found for function call output with call_id {call_id}.", param="input"
                )
            unanswered.pop(call_id, None)
            results.append(ToolResult(*calls[call_id], text_of(item)))
    if unanswered:
        raise ApiError(400, f"No tool output found for function call {next(iter(unanswered))}.", param="input")
    return History("\n".join(instructions), tuple(messages), tuple(results), turns, first_call)
