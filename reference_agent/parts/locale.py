"""Which language does the caller speak, and what time is it there?"""

from __future__ import annotations

import functools
import re
import zoneinfo
from collections.abc import Callable
from typing import Any, Protocol

from reference_agent.caller import Asking, Caller, Hints, Language
from reference_agent.language import LatinLanguages, Script, language_of_script, script_for, script_of
from reference_agent.settings import Settings


class Locale(Protocol):
    """Finds out about the caller."""

    language_order: str
    """What the model is told about the language of its answers."""
    time_properties: dict[str, Any]
    """Arguments of the tool that tells the time."""

    def caller(self, text: str, hints: Hints, user_id: str = "") -> Caller:
        """Return who said `text`, in a turn that has been let in."""
        ...

    def at_first_sight(self, asking: Asking) -> Language:
        """Return the language in which somebody is refused, found out for next to nothing: refusals come in floods."""
        ...

    def is_in(self, text: str, language: Language) -> bool:
        """Return whether a text is in a language, as far as that can be told."""
        ...

    def warm_up(self) -> None:
        """Load what is needed, before there is anybody to wait for it."""
        ...


class DocumentedLocale:
    """Everybody speaks Japanese and lives in Tokyo."""

    language_order = "日本語で"
    time_properties: dict[str, Any] = {}  # noqa: RUF012

    def caller(self, text: str, hints: Hints, user_id: str = "") -> Caller:
        return Caller()

    def at_first_sight(self, asking: Asking) -> Language:
        return "ja"

    def is_in(self, text: str, language: Language) -> bool:
        return script_of(text) in (script_for(language), None)

    def warm_up(self) -> None:
        pass


_ZONES: dict[Language, str] = {
    "ja": "Asia/Tokyo",
    "ko": "Asia/Seoul",
    "en": "UTC",
    "de": "Europe/Berlin",
    "fr": "Europe/Paris",
    "es": "Europe/Madrid",
}
"""Where most of those live of whom nothing but their language is known; English is spoken everywhere."""


class HardenedLocale:
    """What somebody chose, else the script of what was said where only one language has it, else what their program
    accepts, else script and words; the zone as the request says, else by language. A place that the caller names goes
    to the tool as an argument, through the model.

    Somebody who writes in the Latin script is refused in the language of their earlier turns in this process; somebody
    of whom it has played none, in the first of that script that is spoken.
    """

    language_order = "相手が使う言語で"
    time_properties: dict[str, Any] = {  # noqa: RUF012
        "timezone": {
            "type": "string",
            "description": "時刻を知りたい場所のタイムゾーン。例: Europe/Berlin。なければ相手の場所",
        }
    }

    def __init__(self, settings: Settings) -> None:
        self._languages = settings.spoken_languages
        self._of_latin: Language = next((one for one in self._languages if script_for(one) == "latin"), "en")
        self._latin = LatinLanguages(self._languages)
        self._speaks: dict[int, Language] = {}
        """What those who write in the Latin script were last sure to speak, by a hash that no other process makes."""
        self._known_header = functools.lru_cache(_HEADERS)(self._accepted)

    def caller(self, text: str, hints: Hints, user_id: str = "") -> Caller:
        told = self._told(self._accepted, hints.language, text, hints.accepts)
        script = None if told else script_of(text)
        if script == "latin":
            told = self._latin.of(text)
        if told is not None and script_for(told) == "latin":
            self._remember(user_id, told)
        language = told or self._in_script(script) or self._languages[0]
        return Caller(language, zone_named(hints.time_zone) or _ZONES[language])

    def at_first_sight(self, asking: Asking) -> Language:
        # By its script alone: words, where it is Latin, would cost more than all the rest of a refusal.
        text = asking.text[:_GLANCE_CHARS] if isinstance(asking.text, str) else ""
        told = self._told(self._known_header, asking.language[:_GLANCE_CHARS], text, asking.accepts[:_GLANCE_CHARS])
        if told is not None:
            return told
        script = script_of(text)
        if script == "latin" and isinstance(asking.user_id, str):
            known = self._speaks.get(hash(asking.user_id))
            if known is not None:
                return known
        return self._in_script(script) or self._languages[0]

    def is_in(self, text: str, language: Language) -> bool:
        script = script_of(text)
        if script is None or script != script_for(language):
            return script is None
        # Whose words did not tell is taken to speak the first of these: nothing is known that a reply could break.
        if script != "latin" or language == self._of_latin:
            return True
        return self._latin.of(text) in (language, None)

    def warm_up(self) -> None:
        self._latin.load()

    def _told(
        self, liked_best: Callable[[str], Language | None], chosen: str, text: str, accepted: str
    ) -> Language | None:
        """Return the language that is told by anything but words."""
        if chosen and (language := liked_best(chosen)):
            return language
        # Who writes Japanese with a program that is set to English wants to be answered in Japanese.
        written = language_of_script(text)
        if written in self._languages:
            return written
        return liked_best(accepted) if accepted else None

    def _remember(self, user_id: str, language: Language) -> None:
        self._speaks.pop(hash(user_id), None)
        self._speaks[hash(user_id)] = language
        if len(self._speaks) > _SPEAKERS:
            del self._speaks[next(iter(self._speaks))]

    def _in_script(self, script: Script | None) -> Language | None:
        """Return the language that a script tells of those we speak, the usual one where several are written in it."""
        if script is None:
            return None
        language = self._of_latin if script == "latin" else script
        return language if language in self._languages else None

    def _accepted(self, header: str) -> Language | None:
        """Return the language of an Accept-Language header (or a code alone) that is liked best of those we speak."""
        for wanted in _by_preference(header):
            for language in self._languages:
                if wanted == language or wanted.startswith((f"{language}-", f"{language}_")):
                    return language
        return None


def _by_preference(header: str) -> list[str]:
    liked: list[tuple[float, str]] = []
    for one in header.lower().split(",")[:_MOST_LANGUAGES]:
        name, _, rest = one.strip().partition(";")
        quality = _QUALITY.fullmatch(rest.strip())
        weight = float(quality[1]) if quality else (0.0 if rest.strip() else 1.0)
        if weight > 0:
            liked.append((-weight, name.strip()))
    return [name for _, name in sorted(liked, key=lambda one: one[0])]


_GLANCE_CHARS = 60  # of a header, and of a message, before anything is known of who sends them
_SPEAKERS = 10_000  # the latest ones; 1 MB
_HEADERS = 200  # of those who are refused; most people's are the same few
_MOST_LANGUAGES = 20
_QUALITY = re.compile(r"q\s*=\s*([01](?:\.\d{0,3})?)")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?00)?")


def zone_named(name: str) -> str:
    """Return the zone of the time-zone database that is meant, by its name or by whole hours from UTC; empty: none."""
    zone = _zones().get(name.casefold(), "")
    offset = _OFFSET.fullmatch(name)
    if not zone and offset:
        # The database counts westward: Etc/GMT-9 is nine hours ahead, as it is in Tokyo.
        sign, hours = "-" if offset[1] == "+" else "+", int(offset[2])
        zone = _zones().get(f"etc/gmt{sign}{hours}".casefold(), "") if hours else "UTC"
    return zone


@functools.cache
def _zones() -> dict[str, str]:
    return {name.casefold(): name for name in zoneinfo.available_timezones()}


VARIANTS = {
    "documented": DocumentedLocale,
    "proposed": DocumentedLocale,  # "languages" were named, and not described
    "hardened": HardenedLocale,
}
