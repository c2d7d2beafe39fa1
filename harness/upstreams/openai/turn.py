"""One turn of the model: what it comes up with, what that costs, how long it takes, and in which pieces it streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from harness.model import ToolCall
from harness.upstreams.exchange import Exchange
from harness.upstreams.openai.body import check_schema
from harness.upstreams.prices import tokens_in
from harness.upstreams.thought import Ask, Said, ToolResult
from harness.upstreams.tool_arguments import object_for

if TYPE_CHECKING:
    from harness.upstreams.openai.upstream import OpenAI

TOKENS_A_FUNCTION = 20
"""What a function that is offered adds to a prompt."""
TOKENS_A_MESSAGE = 4
"""What a message adds to a prompt beside its text."""
_TIMED_TOKENS = 1000
"""For as many a model takes its time; what a fault has it write beyond them comes at once. A hundred thousand letters
of huge arguments would take a fast model 19 s, and prove nothing but the time-out of who waits for them."""
_PIECE = re.compile(r"\s*\S{1,4}|\s+$")


class Turn(msgspec.Struct, frozen=True):
    """What a turn of the model comes to."""

    text: str
    calls: tuple[ToolCall, ...]
    prompt_tokens: int
    completion_tokens: int
    truncated: bool
    """The tokens that were allowed did not suffice."""
    first_token_s: float
    total_s: float

    def tokens_after(self, seconds: float) -> int:
        """Return how many tokens have been written so many seconds after the turn began."""
        writes_for_s = self.total_s - self.first_token_s
        share = (seconds - self.first_token_s) / writes_for_s if writes_for_s > 0 else float(seconds >= self.total_s)
        return int(self.completion_tokens * min(max(share, 0.0), 1.0))

    def between_s(self, count: int) -> float:
        """Return the seconds between `count` events after the first token."""
        return (self.total_s - self.first_token_s) / max(count, 1)


NO_TURN = Turn(text="", calls=(), prompt_tokens=0, completion_tokens=0, truncated=False, first_token_s=0.0, total_s=0.0)
"""What nobody asked the model for."""


def pieces_of(text: str) -> list[str]:
    """Return a text in the pieces in which it streams, one to four letters each; together they are the text."""
    return _PIECE.findall(text)


def take_turn(
    api: OpenAI,
    exchange: Exchange,
    ask: Ask,
    *,
    most_tokens: int | None = None,
    parallel_tool_calls: bool = True,
    most_calls: int | None = None,
    answer_schema: dict[str, Any] | None = None,
    stops: tuple[str, ...] = (),
    is_timed: bool = True,
) -> Turn:
    """Let the model take a turn. Nothing is charged yet: who asked knows what of it will come about.

    Args:
        api: the API that asks.
        exchange: the call that made it ask.
        ask: what it is given.
        most_tokens: how many tokens its answer may have.
        parallel_tool_calls: whether it may ask for several tools at once.
        most_calls: how many tools it may ask for.
        answer_schema: JSON schema that an answer in words must follow; an empty one: any JSON object.
        stops: texts before which an answer in words ends.
        is_timed: False: the API has a way of its own to say how long a turn takes.
    """
    epoch = api.epoch
    thought = epoch.think(exchange, ask)
    calls = thought.tool_calls if parallel_tool_calls else thought.tool_calls[:1]
    if most_calls is not None and len(calls) > most_calls:
        calls = calls[:most_calls]
        if not calls:
            thought = epoch.think(exchange, msgspec.structs.replace(ask, tools=()))
    text = "" if calls else thought.text
    if answer_schema is not None and not calls:
        text = _as_json(answer_schema, ask, text)
    for stop in stops:
        text = text.partition(stop)[0]
    prompt_tokens = prompt_tokens_of(ask.instructions, ask.messages, ask.results, ask.tools)
    called = "".join([call.name + call.arguments for call in calls]) if calls else ""
    completion_tokens = max(tokens_in(text + called), 1)
    truncated = most_tokens is not None and completion_tokens > most_tokens
    if truncated and most_tokens is not None:
        completion_tokens = most_tokens
        # The rule of `tokens_in`, backwards.
        text = text.encode()[: 4 * most_tokens].decode(errors="ignore")
    first_token_s = token_s = 0.0
    if is_timed and epoch.latency.scale:
        first_token_s, token_s = epoch.takes(exchange, "first_token"), epoch.takes(exchange, "token")
    return Turn(
        text=text,
        calls=tuple([ToolCall(id=api.new_id("call_"), name=call.name, arguments=call.arguments) for call in calls])
        if calls
        else (),
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        truncated=truncated,
        first_token_s=first_token_s,
        total_s=first_token_s + min(completion_tokens, _TIMED_TOKENS) * token_s,
    )


def prompt_tokens_of(
    instructions: str, messages: Sequence[Said], results: Sequence[ToolResult], functions: Sequence[Any]
) -> int:
    """Return how many tokens the model is given."""
    tokens = tokens_in(instructions) + TOKENS_A_FUNCTION * len(functions)
    for message in messages:
        tokens += tokens_in(message.text) + TOKENS_A_MESSAGE
    for result in results:
        tokens += tokens_in(result.arguments + result.output)
    return tokens


def answer_schema_of(wanted: Any) -> dict[str, Any] | None:
    """Return the JSON schema that an answer must follow, for `take_turn`; None where any text will do.

    Args:
        wanted: a `response_format`, whose schema is within `json_schema`, or the `text.format` of a response.
    """
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_schema", "json_object"):
        return None
    holder = wanted.get("json_schema") or wanted
    schema = holder.get("schema") if isinstance(holder, dict) else None
    return schema if isinstance(schema, dict) else {}


def _as_json(schema: dict[str, Any], ask: Ask, text: str) -> str:
    """Return an answer as JSON: texts that the schema wants are the answer's words."""
    check_schema(schema, "response_format")
    document = object_for(schema, ask, words=text) if schema else {"answer": text}
    return msgspec.json.encode(document).decode()
