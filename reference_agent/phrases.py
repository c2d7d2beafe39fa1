"""Where can a text be parted, so that what is left still reads as it was meant?"""

from __future__ import annotations

import functools
import re

import budoux

from reference_agent.language import script_of

_SENTENCE_END = re.compile(r"(?<=[。！？!?\n])|(?<=\.\s)")
_WORD_END = re.compile(r"(?<=\s)(?=\S)")
_IN_A_WORD = re.compile(r"[0-9A-Za-zÀ-ɏ'’.가-힣]{2}")  # of scripts that put spaces between their words


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text; together they are the text."""
    return _SENTENCE_END.split(text)


def phrases_of(sentence: str) -> list[str]:
    """Return what belongs together within a sentence; together it is the sentence.

    Words, where there are spaces between them. Japanese has none: there it is phrases, found by a model that knows
    nothing else, and would part the words of other scripts that stand among them. It takes time in proportion to the
    length.
    """
    if script_of(sentence) != "ja":
        return _WORD_END.split(sentence)
    phrases: list[str] = []
    for phrase in _japanese().parse(sentence):
        if phrases and _IN_A_WORD.fullmatch(phrases[-1][-1] + phrase[0]):
            phrases[-1] += phrase
        else:
            phrases.append(phrase)
    return phrases


@functools.cache
def _japanese() -> budoux.Parser:
    return budoux.load_default_japanese_parser()
