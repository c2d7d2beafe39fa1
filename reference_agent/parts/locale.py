"""Which language does the caller speak, and what time is it there?"""

from __future__ import annotations

import functools
import re
import zoneinfo
from typing import Any, Protocol

from reference_agent.caller import LANGUAGES, Caller, Hints, Language


class Locale(Protocol):
    """Finds out about the caller."""

    language_order: str
    """What the model is told about the language of its answers."""
    time_properties: dict[str, Any]
    """Arguments of the tool that tells the time."""

    def caller(self, text: str, hints: Hints) -> Caller:
        """Return who said `text`."""
        ...


class DocumentedLocale:
    """Everybody speaks Japanese and lives in Tokyo."""

    language_order = "日本語で"
    time_properties: dict[str, Any] = {}  # noqa: RUF012

    def caller(self, text: str, hints: Hints) -> Caller:
        return Caller()


_SCRIPTS: tuple[tuple[Language, re.Pattern[str], float], ...] = (
    # A Latin word has about five letters where a Japanese or Korean one has two.
    ("ja", re.compile(r"[぀-ヿㇰ-ㇿｦ-ﾝ一-鿿]"), 1.0),
    ("ko", re.compile(r"[가-힣ᄀ-ᇿ㄰-㆏]"), 1.0),
    ("en", re.compile(r"[A-Za-zÀ-ɏ]"), 1 / 3),
)
_ZONES: dict[Language, str] = {"ja": "Asia/Tokyo", "ko": "Asia/Seoul", "en": "UTC"}
_QUOTED = re.compile(r"「[^」]*」|“[^”]*”|\"[^\"]*\"|#\w+")


def language_of(text: str) -> Language | None:
    """Return the language of a text by its script, quotations and hashtags left out; None: it has no letters."""
    bare = _QUOTED.sub(" ", text)
    weights = {language: len(script.findall(bare)) * weight for language, script, weight in _SCRIPTS}
    language = max(LANGUAGES, key=weights.__getitem__)
    return language if weights[language] else None


class HardenedLocale:
    """What the request says (header or field), else the script of what was said; the zone as the request says, else by
    language. A place that the caller names goes to the tool as an argument, through the model.
    """

    language_order = "相手が使う言語で"
    time_properties: dict[str, Any] = {  # noqa: RUF012
        "timezone": {
            "type": "string",
            "description": "時刻を知りたい場所のタイムゾーン。例: Europe/Berlin。なければ相手の場所",
        }
    }

    def caller(self, text: str, hints: Hints) -> Caller:
        language = _accepted(hints.language) or language_of(text) or "ja"
        return Caller(language, hints.time_zone if known_zone(hints.time_zone) else _ZONES[language])


@functools.cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def known_zone(name: str) -> bool:
    """Return whether the time-zone database has a zone of this name."""
    return name in _zones()


def _accepted(languages: str) -> Language | None:
    """Return the first language of an Accept-Language header (or a code alone) that we speak."""
    for wanted in languages.lower().split(","):
        for language in LANGUAGES:
            if wanted.strip().startswith(language):
                return language
    return None


VARIANTS = {
    "documented": DocumentedLocale,
    "proposed": DocumentedLocale,  # "languages" were named, and not described
    "hardened": HardenedLocale,
}
