"""What is booked for an answer that was given up, where nobody tells what it took?

A completion ends with its connection; a cancelled response says nothing of tokens, nor does a run of the answer that it
was at; all are paid for. They are not let go on for the sake of their figures: that would cost a whole answer that
nobody reads, and keep the user's next turn waiting.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from reference_agent.conversation import Usage

_BYTES_A_TOKEN = 4  # of UTF-8: a rule of thumb that holds for English, and for Japanese (0.75 tokens a character)


class Estimate:
    """Reckons by what the latest answer took that told; before the first one, by the request alone.

    Args:
        model: under which it is booked.
        beside: what goes along with every request: instructions and tools, as text.
    """

    def __init__(self, model: str, *beside: str) -> None:
        self._model = model
        self._beside_tokens = tokens_in(beside)
        self._completion_tokens = 0
        self._took_s = 0.0

    def learn(self, said: Iterable[str], usage: Usage, took_s: float = 0.0) -> None:
        """An answer to what was said told what it took: the rest of its prompt goes along with the next one too."""
        self._took_s = took_s
        self._beside_tokens = max(0, usage.prompt_tokens - tokens_in(said))
        self._completion_tokens = usage.completion_tokens

    def of(self, said: Iterable[str], heard: Iterable[str] | None = None, after_s: float = math.inf) -> Usage:
        """Return what an answer took that was given up.

        Args:
            said: what was to be answered.
            heard: what has come of the answer; None: nobody knows, it is written as long and as fast as the latest one.
            after_s: seconds for which it was being written.
        """
        if heard is None:
            share = min(1.0, after_s / self._took_s) if self._took_s else 1.0
            completion_tokens = round(share * self._completion_tokens)
        else:
            completion_tokens = tokens_in(heard)
        return Usage(self._model, self._beside_tokens + tokens_in(said), completion_tokens)


def tokens_in(texts: Iterable[str]) -> int:
    """Return about how many tokens texts are."""
    return sum(-(-len(text.encode()) // _BYTES_A_TOKEN) for text in texts)
