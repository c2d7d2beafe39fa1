"""Which language is a text in? Its script tells Japanese and Korean; for the Latin script, words have to."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Literal

from lingua import Language as LinguaLanguage
from lingua import LanguageDetector, LanguageDetectorBuilder

from reference_agent.caller import Language

Script = Literal["ja", "ko", "latin"]

_SCRIPTS: tuple[tuple[Script, re.Pattern[str], float], ...] = (
    # A Latin word has about five letters where a Japanese or Korean one has two.
    ("ja", re.compile(r"[぀-ヿㇰ-ㇿｦ-ﾝ一-鿿]"), 1.0),
    ("ko", re.compile(r"[가-힣ᄀ-ᇿ㄰-㆏]"), 1.0),
    ("latin", re.compile(r"[A-Za-zÀ-ɏ]"), 1 / 3),
)
_KANA = re.compile(r"[ぁ-ゖァ-ヺㇰ-ㇿｦ-ﾝ]")  # Japanese alone; characters are Chinese as well
_UNMISTAKABLE = 0.75  # of what is written; below that, somebody may ask in their own language about words of another
_QUOTED = re.compile(r"「[^」]*」|“[^”]*”|\"[^\"]*\"|#\w+")
_ASCII_LETTER = re.compile(r"[A-Za-z]")
_ADDRESS_OR_KEY = re.compile(
    r"(?<![A-Za-z0-9._%+-])(?:"  # from the beginning of such a word only: each is looked at once
    r"https?://[!-~]+|www\.[!-~]+"
    r"|[A-Za-z0-9._%+-]++@[A-Za-z0-9.-]+"
    r"|(?:sk|pk|rk)[-_][A-Za-z0-9_-]+"
    r"|(?=[A-Za-z_-]*+[0-9])[A-Za-z0-9_-]+)"  # numbers, and whatever has one in it
)
_IN_ADDRESSES_AND_KEYS = re.compile(r"[0-9@:._-]")  # where there is none of these, there is nothing to look for

_LATIN: dict[Language, LinguaLanguage] = {
    "en": LinguaLanguage.ENGLISH,
    "de": LinguaLanguage.GERMAN,
    "fr": LinguaLanguage.FRENCH,
    "es": LinguaLanguage.SPANISH,
}
_SCRIPT_CHARS = 500  # 0.1 ms; nobody changes script after that
_LOOKED_AT_CHARS = 200  # 0.2 ms; what comes after changes nothing
_SURE = 0.8  # names and single words stay below: "tama" is 0.67 Spanish, "Tokyo weather" 0.46 English
_FEWEST_LETTERS = 5


def script_of(text: str) -> Script | None:
    """Return the script that most of a text is in, but for quotations, addresses and keys; None: it has no letters."""
    bare = _own_words(text[:_SCRIPT_CHARS])
    if bare.isascii():
        return "latin" if _ASCII_LETTER.search(bare) else None
    weights = _weights(bare)
    script = max(weights, key=weights.__getitem__)
    return script if weights[script] else None


def language_of_script(text: str) -> Language | None:
    """Return the language that the script of a text tells beyond doubt; None: it does not tell.

    That is Japanese where there is kana, Korean where there is Hangul, and little else.
    """
    if text.isascii():
        return None
    bare = _own_words(text[:_SCRIPT_CHARS])
    weights = _weights(bare)
    least = sum(weights.values()) * _UNMISTAKABLE
    if weights["ko"] and weights["ko"] >= least:
        return "ko"
    return "ja" if weights["ja"] >= least and _KANA.search(bare) else None


def _weights(text: str) -> dict[Script, float]:
    return {script: len(letters.findall(text)) * weight for script, letters, weight in _SCRIPTS}


def _own_words(text: str) -> str:
    bare = _QUOTED.sub(" ", text)
    return _ADDRESS_OR_KEY.sub(" ", bare) if _IN_ADDRESSES_AND_KEYS.search(bare) else bare


def script_for(language: Language) -> Script:
    """Return the script that a language is written in."""
    return language if language in ("ja", "ko") else "latin"


class LatinLanguages:
    """Tells languages of the Latin script apart, as far as a text is long enough to do so.

    Args:
        languages: those that matter; others in it are left out.
    """

    def __init__(self, languages: Sequence[Language]) -> None:
        self._known = {_LATIN[language]: language for language in languages if language in _LATIN}
        self._detector: LanguageDetector | None = None

    def load(self) -> None:
        """Load the models, before there is anybody to wait for it.

        It holds the interpreter's lock for 0.1 s, in whichever thread: a loop that serves would stand still. Trigrams
        alone (9 MB for four languages) are what is loaded; with all of lingua's models it would be 140 MB and 1.6 s,
        for hardly anything more on texts of a sentence.
        """
        if len(self._known) > 1:
            self._detector = _detector(frozenset(self._known))

    def of(self, text: str) -> Language | None:
        """Return the language of a text; None: it does not tell, or nothing was loaded."""
        if self._detector is None:
            return None
        bare = _own_words(text[:_LOOKED_AT_CHARS])
        if sum(map(str.isalpha, bare)) < _FEWEST_LETTERS:
            return None
        best = self._detector.compute_language_confidence_values(bare)[0]
        return self._known[best.language] if best.value >= _SURE else None


@functools.cache
def _detector(languages: frozenset[LinguaLanguage]) -> LanguageDetector:
    builder = LanguageDetectorBuilder.from_languages(*languages).with_low_accuracy_mode()
    detector = builder.with_preloaded_language_models().build()
    detector.detect_language_of("the first text in each script takes 10 ms longer")
    return detector
