"""Conversations and their items: `/v1/conversations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from harness.upstreams.exchange import Exchange, mark_in
from harness.upstreams.openai.body import body_of, list_field, metadata_of
from harness.upstreams.openai.errors import ApiError, missing
from harness.upstreams.openai.items import Item, read_items, text_of
from harness.upstreams.openai.pages import page
from harness.upstreams.openai.user_turns import Talk
from harness.upstreams.routing import routed
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

_ITEMS_AT_ONCE = 20


class Conversation(Talk, eq=False):
    """One conversation."""

    created_s: int
    metadata: dict[str, str]
    items: list[Item] = msgspec.field(default_factory=list)
    locked_by: str | None = None
    """Id of the response that is being made in it."""

    def document(self) -> dict[str, Any]:
        """Return it as the API writes it."""
        return {
            "id": self.id,
            "object": "conversation",
            "created_at": self.created_s,
            "metadata": self.metadata,
        }

    def add(self, items: list[Item]) -> None:
        """Append items."""
        self.items += items
        for item in items:
            role = item.document["role"] if item.type == "message" else None
            if role == "user":
                self.hear(text_of(item))
            elif role == "assistant":
                self.was_answered()


def item_page(items: list[Item], exchange: Exchange) -> dict[str, Any]:
    """Return a page of items. Its ids are never null, as the client's types have it."""
    document = page(items, exchange.query, lambda item: item.document)
    return document | {"first_id": document["first_id"] or "", "last_id": document["last_id"] or ""}


class Conversations:
    """The conversations of one epoch."""

    def __init__(self, api: OpenAI) -> None:
        self._api = api
        self.known: dict[str, Conversation] = {}

    def get(self, id_: str, now_ns: int) -> Conversation:
        """Return a conversation; raises ApiError 404."""
        found = self.known.get(id_)
        if found is None and self._api.adopts(id_):
            found = self.known[id_] = Conversation(id=id_, created_s=self._api.wall_s(now_ns), metadata={})
            self._api.epoch.ledger.conversation_began(id_)
        if found is None:
            raise ApiError(404, f"Conversation with id '{id_}' not found.")
        return found

    def _one(self, exchange: Exchange) -> Conversation:
        return self.get(exchange.params["conversation_id"], exchange.begin_ns)

    def identify(self, exchange: Exchange) -> None:
        """Note what the user says in the items that a call brings."""
        items = exchange.json_object.get("items")
        read = read_items(items, lambda prefix: prefix) if isinstance(items, list) else []
        said = [text_of(item) for item in read if item.type == "message" and item.document["role"] == "user"]
        if said:
            exchange.said = said[-1]
            exchange.text = "\n".join(said)
            exchange.characters = len(exchange.text)
            exchange.mark = mark_in(said[-1]) or exchange.mark
            conversation = self.known.get(exchange.conversation or "")
            if conversation is not None:
                exchange.turn = conversation.turn_of(said[-1])

    @routed("POST /v1/conversations")
    def create(self, exchange: Exchange) -> Reply:
        """Create a conversation, with its first items."""
        body = body_of(exchange)
        conversation = Conversation(
            id=self._api.new_id("conv_"), created_s=self._api.wall_s(exchange.begin_ns), metadata=metadata_of(body)
        )
        conversation.add(self._items(body))
        self.known[conversation.id] = conversation
        self._api.epoch.ledger.conversation_began(conversation.id)
        exchange.conversation, exchange.turn = conversation.id, conversation.turn
        return self._api.ok(exchange, conversation.document(), "write")

    def _items(self, body: dict[str, Any]) -> list[Item]:
        items = list_field(body, "items")
        if len(items) > _ITEMS_AT_ONCE:
            raise ApiError(
                400,
                f"Invalid 'items': array too long. Expected an array with maximum length {_ITEMS_AT_ONCE}, but got an"
                f" array with length {len(items)} instead.",
                param="items",
                code="array_above_max_length",
            )
        return read_items(items, self._api.new_id, "items")

    @routed("GET /v1/conversations/{conversation_id}")
    def retrieve(self, exchange: Exchange) -> Reply:
        """Return a conversation."""
        return self._api.ok(exchange, self._one(exchange).document())

    @routed("POST /v1/conversations/{conversation_id}")
    def update(self, exchange: Exchange) -> Reply:
        """Change a conversation's metadata."""
        conversation = self._one(exchange)
        conversation.metadata = metadata_of(body_of(exchange))
        return self._api.ok(exchange, conversation.document(), "write")

    @routed("DELETE /v1/conversations/{conversation_id}")
    def delete(self, exchange: Exchange) -> Reply:
        """Delete a conversation. Its responses, and so what was said in them, stay."""
        conversation = self._one(exchange)
        del self.known[conversation.id]
        self._api.was_deleted(conversation.id)
        self._api.epoch.ledger.conversation_ended(conversation.id)
        document = {"id": conversation.id, "object": "conversation.deleted", "deleted": True}
        return self._api.ok(exchange, document, "write")

    @routed("POST /v1/conversations/{conversation_id}/items")
    def add_items(self, exchange: Exchange) -> Reply:
        """Append items; refused while a response is being made."""
        conversation = self._one(exchange)
        self.check_unlocked(conversation)
        body = body_of(exchange)
        if "items" not in body:
            raise missing("items")
        items = self._items(body)
        conversation.add(items)
        exchange.mark, exchange.turn = conversation.mark, conversation.turn
        document = {
            "object": "list",
            "data": [item.document for item in items],
            "first_id": items[0].id if items else "",
            "last_id": items[-1].id if items else "",
            "has_more": False,
        }
        return self._api.ok(exchange, document, "write")

    @routed("GET /v1/conversations/{conversation_id}/items")
    def list_items(self, exchange: Exchange) -> Reply:
        """List a conversation's items, newest first."""
        return self._api.ok(exchange, item_page(self._one(exchange).items, exchange))

    def _item(self, exchange: Exchange) -> tuple[Conversation, Item]:
        conversation = self._one(exchange)
        id_ = exchange.params["item_id"]
        for item in conversation.items:
            if item.id == id_:
                return conversation, item
        raise ApiError(404, f"Item with id '{id_}' not found in conversation with id '{conversation.id}'.")

    @routed("GET /v1/conversations/{conversation_id}/items/{item_id}")
    def retrieve_item(self, exchange: Exchange) -> Reply:
        """Return an item."""
        return self._api.ok(exchange, self._item(exchange)[1].document)

    @routed("DELETE /v1/conversations/{conversation_id}/items/{item_id}")
    def delete_item(self, exchange: Exchange) -> Reply:
        """Delete an item; the conversation is returned."""
        conversation, item = self._item(exchange)
        conversation.items.remove(item)
        return self._api.ok(exchange, conversation.document(), "write")

    @staticmethod
    def check_unlocked(conversation: Conversation) -> None:
        """Raise ApiError 400 where a response is being made in the conversation."""
        if conversation.locked_by is not None:
            raise ApiError(
                400,
                "Another process is currently operating on this conversation. Please retry in a few seconds.",
                param="conversation",
                code="conversation_locked",
            )
