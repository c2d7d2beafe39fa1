"""With which arguments does the scripted model call a tool? What the message names, else what the schema asks for."""

from __future__ import annotations

import datetime
import re
from typing import Any

import msgspec

from harness.upstreams.chance import choice, fraction
from harness.upstreams.exchange import without_marks
from harness.upstreams.language import Language, language_of
from harness.upstreams.places import PLACES, place_in
from harness.upstreams.thought import Ask

SIGNS = (
    "aries",
    "taurus",
    "gemini",
    "cancer",
    "leo",
    "virgo",
    "libra",
    "scorpio",
    "sagittarius",
    "capricorn",
    "aquarius",
    "pisces",
)
_SIGN_NAMES = {
    "aries": ("おひつじ座", "牡羊座", "양자리"),
    "taurus": ("おうし座", "牡牛座", "황소자리"),
    "gemini": ("ふたご座", "双子座", "쌍둥이자리"),
    "cancer": ("かに座", "蟹座", "게자리"),
    "leo": ("しし座", "獅子座", "사자자리"),
    "virgo": ("おとめ座", "乙女座", "처녀자리"),
    "libra": ("てんびん座", "天秤座", "천칭자리"),
    "scorpio": ("さそり座", "蠍座", "전갈자리"),
    "sagittarius": ("いて座", "射手座", "궁수자리"),
    "capricorn": ("やぎ座", "山羊座", "염소자리"),
    "aquarius": ("みずがめ座", "水瓶座", "물병자리"),
    "pisces": ("うお座", "魚座", "물고기자리"),
}
_ZONE_OF_LANGUAGE: dict[Language, str] = {"ja": "Asia/Tokyo", "ko": "Asia/Seoul", "en": "UTC"}
_CITY_OF_LANGUAGE: dict[Language, str] = {"ja": "JP", "ko": "KR", "en": "US"}

# What introduces the text that is to be worked on: everything after it is the argument, whole, however long.
_AFTER_COLON = re.compile(
    r"(?:感情|気持ち|分析|解析|判定|計算|감정|분석|계산|emotions?|sentiment|feelings?|analy[sz]e|calculate|compute|evaluate)"
    r"[^：:\n]{0,40}[：:]\s*(?P<text>.+)",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(r"[「『“\"](?P<text>.+)[」』”\"]", re.DOTALL)
_EXPRESSION_BEFORE = re.compile(
    r"(?P<text>[^\s、。：:「」]*[0-9()\[\]][^、。：:「」]*?)\s*(?:を計算|の計算|はいくつ|はいくら|를 계산|을 계산|계산)"
)
_EXPRESSION_AFTER = re.compile(r"(?:calculate|compute|evaluate|what is|how much is)\s+(?P<text>.+?)[?？.!]*\s*$", re.I)
_EXPRESSION = re.compile(r"[0-9(][0-9a-z_.\s+\-*/%^()\[\],]*", re.IGNORECASE)


def text_given(message: str) -> str:
    """Return the text that a message gives to be worked on: what follows the colon, else what is quoted, else all.

    It is passed whole, as a model would pass it; keeping it short is the agent's business.
    """
    found = _AFTER_COLON.search(message) or _QUOTED.search(message)
    return found.group("text").strip() if found else message


def expression_in(message: str) -> str:
    """Return the arithmetic expression that a message asks to be evaluated, as it is written there."""
    plain = without_marks(message).strip()
    for pattern in (_AFTER_COLON, _QUOTED, _EXPRESSION_BEFORE, _EXPRESSION_AFTER):
        found = pattern.search(plain)
        if found and found.group("text").strip():
            return found.group("text").strip()
    runs = [run.strip() for run in _EXPRESSION.findall(plain)]
    return max(runs, key=len) if runs else plain


def _sign(ask: Ask) -> str:
    for sign, names in _SIGN_NAMES.items():
        if sign in ask.said.casefold() or any(name in ask.said for name in names):
            return sign
    return choice(SIGNS, ask.seed, ask.subject, "sign")


def _city(ask: Ask) -> str:
    named = place_in(ask.said)
    if named is not None:
        return named.name
    country = _CITY_OF_LANGUAGE[language_of(ask.said, otherwise="ja")]
    at_home = [place.name for place in PLACES if place.country == country]
    return choice(at_home, ask.seed, ask.subject, "city")


def _time_zone(ask: Ask) -> str:
    named = place_in(ask.said)
    return named.time_zone if named else _ZONE_OF_LANGUAGE[language_of(ask.said, otherwise="ja")]


_KNOWN: tuple[tuple[re.Pattern[str], Any], ...] = (
    (re.compile(r"time_?zone|^tz$|^zone$", re.I), _time_zone),
    (re.compile(r"location|city|place|region|area", re.I), _city),
    (re.compile(r"^country", re.I), lambda ask: _country(ask)),
    (re.compile(r"expr|formula|equation|calculation", re.I), lambda ask: expression_in(ask.said)),
    (re.compile(r"sign|zodiac|constellation", re.I), _sign),
    (re.compile(r"text|sentence|content|phrase|utterance", re.I), lambda ask: text_given(ask.said)),
    (re.compile(r"^lang", re.I), lambda ask: language_of(ask.said, otherwise="ja")),
    (re.compile(r"date|day", re.I), lambda ask: _date(ask)),
)


def _country(ask: Ask) -> str:
    named = place_in(ask.said)
    return (named.country if named else _CITY_OF_LANGUAGE[language_of(ask.said, otherwise="ja")]).lower()


def _date(ask: Ask) -> str:
    first = datetime.date(2026, 1, 1)
    return (first + datetime.timedelta(days=int(365 * fraction(ask.seed, ask.subject, "date")))).isoformat()


def _value(name: str, schema: dict[str, Any], ask: Ask) -> Any:
    """Return a value for one property: by its name where it is a known one, else by its type."""
    if schema.get("enum"):
        wanted = _known(name, ask)
        options = schema["enum"]
        return wanted if wanted in options else choice(options, ask.seed, ask.subject, name)
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if kind == "string":
        wanted = _known(name, ask)
        return wanted if wanted is not None else f"{name}-{ask.subject.lstrip('#')[:12]}"
    if kind == "integer":
        low, high = int(schema.get("minimum", 1)), int(schema.get("maximum", 10))
        return low + int(fraction(ask.seed, ask.subject, name) * (high - low + 1))
    if kind == "number":
        lowest, highest = float(schema.get("minimum", 0)), float(schema.get("maximum", 1))
        return round(lowest + fraction(ask.seed, ask.subject, name) * (highest - lowest), 3)
    if kind == "boolean":
        return fraction(ask.seed, ask.subject, name) < 0.5
    if kind == "array":
        return [_value(name, schema.get("items") or {}, ask)]
    if kind == "object":
        return _object(schema, ask)
    return None


def _known(name: str, ask: Ask) -> str | None:
    for pattern, find in _KNOWN:
        if pattern.search(name):
            return str(find(ask))
    return None


def _object(schema: dict[str, Any], ask: Ask) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or ()
    return {
        name: _value(name, below or {}, ask)
        for name, below in properties.items()
        # Optional properties are left to their defaults, except those by which a call tells whose it is.
        if name in required or (_known(name, ask) is not None and not re.search(r"date|day|^lang", name, re.I))
    }


def object_for(schema: dict[str, Any], ask: Ask, *, words: str) -> dict[str, Any]:
    """Return an object that follows a JSON schema, its free texts being `words`: an answer in structured form."""

    def spoken(name: str, below: dict[str, Any]) -> Any:
        if below.get("type") == "object":
            return object_for(below, ask, words=words)
        if below.get("type") == "string" and not below.get("enum"):
            return words
        return _value(name, below, ask)

    return {name: spoken(name, below or {}) for name, below in (schema.get("properties") or {}).items()}


def arguments_for(tool: dict[str, Any], ask: Ask) -> str:
    """Return the arguments, as JSON, with which the model calls `tool`.

    Args:
        tool: the function offered: name, description, parameters (a JSON schema).
        ask: what was said.
    """
    return msgspec.json.encode(_object(tool.get("parameters") or {}, ask)).decode()
