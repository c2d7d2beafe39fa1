"""What of a reply is given to the speech server?"""

from __future__ import annotations

import re
import unicodedata
from typing import Protocol

import emoji

from reference_agent.caller import Language
from reference_agent.language import script_for, script_of
from reference_agent.phrases import phrases_of, sentences_of
from reference_agent.settings import Settings


class SpeechText(Protocol):
    """Makes a reply speakable."""

    def pieces(self, reply: str, language: Language) -> list[str]:
        """Return the texts to be spoken one after the other; at least one.

        Args:
            reply: what is to be spoken.
            language: that it is meant to be in.
        """
        ...


class DocumentedSpeechText:
    """As it is, emoji and all."""

    def pieces(self, reply: str, language: Language) -> list[str]:
        return [reply]


class ProposedSpeechText:
    """Cut at 40 characters, in the middle of a sentence; emoji stay in."""

    def __init__(self, settings: Settings) -> None:
        self._chars = settings.speech_chars

    def pieces(self, reply: str, language: Language) -> list[str]:
        return [reply[: self._chars]]


_EMOJI_SPOKEN = 3
"""Emoji that are named in words; what comes after them is decoration, or an attack."""
_SPOKEN_CATEGORIES = ("L", "M", "N", "P", "Z")
_SPOKEN_SIGNS = frozenset("%+-=<>°℃~$¥€£&")
_CUT = 8
"""Emoji take many code points and leave few; so many times what can be spoken is looked at."""


class HardenedSpeechText:
    """Names the first few emoji in words of the reply's language and drops the rest, splits at sentence and phrase
    bounds, is never empty."""

    def __init__(self, settings: Settings) -> None:
        for language in settings.spoken_languages:
            emoji.config.load_language(language)  # otherwise names are loaded by whoever happens to need them
        self._chars = settings.speech_chars
        self._pieces = settings.speech_pieces
        self._ending = settings.reply_ending

    def pieces(self, reply: str, language: Language) -> list[str]:
        most = self._chars * self._pieces
        # Finding phrases takes time in proportion to the length: what could not be spoken anyway is cut before.
        reply = reply[: _CUT * most]
        text = _speakable(reply, self._spoken_in(reply, language))[: most + self._chars]
        if not any(unicodedata.category(c)[0] in "LN" for c in text):
            text = self._ending
        return self._split(text)[: self._pieces]

    def _spoken_in(self, reply: str, language: Language) -> Language:
        """Return the language of a reply: what it was meant to be in, unless its script tells that it is not."""
        script = script_of(reply.replace(self._ending, " "))  # the ending is the same in every language
        if script in (script_for(language), None):
            return language
        return "en" if script == "latin" else script

    def _split(self, text: str) -> list[str]:
        if len(text) <= self._chars:
            return [text]
        pieces = [""]
        for part in self._parts(text):
            if len(pieces[-1]) + len(part) <= self._chars:
                pieces[-1] += part
            else:
                pieces.append(part)
        return [stripped for piece in pieces if (stripped := piece.strip())]

    def _parts(self, text: str) -> list[str]:
        """Split at the ends of sentences; sentences that are too long, between phrases; phrases that are, anywhere."""
        parts: list[str] = []
        for sentence in sentences_of(text):
            if len(sentence) <= self._chars:
                parts.append(sentence)
                continue
            for phrase in phrases_of(sentence):
                parts += (phrase[at : at + self._chars] for at in range(0, len(phrase), self._chars))
        return parts


def _speakable(reply: str, language: Language) -> str:
    spoken: dict[str, None] = {}
    between = "" if language == "ja" else " "

    def in_words(sign: str, data: dict[str, str]) -> str:
        word = data.get(language, "").strip(":").replace("_", between)
        if not word or sign in spoken or len(spoken) >= _EMOJI_SPOKEN:
            return ""
        spoken[sign] = None
        return f"{between}{word}{between}"

    text = emoji.replace_emoji(reply, in_words)
    text = "".join(
        c for c in text if unicodedata.category(c)[0] in _SPOKEN_CATEGORIES or c in _SPOKEN_SIGNS or c.isspace()
    )
    # What emoji are made of when they are not whole: joiners, variation selectors, lone flag letters and skin tones.
    text = re.sub("[\u200d\ufe0e\ufe0f\u20e3]", "", text)
    return re.sub(r"\s+", " ", text).strip()


VARIANTS = {"documented": DocumentedSpeechText, "proposed": ProposedSpeechText, "hardened": HardenedSpeechText}
