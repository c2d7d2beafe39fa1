"""Assistants: `/v1/assistants`, the instructions and tools that runs work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.openai import shapes
from harness.upstreams.openai.body import (
    FieldCheck,
    body_of,
    check_fields,
    functions_in,
    list_field,
    metadata_of,
    optional_number,
    optional_text,
    text_field,
)
from harness.upstreams.openai.errors import ApiError, not_found
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.shapes import Shaped
from harness.upstreams.routing import routed
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI


_FIELDS: dict[str, FieldCheck] = {
    "reasoning_effort": Shaped(shapes.EFFORT),
    "response_format": Shaped(shapes.RESPONSE_FORMAT_OR_AUTO),
    "tool_resources": Shaped(shapes.TOOL_RESOURCES),
}


class Assistant(msgspec.Struct, eq=False):
    """One assistant."""

    id: str
    created_s: int
    model: str
    name: str | None = None
    description: str | None = None
    instructions: str | None = None
    tools: list[dict[str, Any]] = []
    functions: tuple[dict[str, Any], ...] = ()
    """Those among the tools, as the model reads them."""
    metadata: dict[str, str] = {}
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    response_format: Any = "auto"
    tool_resources: dict[str, Any] = {}
    reasoning_effort: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        return {
            "id": self.id,
            "object": "assistant",
            "created_at": self.created_s,
            "name": self.name,
            "description": self.description,
            "model": self.model,
            "instructions": self.instructions,
            "tools": self.tools,
            "top_p": self.top_p,
            "temperature": self.temperature,
            "reasoning_effort": self.reasoning_effort,
            "tool_resources": self.tool_resources,
            "metadata": self.metadata,
            "response_format": self.response_format,
        }


class Assistants:
    """The assistants of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self.known: dict[str, Assistant] = {}

    def get(self, id_: str, now_ns: int) -> Assistant:
        """Return an assistant; raises ApiError 404."""
        found = self.known.get(id_)
        if found is None and self._api.adopts(id_):
            found = self.known[id_] = Assistant(
                id=id_, created_s=self._api.wall_s(now_ns), model=self._api.adopted_model
            )
        if found is None:
            raise not_found("assistant", id_)
        return found

    @routed("POST /v1/assistants")
    def create(self, exchange: Exchange) -> Reply:
        """Create one: the slow call that the documented agent makes on its first request."""
        body = body_of(exchange)
        assistant = Assistant(
            id=self._api.new_id("asst_"), created_s=self._api.wall_s(exchange.begin_ns), model=text_field(body, "model")
        )
        _fill(assistant, body)
        self.known[assistant.id] = assistant
        exchange.model = assistant.model
        return self._api.ok(exchange, assistant.document(), "assistant")

    @routed("GET /v1/assistants")
    def list(self, exchange: Exchange) -> Reply:
        """List them, newest first."""
        return self._api.ok(exchange, page(tuple(self.known.values()), exchange.query, Assistant.document))

    @routed("GET /v1/assistants/{assistant_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return one."""
        return self._api.ok(exchange, self.get(exchange.params["assistant_id"], exchange.begin_ns).document())

    @routed("POST /v1/assistants/{assistant_id}")
    def update(self, exchange: Exchange) -> Reply:
        """Change what the body names, leave the rest."""
        assistant = self.get(exchange.params["assistant_id"], exchange.begin_ns)
        body = body_of(exchange)
        changed = msgspec.structs.replace(assistant, model=optional_text(body, "model") or assistant.model)
        _fill(changed, body)
        self.known[assistant.id] = changed
        assistant = changed
        return self._api.ok(exchange, assistant.document(), "write")

    @routed("DELETE /v1/assistants/{assistant_id}")
    def delete(self, exchange: Exchange) -> Reply:
        """Delete one."""
        assistant = self.get(exchange.params["assistant_id"], exchange.begin_ns)
        del self.known[assistant.id]
        self._api.was_deleted(assistant.id)
        return self._api.ok(exchange, {"id": assistant.id, "object": "assistant.deleted", "deleted": True}, "write")


def _fill(assistant: Assistant, body: dict[str, Any]) -> None:
    check_fields(body, _FIELDS)
    for name in ("name", "description", "instructions", "reasoning_effort"):
        if name in body:
            setattr(assistant, name, optional_text(body, name))
    if assistant.instructions is not None and len(assistant.instructions) > 256_000:
        raise ApiError(
            400,
            "Invalid 'instructions': string too long. Expected a string with maximum length 256000, but got a string"
            f" with length {len(assistant.instructions)} instead.",
            param="instructions",
            code="string_above_max_length",
        )
    if "tools" in body:
        tools = list_field(body, "tools")
        assistant.functions = functions_in(tools, shapes.ASSISTANTS_TOOLS)
        if len(tools) > 128:
            raise ApiError(
                400,
                "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with"
                f" length {len(tools)} instead.",
                param="tools",
                code="array_above_max_length",
            )
        assistant.tools = tools
    if "metadata" in body:
        assistant.metadata = metadata_of(body)
    if "temperature" in body:
        assistant.temperature = optional_number(body, "temperature", 0, 2)
    if "top_p" in body:
        assistant.top_p = optional_number(body, "top_p", 0, 1)
    if "response_format" in body:
        assistant.response_format = body["response_format"] or "auto"
    if body.get("tool_resources") is not None:
        assistant.tool_resources = body["tool_resources"]
