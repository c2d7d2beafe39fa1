"""What do the placeholders in a target's description stand for?

`{port}` is replaced, `{{port}}` writes a literal `{port}`. Braces around anything else than a name (JSON in an
environment variable, say) are left alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterator, Mapping

_NAME = r"[A-Za-z_][A-Za-z0-9_.]*"
_PLACEHOLDER = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")


def placeholders(template: str) -> Iterator[str]:
    """Yield the names that `template` asks for."""
    for match in _PLACEHOLDER.finditer(template):
        if match[2]:
            yield match[2]


def fill(template: str, facts: Mapping[str, str], quote: Callable[[str], str] = str) -> str:
    """Replace every placeholder, in one pass: what is put in is never read again.

    Args:
        template: the text with its placeholders.
        facts: what each name stands for.
        quote: applied to what is put in.

    Raises:
        KeyError: a name without a fact; loading a target rules it out.
    """
    if "{" not in template:
        return template
    return _PLACEHOLDER.sub(lambda match: f"{{{match[1]}}}" if match[1] else quote(facts[match[2]]), template)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return ` Did you mean 'x'?` where something known is close to `word`, else an empty text."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""
