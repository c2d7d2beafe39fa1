"""Is every conversation deleted on the engine that it is of, whichever engine talks?"""

from __future__ import annotations

import pytest
from agent_stage import CountedEngine, HeldClock, KeptLog, conversations_of, settings

from reference_agent.conversations import Conversations
from reference_agent.errors import Unavailable
from reference_agent.parts.sessions import HardenedSessions, bounds
from reference_agent.session_store import SqliteSessionStore


class Switched:
    """A user whose conversation is one of the chat engine, and an agent that talks on assistants by now."""

    def __init__(self, address: str = "chat:thread_7", **given: object) -> None:
        self.clock = HeldClock()
        self.talks = CountedEngine()
        self.before = CountedEngine()
        chosen = settings(**given)
        self.store = SqliteSessionStore(None, bounds(chosen))
        self.address = address
        conversations = conversations_of(self.talks, chat=self.before)
        self.sessions = HardenedSessions(chosen, self.clock, conversations, self.store, KeptLog())

    async def turn(self, user: str = "u") -> str:
        async with self.sessions.lease(user, self.clock.deadline()) as lease:
            return lease.conversation

    async def as_it_was_left(self) -> None:
        await self.store.claim("u", self.clock.wall(), self.clock.wall() + 1.0)
        await self.store.created("u", self.address)
        await self.store.ended("u", self.clock.wall(), had_a_turn=True)


async def test_another_engines_conversation_is_deleted_there_and_its_user_begins_anew() -> None:
    switched = Switched()
    await switched.as_it_was_left()
    assert await switched.turn() == "thread_1"
    assert (switched.before.deleted, switched.talks.deleted) == (["thread_7"], [])
    assert await switched.turn() == "thread_1"
    assert switched.talks.created == 1


async def test_an_engine_that_is_down_keeps_nobody_from_talking_on_another_one() -> None:
    switched = Switched()
    await switched.as_it_was_left()
    switched.before.deletion_failure = Unavailable("openai", "down", never_arrived=True)
    assert await switched.turn() == "thread_1"
    switched.before.deletion_failure = None
    for _ in range(2):
        switched.clock.time += 10.0
        await switched.sessions.keep_house_once()
    assert switched.before.deleted == ["thread_7"]
    assert await switched.turn() == "thread_1"


@pytest.mark.parametrize("address", ["chat:thread_7", "chat_7"])
async def test_what_expires_is_deleted_on_its_engine(address: str) -> None:
    switched = Switched(address)
    await switched.as_it_was_left()
    switched.clock.time += 1e6
    await switched.sessions.keep_house_once()
    assert switched.before.deleted == [address.removeprefix("chat:")]
    assert not switched.talks.deleted


async def test_what_makes_room_is_deleted_on_its_engine() -> None:
    switched = Switched(max_conversations=2)
    await switched.as_it_was_left()
    for user in ("v", "w"):
        await switched.turn(user)
    assert (switched.before.deleted, switched.talks.deleted) == (["thread_7"], [])


@pytest.mark.parametrize(
    ("address", "continued"),
    [
        ("assistants:thread_7", "thread_7"),
        ("assistants:x:7", "x:7"),
        ("assistants:chat_7", "chat_7"),
        ("thread_7", "thread_7"),
        ("chat:thread_7", None),
        ("conv_7", None),
        ("7", None),
    ],
)
def test_only_what_is_surely_its_own_an_engine_goes_on_with(address: str, continued: str | None) -> None:
    conversations = conversations_of(CountedEngine(), chat=CountedEngine(), responses=CountedEngine())
    assert conversations.continued(address) == continued


async def test_a_conversation_of_which_nobody_knows_whose_it_is_is_deleted_everywhere() -> None:
    engines = {name: CountedEngine() for name in ("assistants", "chat")}
    conversations = Conversations("chat", engines, engines.__getitem__)
    await conversations.delete("7", HeldClock().deadline())
    assert [engine.deleted for engine in engines.values()] == [["7"], ["7"]]
