"""What nobody created, brought to life by its first use, as the official client sees it: strictly validated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.filterwarnings(
    "ignore:The Assistants API is deprecated:DeprecationWarning", "ignore:deprecated"
)


@pytest.fixture
def client(stand: Any) -> Any:
    stand.begin_epoch(adopt_unknown_ids=True)
    with stand.openai() as client:
        yield client


USES: dict[str, Callable[[Any], Any]] = {
    "responses.retrieve": lambda c: c.responses.retrieve("resp_old").status == "completed",
    "responses.retrieve, as a stream": lambda c: (
        [event.type for event in c.responses.retrieve("resp_old", stream=True)][-1] == "response.completed"
    ),
    "responses.cancel": lambda c: c.responses.cancel("resp_old").output == [],
    "responses.input_items.list": lambda c: c.responses.input_items.list("resp_old").data == [],
    "responses.delete": lambda c: c.responses.delete("resp_old") is None,
    "responses.create": lambda c: (
        c.responses.create(model="gpt-4o", input="hello", previous_response_id="resp_old").previous_response_id
        == "resp_old"
    ),
    "conversations.retrieve": lambda c: c.conversations.retrieve("conv_old").id == "conv_old",
    "runs.retrieve": lambda c: c.beta.threads.runs.retrieve("run_old", thread_id="thread_old").status == "completed",
    "runs.poll": lambda c: c.beta.threads.runs.poll("run_old", thread_id="thread_old").completed_at is not None,
    "runs.update": lambda c: c.beta.threads.runs.update("run_old", thread_id="thread_old", metadata={"a": "b"}),
    "runs.steps.list": lambda c: c.beta.threads.runs.steps.list("run_old", thread_id="thread_old").data == [],
    "messages.list": lambda c: c.beta.threads.messages.list("thread_old", run_id="run_old").data == [],
    "assistants.retrieve": lambda c: c.beta.assistants.retrieve("asst_old").id == "asst_old",
    "completions.retrieve": lambda c: c.chat.completions.retrieve("chatcmpl-old").choices[0].message.content == "",
    "completions.update": lambda c: c.chat.completions.update("chatcmpl-old", metadata={"a": "b"}),
    "completions.messages.list": lambda c: c.chat.completions.messages.list("chatcmpl-old").data == [],
    "completions.delete": lambda c: c.chat.completions.delete("chatcmpl-old").deleted,
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_the_first_use_is_answered_as_the_client_expects(client: Any, use: Callable[[Any], Any]) -> None:
    assert use(client)


def test_a_run_of_elsewhere_cannot_be_cancelled_any_more(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="Cannot cancel run with status 'completed'"):
        client.beta.threads.runs.cancel("run_old", thread_id="thread_old")
