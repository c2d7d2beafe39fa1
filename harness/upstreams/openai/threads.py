"""Threads and their messages: `/v1/threads`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.upstreams.exchange import Exchange, mark_in
from harness.upstreams.openai import shapes
from harness.upstreams.openai.body import FieldCheck, body_of, check_fields, list_field, metadata_of, text_of_content
from harness.upstreams.openai.errors import ApiError, missing, not_found, wrong_value
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.shapes import Shaped, check_shape
from harness.upstreams.openai.user_turns import Talk
from harness.upstreams.routing import routed
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.openai.runs import Run
    from harness.upstreams.openai.upstream import OpenAI

_FIELDS: dict[str, FieldCheck] = {"tool_resources": Shaped(shapes.TOOL_RESOURCES)}
_MESSAGE_FIELDS: dict[str, FieldCheck] = {"attachments": Shaped(shapes.ATTACHMENTS)}
_LONGEST_MESSAGE = 256_000
"""Characters; the API's own bound."""


class Message(msgspec.Struct, eq=False):
    """One message of a thread."""

    id: str
    thread_id: str
    created_s: int
    role: str
    text: str
    parts: list[dict[str, Any]] | None = None
    """The content as it was sent, where it was not plain text."""
    assistant_id: str | None = None
    run_id: str | None = None
    metadata: dict[str, str] | None = None
    attachments: list[dict[str, Any]] | None = None
    status: Literal["completed", "in_progress", "incomplete"] = "completed"
    ended_s: int | None = None
    """When it was whole, or broke off; None: when it was created."""
    incomplete_reason: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        status = self.status
        ended_s = self.created_s if self.ended_s is None else self.ended_s
        return {
            "id": self.id,
            "object": "thread.message",
            "created_at": self.created_s,
            "assistant_id": self.assistant_id,
            "thread_id": self.thread_id,
            "run_id": self.run_id,
            "role": self.role,
            "status": status,
            "completed_at": ended_s if status == "completed" else None,
            "incomplete_at": ended_s if status == "incomplete" else None,
            "incomplete_details": {"reason": self.incomplete_reason} if self.incomplete_reason else None,
            "content": self.parts or ([text_block(self.text)] if self.text or status == "completed" else []),
            "attachments": self.attachments or [],
            "metadata": self.metadata or {},
        }


class Thread(Talk, eq=False):
    """One thread."""

    created_s: int
    metadata: dict[str, str] | None = None
    tool_resources: dict[str, Any] | None = None
    messages: list[Message] = msgspec.field(default_factory=list)
    runs: list[Run] = msgspec.field(default_factory=list)
    active: Run | None = None
    """The run that is under way: there is at most one."""
    caller: str | None = None
    """Who the agent says its user is, in the thread's metadata."""
    turns: int = 0
    """How often the model was asked in this thread."""

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        return {
            "id": self.id,
            "object": "thread",
            "created_at": self.created_s,
            "metadata": self.metadata or {},
            "tool_resources": self.tool_resources or {},
        }

    def add(self, message: Message) -> None:
        """Append a message."""
        self.messages.append(message)
        if message.role == "user":
            self.hear(message.text)
        elif message.status == "completed":
            self.was_answered()


def text_block(text: str) -> dict[str, Any]:
    """Return text as a block of a message's content."""
    return {"type": "text", "text": {"value": text, "annotations": []}}


class Threads:
    """The threads of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self.known: dict[str, Thread] = {}

    def get(self, id_: str, now_ns: int) -> Thread:
        """Return a thread; raises ApiError 404."""
        found = self.known.get(id_)
        if found is None and self._api.adopts(id_):
            found = self.known[id_] = Thread(id=id_, created_s=self._api.wall_s(now_ns))
            self._api.epoch.ledger.conversation_began(id_)
        if found is None:
            raise not_found("thread", id_)
        return found

    def identify_text(self, exchange: Exchange) -> None:
        """Note the text that a POST brings: a message, the messages of a new thread, or the outputs of tools."""
        if not exchange.request.body:
            return
        body = exchange.json_object
        if exchange.route == "POST /v1/threads/{thread_id}/messages":
            text = _text_or_empty(body.get("content"))
            exchange.text, exchange.characters = text, len(text)
            if body.get("role") != "assistant":
                exchange.said = text
                exchange.mark = mark_in(text) or exchange.mark
                thread = self.known.get(exchange.params["thread_id"])
                if thread is not None:
                    exchange.turn = thread.turn_of(text)
        elif exchange.route.endswith("/submit_tool_outputs"):
            outputs = body.get("tool_outputs")
            texts = (
                [one.get("output") or "" for one in outputs if isinstance(one, dict)]
                if isinstance(outputs, list)
                else []
            )
            exchange.text = "\n".join(str(text) for text in texts)
            exchange.characters = len(exchange.text)
        elif exchange.route in ("POST /v1/threads", "POST /v1/threads/runs"):
            holder = body if exchange.route == "POST /v1/threads" else body.get("thread")
            messages = holder.get("messages") if isinstance(holder, dict) else None
            for message in messages if isinstance(messages, list) else ():
                if isinstance(message, dict) and message.get("role") != "assistant":
                    exchange.said = _text_or_empty(message.get("content"))
                    exchange.mark = mark_in(exchange.said) or exchange.mark
            exchange.text, exchange.characters = exchange.said, len(exchange.said)

    # --- threads ---------------------------------------------------------------------------------------------------

    def read(self, exchange: Exchange, body: dict[str, Any]) -> Thread:
        """Return the thread that a body describes, with its messages; nobody knows it yet."""
        messages = list_field(body, "messages")
        check_fields(body, _FIELDS)
        thread = Thread(
            id=self._api.new_id("thread_"),
            created_s=int(exchange.wall_s),
            metadata=metadata_of(body),
            tool_resources=body.get("tool_resources"),
        )
        for message in messages:
            thread.add(self._message(exchange, thread, message))
        if thread.metadata:
            thread.caller = _caller(thread.metadata)
        return thread

    def enter(self, exchange: Exchange, thread: Thread) -> None:
        """Take note of a new thread, which lives from now on."""
        exchange.caller = thread.caller
        exchange.conversation = thread.id
        exchange.turn = thread.turn
        self.known[thread.id] = thread
        self._api.epoch.ledger.conversation_began(thread.id)

    @routed("POST /v1/threads")
    def create(self, exchange: Exchange) -> Reply:
        """Create a thread."""
        thread = self.read(exchange, body_of(exchange))
        self.enter(exchange, thread)
        return self._api.ok(exchange, thread.document(), "write")

    @routed("GET /v1/threads/{thread_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return a thread."""
        return self._api.ok(exchange, self.get(exchange.params["thread_id"], exchange.begin_ns).document())

    @routed("POST /v1/threads/{thread_id}")
    def update(self, exchange: Exchange) -> Reply:
        """Change a thread's metadata."""
        thread = self.get(exchange.params["thread_id"], exchange.begin_ns)
        body = body_of(exchange)
        if "metadata" in body:
            thread.metadata = metadata_of(body)
            thread.caller = _caller(thread.metadata)
        check_fields(body, _FIELDS)
        if body.get("tool_resources") is not None:
            thread.tool_resources = body["tool_resources"]
        return self._api.ok(exchange, thread.document(), "write")

    @routed("DELETE /v1/threads/{thread_id}")
    def delete(self, exchange: Exchange) -> Reply:
        """Delete a thread. A run that is under way in it goes on, unseen: it was not cancelled."""
        thread = self.get(exchange.params["thread_id"], exchange.begin_ns)
        del self.known[thread.id]
        self._api.was_deleted(thread.id)
        self._api.epoch.ledger.conversation_ended(thread.id)
        return self._api.ok(exchange, {"id": thread.id, "object": "thread.deleted", "deleted": True}, "write")

    # --- messages --------------------------------------------------------------------------------------------------

    def _message(self, exchange: Exchange, thread: Thread, body: Any) -> Message:
        if not isinstance(body, dict) or body.get("role") is None:
            raise missing("role")
        if body["role"] not in ("user", "assistant"):
            raise wrong_value("role", body["role"], ("user", "assistant"))
        check_fields(body, _MESSAGE_FIELDS)
        content = body.get("content")
        text = text_of_content(content)
        if not content:
            raise ApiError(400, "Message content must be non-empty.", param="content")
        if len(text) > _LONGEST_MESSAGE:
            raise ApiError(
                400,
                f"Invalid 'content': string too long. Expected a string with maximum length {_LONGEST_MESSAGE}, but got"
                f" a string with length {len(text)} instead.",
                param="content",
                code="string_above_max_length",
            )
        parts = None
        if isinstance(content, list):
            check_shape(content, shapes.MESSAGE_PARTS, "content")
            parts = [text_block(part["text"]) if isinstance(part.get("text"), str) else part for part in content]
        return Message(
            id=self._api.new_id("msg_"),
            thread_id=thread.id,
            created_s=int(exchange.wall_s),
            role=body["role"],
            text=text,
            parts=parts,
            metadata=metadata_of(body),
            attachments=list_field(body, "attachments"),
        )

    def read_messages(self, exchange: Exchange, thread: Thread, bodies: list[Any]) -> list[Message]:
        """Return the messages that a new thread or a run brings along; they are not in the thread yet."""
        return [self._message(exchange, thread, body) for body in bodies]

    @routed("POST /v1/threads/{thread_id}/messages")
    def add_message(self, exchange: Exchange) -> Reply:
        """Append a message; refused while a run is under way."""
        thread = self.get(exchange.params["thread_id"], exchange.begin_ns)
        if thread.active is not None:
            raise ApiError(400, f"Can't add messages to {thread.id} while a run {thread.active.id} is active.")
        message = self._message(exchange, thread, body_of(exchange))
        thread.add(message)
        exchange.mark, exchange.turn = thread.mark, thread.turn
        return self._api.ok(exchange, message.document(), "write")

    @routed("GET /v1/threads/{thread_id}/messages")
    def list_messages(self, exchange: Exchange) -> Reply:
        """List a thread's messages, newest first; `run_id` gives those of one run."""
        thread = self.get(exchange.params["thread_id"], exchange.begin_ns)
        run_id = exchange.query.get("run_id")
        messages = [one for one in thread.messages if run_id is None or one.run_id == run_id]
        return self._api.ok(exchange, page(messages, exchange.query, Message.document))

    def _one(self, exchange: Exchange) -> tuple[Thread, Message]:
        thread = self.get(exchange.params["thread_id"], exchange.begin_ns)
        id_ = exchange.params["message_id"]
        for message in thread.messages:
            if message.id == id_:
                return thread, message
        raise not_found("message", id_)

    @routed("GET /v1/threads/{thread_id}/messages/{message_id}")
    def retrieve_message(self, exchange: Exchange) -> Reply:
        """Return a message."""
        return self._api.ok(exchange, self._one(exchange)[1].document())

    @routed("POST /v1/threads/{thread_id}/messages/{message_id}")
    def update_message(self, exchange: Exchange) -> Reply:
        """Change a message's metadata."""
        message = self._one(exchange)[1]
        message.metadata = metadata_of(body_of(exchange))
        return self._api.ok(exchange, message.document(), "write")

    @routed("DELETE /v1/threads/{thread_id}/messages/{message_id}")
    def delete_message(self, exchange: Exchange) -> Reply:
        """Delete a message."""
        thread, message = self._one(exchange)
        thread.messages.remove(message)
        return self._api.ok(exchange, {"id": message.id, "object": "thread.message.deleted", "deleted": True}, "write")


def _caller(metadata: dict[str, str] | None) -> str | None:
    return (metadata or {}).get("user_id") or (metadata or {}).get("user")


def _text_or_empty(content: Any) -> str:
    try:
        return text_of_content(content)
    except ApiError:
        return ""
