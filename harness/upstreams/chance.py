"""Where do random choices come from? From a hash of what they are about, never from the order of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

_T = TypeVar("_T")


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


def identifier(prefix: str, *key: object) -> str:
    """Return an id as OpenAI writes them (prefix and 24 letters and digits), the same for the same key."""
    return prefix + blake2b("\x1f".join(map(str, key)).encode(), digest_size=12).hexdigest()
