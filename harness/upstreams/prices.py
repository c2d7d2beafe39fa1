"""What does a call cost? Tokens by a stated rule, and a price table that can be replaced."""

from __future__ import annotations

import msgspec


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """US dollars. The defaults are the documented prices of the agent under test, not today's price list."""

    per_1k_tokens_usd: float = 0.03
    per_1k_spoken_characters_usd: float = 0.015
    per_emotion_usd: float = 0.0

    def of_tokens(self, tokens: int) -> float:
        """Return the price of prompt and completion tokens together, in US dollars."""
        return tokens * self.per_1k_tokens_usd / 1000

    def of_speech(self, characters: int) -> float:
        """Return the price of speaking so many characters (code points), in US dollars."""
        return characters * self.per_1k_spoken_characters_usd / 1000


def tokens_in(text: str) -> int:
    """Return how many tokens a text is taken to be: one for every four bytes of its UTF-8, rounded up.

    The rule is simple on purpose: anybody can check it. It is near the truth for English (about four letters a token)
    and for Japanese (about 0.75 tokens a character).
    """
    return (len(text.encode()) + 3) // 4
