"""How is text from outside (callers, targets, upstreams) made fit to be shown to a person?

Escaping for HTML is the template's work. This is about what escaping leaves in: control characters that move a
terminal's cursor, directional overrides that show a line backwards, and texts of ten thousand characters.
"""

from __future__ import annotations

import re

# Directional marks, embeddings, overrides and isolates; line and paragraph separators; the byte order mark.
_INVISIBLE = re.compile("[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_SPACES = re.compile(r"\s+")
# Stacked accents ("zalgo") paint over the lines above and below; three on one letter is more than a language needs.
_STACKED = re.compile(
    "([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{3})[\u0300-\u036f\u0483-\u0489"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+"
)


def _code_point(match: re.Match[str]) -> str:
    return f"‹U+{ord(match[0]):04X}›"


def showable(text: str, limit: int = 4000) -> str:
    """Return `text` with everything that would not show, or would show as something else, made visible.

    Args:
        text: anything.
        limit: characters that are kept, above 0; what was cut is counted at the end.
    """
    cut = text[:limit]
    shown = _CONTROL.sub(_code_point, cut.replace("\r\n", "\n").replace("\r", "\n"))
    shown = _STACKED.sub(r"\1", _INVISIBLE.sub(_code_point, shown))
    return shown if len(text) <= limit else f"{shown}… ({len(text):,} characters)"


def one_line(text: str, limit: int = 300) -> str:
    """Return `text` as `showable`, on one line."""
    return _SPACES.sub(" ", showable(text.strip(), limit))


def label(text: str, limit: int = 40) -> str:
    """Return `text` as a name: one line, cut short without a word about it."""
    line = one_line(text, limit * 4)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def plot_label(text: str, limit: int = 24) -> str:
    """Return `text` as a label for a plot: printable ASCII, since plots are drawn with a font that has little else."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return plain if len(plain) <= limit else f"{plain[: limit - 2]}.."


def tail(text: str, limit: int = 6000) -> str:
    """Return the end of `text`, from the beginning of a line: of a traceback the end is what tells."""
    if len(text) <= limit:
        return text
    kept = text[-limit:]
    return "…\n" + kept[kept.find("\n") + 1 :]
