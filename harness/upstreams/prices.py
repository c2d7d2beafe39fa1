"""What does a call cost? Tokens by a stated rule, and a price table that can be replaced."""

from __future__ import annotations

import math
import tomllib
from itertools import chain
from pathlib import Path

import msgspec


class Prices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """US dollars. The defaults are the documented prices of the agent under test, not today's price list."""

    per_1k_tokens_usd: float = 0.03
    per_1k_spoken_characters_usd: float = 0.015
    per_emotion_usd: float = 0.0

    model_per_1k_tokens_usd: dict[str, tuple[float, float]] = {}
    """Other prices by model: (prompt, completion)."""

    def __post_init__(self) -> None:
        figures = (self.per_1k_tokens_usd, self.per_1k_spoken_characters_usd, self.per_emotion_usd)
        for figure in (*figures, *chain(*self.model_per_1k_tokens_usd.values())):
            if not 0 <= figure < math.inf:
                msg = f"a price is {figure}, expected US dollars, 0 or more"
                raise ValueError(msg)

    def of_tokens(self, model: str | None, prompt: int, completion: int) -> float:
        """Return the price of prompt and completion tokens, in US dollars."""
        of_prompt, of_completion = self.model_per_1k_tokens_usd.get(
            model or "", (self.per_1k_tokens_usd, self.per_1k_tokens_usd)
        )
        return (prompt * of_prompt + completion * of_completion) / 1000

    def of_speech(self, characters: int) -> float:
        """Return the price of speaking so many characters (code points), in US dollars."""
        return characters * self.per_1k_spoken_characters_usd / 1000


class PricesError(ValueError):
    """A file of prices cannot be read; the message says which, and what was expected."""


def read_prices(path: Path) -> Prices:
    """Read prices from a TOML file with the fields of `Prices`; those that are not there stay the documented ones.

    Raises:
        PricesError: the file cannot be read, or has something else in it.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Prices)
    except OSError as error:
        msg = f"Cannot read the prices {path}: {error.strerror}."
        raise PricesError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        msg = f"The prices {path}: {error}. Expected are {', '.join(Prices.__struct_fields__)}."
        raise PricesError(msg) from error


def tokens_in(text: str) -> int:
    """Return how many tokens a text is taken to be: one for every four bytes of its UTF-8, rounded up.

    The rule is simple on purpose: anybody can check it. It is near the truth for English (about four letters a token)
    and for Japanese (about 0.75 tokens a character).
    """
    return (len(text.encode()) + 3) // 4
