"""Is a reply in another language made better without putting words into the user's mouth, on every engine?"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from reference_agent.language import script_of
from tests.contract.agent.agent_process import Agent


def _kept(agent: Agent, sessions: Path) -> list[tuple[str, str]]:
    """Return role and text of all messages of the one conversation, oldest first."""
    ids = {str(call["conversation"]) for call in agent.stand.calls() if call.get("conversation")}
    kept: list[tuple[str, str]] = []
    with agent.stand.openai() as client:
        for id_ in ids:
            if id_.startswith("conv_"):
                items: Any = client.conversations.items.list(id_, order="asc", limit=50)
                kept += [(item.role, item.content[0].text) for item in items.data if item.type == "message"]
            elif id_.startswith("thread_"):
                headers = {"OpenAI-Beta": "assistants=v2"}
                page: Any = client.get(
                    f"/threads/{id_}/messages?order=asc", cast_to=object, options={"headers": headers}
                )
                kept += [(one["role"], one["content"][0]["text"]["value"]) for one in page["data"]]
    with contextlib.closing(sqlite3.connect(sessions)) as db:
        return kept or db.execute("SELECT role, text FROM messages ORDER BY number").fetchall()


@pytest.mark.parametrize("engine", ["assistants", "responses", "chat"])
def test_the_conversation_holds_only_what_the_user_said(
    engine: str, start_agent: Callable[..., Agent], tmp_path: Path
) -> None:
    sessions = tmp_path / "sessions.sqlite"
    agent = start_agent(engine, AGENT_SESSION_STORE=f"sqlite:{sessions}")
    agent.stand.arm("wrong_language", upstream="openai", language="en", times=1)
    reply = unquote(agent.chat("u", "こんにちは、元気ですか").headers["X-GPT-Reply"])
    assert script_of(reply.removesuffix("にゃん")) == "ja"
    kept = _kept(agent, sessions)
    assert [role for role, _ in kept] == ["user", "assistant", "assistant"]
    assert [text for role, text in kept if role == "user"] == ["こんにちは、元気ですか"]
    assert [script_of(text) for _, text in kept] == ["ja", "latin", "ja"]
