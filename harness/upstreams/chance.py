"""Where do random choices come from? From a hash of what they are about, never from the order of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

_T = TypeVar("_T")
_NUMBERS = 2**96
_STEP = 0x9E3779B97F4A7C15F39CC061
"""The golden ratio's share of them, so that neighbours look nothing alike."""


def fraction(*key: object) -> float:
    """Return a number in [0, 1) that is the same for the same key.

    Args:
        key: what the choice is about, e.g. (seed, mark, route, ordinal). Its parts are compared by their text.
    """
    digest = blake2b("\x1f".join(map(str, key)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def choice(options: Sequence[_T], *key: object) -> _T:
    """Return one of `options`, the same for the same key."""
    return options[int(fraction(*key) * len(options))]


class Identifiers:
    """Ids as OpenAI writes them: a prefix and 24 hexadecimal digits, never the same twice.

    They start at a hash of seed and prefix and go on in steps of an odd number, so that all 2**96 of them come before
    one comes again; to hash each of them (1.5 us) was 3 % of a call that needs three.

    Args:
        seed: the same seed gives the same ids, prefix by prefix, in the same order.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._next: dict[str, int] = {}

    def new(self, prefix: str) -> str:
        """Return an id that was not given before."""
        number = self._next.get(prefix)
        if number is None:
            digest = blake2b(f"{self._seed}\x1f{prefix}".encode(), digest_size=12).digest()
            number = int.from_bytes(digest, "big")
        self._next[prefix] = (number + _STEP) % _NUMBERS
        return f"{prefix}{number:024x}"
