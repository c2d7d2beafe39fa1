"""Which language is a text in, as far as the stand-ins tell them apart?"""

from __future__ import annotations

import re
from typing import Literal

Language = Literal["ja", "ko", "en"]

_KANA_AND_HAN = re.compile(r"[぀-ヿㇰ-ㇿｦ-ﾝ一-鿿]")
_HANGUL = re.compile(r"[가-힣ᄀ-ᇿ]")
_LATIN = re.compile(r"[A-Za-z]")


def language_of(text: str, *, otherwise: Language = "en") -> Language:
    """Return the language of a text by its letters: the script that is used most, kana and Chinese characters together.

    Args:
        text: any text.
        otherwise: what a text without letters counts as.
    """
    # A Latin word has about five letters where a Japanese or Korean one has two.
    english = len(_LATIN.findall(text)) / 3
    if text.isascii():
        return "en" if english else otherwise
    japanese = len(_KANA_AND_HAN.findall(text))
    korean = len(_HANGUL.findall(text))
    if not (japanese or korean or english):
        return otherwise
    if japanese >= korean and japanese >= english:
        return "ja"
    return "ko" if korean >= english else "en"
