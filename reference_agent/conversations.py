"""Which engine's is a conversation that is written down, and who can delete it, whichever engine talks now?

What is written down about a conversation outlives the engine that it was held on: an agent that is started with another
one finds it, and has to be able to get rid of it. The other engine's upstream would not know it, and "not there" would
pass for "deleted". So a conversation is written down as an *address*, its engine and its id, everywhere: in the
session store, among what is condemned, and among what is left over.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from reference_agent.clock import Deadline
from reference_agent.conversation import Engine

_BETWEEN = ":"
_ENGINE_BY_ID = {"thread": "assistants", "conv": "responses", "chat": "chat"}
"""What earlier versions have written down is an id without its engine. OpenAI begins those of threads and conversations
like this (so do Azure, and the compatible servers that were looked at), and the chat engine makes its own."""


class Conversations:
    """Opens conversations on the engine that talks, and deletes them on the one that they are of.

    Args:
        talking: name of the engine that talks.
        names: of all engines.
        engine: returns the engine of a name; it is asked for when something is to be deleted there.
    """

    def __init__(self, talking: str, names: Collection[str], engine: Callable[[str], Engine]) -> None:
        self._talking = talking
        self._names = names
        self._engine = engine

    async def open(self, deadline: Deadline) -> str:
        """Create a conversation upstream and return its address."""
        conversation = await self._engine(self._talking).open_conversation(deadline)
        return f"{self._talking}{_BETWEEN}{conversation}"

    def continued(self, address: str) -> str | None:
        """Return the id of a conversation that the talking engine can go on with; None: it is another one's."""
        engine, conversation = self._parted(address)
        return conversation if engine == self._talking else None

    async def delete(self, address: str, deadline: Deadline) -> None:
        """Delete a conversation upstream; one that is not there is deleted already.

        One of which nobody knows whose it is, is deleted on each engine.
        """
        known, conversation = self._parted(address)
        for name in [known] if known else self._names:
            await self._engine(name).delete_conversation(conversation, deadline)

    def _parted(self, address: str) -> tuple[str, str]:
        engine, _, conversation = address.partition(_BETWEEN)
        if engine in self._names:
            return engine, conversation
        return _ENGINE_BY_ID.get(address.partition("_")[0], ""), address
