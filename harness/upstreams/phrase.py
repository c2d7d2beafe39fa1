"""How is it recognised that somebody says something? By a regular expression, tried where one of its words is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

_T = TypeVar("_T")
_KEPT_LETTERS = 1_000_000
"""Of all texts together for which one function's results are kept: 4 MB at the most."""


def kept_for_texts(up_to: int) -> Callable[[Callable[[str], _T]], Callable[[str], _T]]:
    """Keep what a function makes of the texts that it was given last, so that they cannot fill the memory.

    Args:
        up_to: letters of a text; longer ones are looked at each time. The shorter, the more are kept.
    """

    def keeping(look: Callable[[str], _T]) -> Callable[[str], _T]:
        kept = lru_cache(maxsize=_KEPT_LETTERS // up_to)(look)

        @wraps(look)
        def looked_up(text: str) -> _T:
            return kept(text) if len(text) <= up_to else look(text)

        return looked_up

    return keeping


kept_for_short_texts = kept_for_texts(up_to=500)
"""For what is said: there are many of them, and looking at the longer ones is not what they cost."""
kept_for_instructions = kept_for_texts(up_to=10_000)
"""For what comes with every call: there are few of them."""


class Phrase:
    """A way of saying something: a regular expression, tried only on texts that have one of its words in them.

    Most of what is said is no request at all, and to try an expression takes up to twenty times as long as to look for
    its words (13 us for a sentence in English).

    Args:
        words: in small letters; whatever the expression finds has one of them in it. None: it is always tried.
        pattern: the regular expression; small and capital letters are the same to it.
    """

    def __init__(self, words: tuple[str, ...], pattern: str) -> None:
        self.words = words
        self.pattern = pattern
        self._compiled: re.Pattern[str] | None = None

    def search(self, text: str) -> re.Match[str] | None:
        """Return where a text says it, None where it does not."""
        if not self.is_near(text.lower()):
            return None
        self._compiled = self._compiled or re.compile(self.pattern, re.I)
        return self._compiled.search(text)

    def is_near(self, lowered: str) -> bool:
        """Return whether a text in small letters has one of its words in it, without which it cannot say it."""
        for word in self.words:
            if word in lowered:
                return True
        return not self.words
