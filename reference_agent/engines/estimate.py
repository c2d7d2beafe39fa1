"""What is booked for an answer that was given up, where nobody tells what it took?

A completion ends with its connection, and a cancelled response says nothing of tokens; both are paid for. They are not
let go on for the sake of their figures: that would cost a whole answer that nobody reads, and keep the user's next turn
waiting. What is booked so is marked as an estimate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from reference_agent.conversation import Usage

_BYTES_A_TOKEN = 4  # of UTF-8: a rule of thumb that holds for English, and for Japanese (0.75 tokens a character)
_A_MESSAGE = 4  # tokens for role and bounds of a message, as OpenAI's cookbook counts them
_RECENT = 32  # answers that an answer is taken to be like, about: each one counts for more than the one before it
_SPREAD = 100.0  # of lengths in tokens, squared: what differs less says nothing about what longer ones come to
_KNOWN = 10_000  # ids of what was booked that are kept: 1 MB


class Estimate:
    """Reckons by what recent answers took that told; before the first one, by the request alone.

    Args:
        model: under which it is booked.
        beside: what goes along with every request: instructions and tools, as text.
    """

    def __init__(self, model: str, *beside: str) -> None:
        self._model = model
        self._beside_tokens: float = tokens_in(beside)
        self._is_sure = False
        self._lengths = _Lengths()

    def learn(
        self,
        said: Sequence[str],
        usage: Usage,
        took_s: float = 0.0,
        *,
        latest: Sequence[str] | None = None,
        answers: int = 1,
        is_all: bool = True,
    ) -> None:
        """Answers told what they took: the rest of their prompts goes along with the next one too.

        Args:
            said: the messages that they were given, those of each one.
            usage: what they took, together.
            took_s: seconds that they took.
            latest: those of the messages that had not been answered yet; None: all.
            answers: how many there were.
            is_all: False: more was said before, nobody knows what; believed while nothing better is known.
        """
        if is_all or not self._is_sure:
            self._beside_tokens = max(0.0, (usage.prompt_tokens - tokens_in_messages(said)) / answers)
            self._is_sure = is_all
        answered_tokens = tokens_in(said if latest is None else latest) / answers
        self._lengths.add(answered_tokens, usage.completion_tokens / answers, took_s / answers)

    def of(
        self,
        said: Sequence[str],
        heard: Iterable[str] | None = None,
        after_s: float = math.inf,
        *,
        latest: Sequence[str] | None = None,
    ) -> Usage:
        """Return what an answer took that was given up.

        Args:
            said: the messages that were to be answered.
            heard: what has come of the answer; None: nobody knows, it is written as long and as fast as recent ones.
            after_s: seconds for which it was being written.
            latest: those of the messages that had not been answered yet; None: all.
        """
        prompt_tokens = round(self._beside_tokens) + tokens_in_messages(said)
        completion_tokens = self.written(said if latest is None else latest, heard, after_s)
        return Usage(self._model, prompt_tokens, completion_tokens, is_estimate=True)

    def written(self, latest: Sequence[str], heard: Iterable[str] | None = None, after_s: float = math.inf) -> int:
        """Return how many tokens of an answer there were; arguments as for `of`."""
        return self._lengths.after(tokens_in(latest), after_s) if heard is None else tokens_in(heard)


class _Lengths:
    """How long recent answers were, by how long what they answer was: who has a long text worked on (translated, handed
    to a tool) is answered at length, and must not be booked like small talk for hanging up.
    """

    def __init__(self) -> None:
        self._count = self._x = self._y = self._xx = self._xy = self._took_s = 0.0

    def add(self, answered_tokens: float, tokens: float, took_s: float) -> None:
        """Take an answer in; the older the others are, the less they count."""
        keep, x, y = 1 - 1 / _RECENT, answered_tokens, tokens
        self._count = keep * self._count + 1
        self._x, self._y, self._took_s = keep * self._x + x, keep * self._y + y, keep * self._took_s + took_s
        self._xx, self._xy = keep * self._xx + x * x, keep * self._xy + x * y

    def after(self, answered_tokens: float, seconds: float) -> int:
        """Return how many tokens of an answer are written by then; in the end, as many as others would have."""
        if not self._count:
            return 0
        x, y = self._x / self._count, self._y / self._count
        spread = self._xx / self._count - x * x
        slope = max(0.0, (self._xy / self._count - x * y) / spread) if spread > _SPREAD else 0.0
        whole = max(0.0, y + slope * (answered_tokens - x))
        return round(min(whole, seconds * self._y / self._took_s) if self._took_s else whole)


class BookedOnce:
    """Which generations have been booked: one that two turns come upon, as it was left behind, costs once."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_first(self, generation: str) -> bool:
        """Return whether nobody has asked for this one before."""
        if generation in self._ids:
            return False
        self._ids[generation] = None
        if len(self._ids) > _KNOWN:
            self._ids.popitem(last=False)
        return True


def tokens_in(texts: Iterable[str]) -> int:
    """Return about how many tokens texts are."""
    return sum(-(-len(text.encode()) // _BYTES_A_TOKEN) for text in texts)


def tokens_in_messages(texts: Iterable[str]) -> int:
    """Return about how many tokens messages with these texts add to a prompt."""
    return sum(tokens_in((text,)) + _A_MESSAGE for text in texts)
