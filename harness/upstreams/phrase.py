"""How is it recognised that somebody says something? By a regular expression, tried where one of its words is there."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

_T = TypeVar("_T")
_KEPT = 2048
_SHORT = 500
"""Letters: what is kept of the longer ones could fill the memory, and looking at them is not what they cost."""


def kept_for_short_texts(look: Callable[[str], _T]) -> Callable[[str], _T]:
    """Keep what a function makes of the short texts that it was given last."""
    kept = lru_cache(maxsize=_KEPT)(look)

    @wraps(look)
    def looked_up(text: str) -> _T:
        return kept(text) if len(text) <= _SHORT else look(text)

    return looked_up


class Phrase:
    """A way of saying something: a regular expression, tried only on texts that have one of its words in them.

    Most of what is said is no request at all, and to try an expression takes up to twenty times as long as to look for
    its words (13 us for a sentence in English).

    Args:
        words: in small letters; whatever the expression finds has one of them in it.
        pattern: the regular expression; small and capital letters are the same to it.
    """

    def __init__(self, words: tuple[str, ...], pattern: str) -> None:
        self.words = words
        self.pattern = pattern
        self._compiled: re.Pattern[str] | None = None

    def search(self, text: str) -> re.Match[str] | None:
        """Return where a text says it, None where it does not."""
        lowered = text.lower()
        for word in self.words:
            if word in lowered:
                self._compiled = self._compiled or re.compile(self.pattern, re.I)
                return self._compiled.search(text)
        return None
