"""With which arguments does the scripted model call a tool? What the message names, else what the schema asks for."""

from __future__ import annotations

import datetime
import math
import re
import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from harness.upstreams.chance import choice, fraction
from harness.upstreams.exchange import without_marks
from harness.upstreams.json_schema import plain, text_like
from harness.upstreams.language import Language, language_of
from harness.upstreams.phrase import kept_for_short_texts
from harness.upstreams.places import PLACES, Place, place_in
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
_OPENING, _CLOSING = '「『“"', '」』”"'
_ASKED_BEHIND = re.compile(
    r"\s*+(?:を計算|の計算|はいくつ|はいくら|は(?:[?？]|何|なに)|[은는]\s*+(?:얼마|몇|뭐|[?？])|를 계산|을 계산|계산)"
)
"""What follows an expression where it comes first."""
_PHRASE_END = re.compile(r"[、。：:「」]")
_FIGURE_OR_BRACKET = re.compile(r"[0-9()\[\]]")
_ASKED_BEFORE = re.compile(
    r"(?:calculate|compute|evaluate|what's(?=\s+[-(]?\d)|what is|how much(?:'s| is))\s+(?P<text>[^\n]++)\s*+\Z", re.I
)
_SIGNS_IN_WORDS = tuple(
    (re.compile(rf"(?<=[\d)])\s*(?:{words})\s*(?=[-(]?\d)", re.IGNORECASE), sign)
    for words, sign in (
        ("더하기|足す|たす|プラス|plus", "+"),
        ("빼기|引く|ひく|マイナス|minus", "-"),
        ("곱하기|掛ける|かける|×|times|multiplied by", "*"),
        ("나누기|割る|わる|÷|divided by|over", "/"),
    )
)
_EXPRESSION = re.compile(r"[0-9(][0-9a-z_.\s+\-*/%^()\[\],]*", re.IGNORECASE)

_FIGURE = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_DEEPEST = 4
"""How deep lists and optional parts of a schema are filled: some schemas contain themselves."""


def text_given(message: str) -> str:
    """Return the text that a message gives to be worked on: what follows the colon, else what is quoted, else all.

    It is passed whole, as a model would pass it; keeping it short is the agent's business.
    """
    found = _AFTER_COLON.search(message)
    if found:
        return found.group("text").strip()
    quoted = _quoted(message)
    return message if quoted is None else quoted.strip()


def _quoted(message: str) -> str | None:
    """Return what stands between the first and the last quotation mark, None where nothing does."""
    begin = min((at for mark in _OPENING if (at := message.find(mark)) >= 0), default=None)
    end = max(message.rfind(mark) for mark in _CLOSING)
    return None if begin is None or end < begin + 2 else message[begin + 1 : end]


def expression_in(message: str) -> str:
    """Return the arithmetic expression that a message asks to be evaluated, as it is written there."""
    message = without_marks(message).strip()
    found = _AFTER_COLON.search(message)
    for read in (found and found.group("text"), _quoted(message), _before(message), _after(message)):
        if read and read.strip():
            return _in_signs(read.strip())
    runs = [run.strip() for run in _EXPRESSION.findall(message)]
    return max(runs, key=len) if runs else message


def _before(message: str) -> str | None:
    """Return the expression before words that ask for its value: from its first word with a figure or bracket on."""
    for phrase in _PHRASE_END.split(message):
        figure = _FIGURE_OR_BRACKET.search(phrase)
        asked = figure and _ASKED_BEHIND.search(phrase, figure.end())
        if figure and asked:
            begin = max(phrase.rfind(space, 0, figure.start()) for space in " \t\n\u3000")
            return phrase[begin + 1 : asked.start()]
    return None


def _after(message: str) -> str | None:
    """Return what stands behind words that ask for its value."""
    asked = _ASKED_BEFORE.search(message)
    return asked.group("text").rstrip(" \t?？.!") if asked else None


def _in_signs(expression: str) -> str:
    """Return an expression with signs between its numbers where it had words; all else stays to the letter."""
    for words, sign in _SIGNS_IN_WORDS:
        expression = words.sub(sign, expression)
    return expression


def _language(ask: Ask) -> Language:
    return language_of(ask.said, otherwise="ja")


def _sign_named(ask: Ask) -> str | None:
    words = re.findall(r"[a-z]+", ask.said.casefold())
    for sign, names in _SIGN_NAMES.items():
        if sign in words or any(name in ask.said for name in names):
            return sign
    return None


def _city_at_home(ask: Ask) -> str:
    country = _CITY_OF_LANGUAGE[_language(ask)]
    at_home = [place.name for place in PLACES if place.country == country]
    return choice(at_home, ask.seed, ask.subject, "city")


def _date(ask: Ask) -> str:
    first = datetime.date(2026, 1, 1)
    return (first + datetime.timedelta(days=int(365 * fraction(ask.seed, ask.subject, "date")))).isoformat()


def _of_place(tell: Callable[[Place], str]) -> Callable[[Ask], str | None]:
    def named(ask: Ask) -> str | None:
        place = place_in(ask.said)
        return None if place is None else tell(place)

    return named


def _not_named(ask: Ask) -> str | None:
    return None


class _Meaning(msgspec.Struct, frozen=True):
    """What an argument is, as its name tells."""

    name: re.Pattern[str]
    named: Callable[[Ask], str | None]
    """What the message says of it, None where it says nothing."""
    otherwise: Callable[[Ask], str]
    """What it is where it has to be something."""


_MEANINGS = tuple(
    _Meaning(re.compile(name, re.I), named, otherwise)
    for name, named, otherwise in (
        (
            r"time_?zone|^tz$|^zone$",
            _of_place(lambda place: place.time_zone),
            lambda ask: _ZONE_OF_LANGUAGE[_language(ask)],
        ),
        (r"location|city|place|region|area", _of_place(lambda place: place.name), _city_at_home),
        (
            r"^country",
            _of_place(lambda place: place.country.lower()),
            lambda ask: _CITY_OF_LANGUAGE[_language(ask)].lower(),
        ),
        (r"expr|formula|equation|calculation", lambda ask: expression_in(ask.said), lambda ask: ask.said),
        (r"sign|zodiac|constellation", _sign_named, lambda ask: choice(SIGNS, ask.seed, ask.subject, "sign")),
        (r"text|sentence|content|phrase|utterance", lambda ask: text_given(ask.said), lambda ask: ask.said),
        (r"^lang", _not_named, _language),
        (r"date|day", _not_named, _date),
    )
)


@kept_for_short_texts
def _meaning(name: str) -> _Meaning | None:
    return next((meaning for meaning in _MEANINGS if meaning.name.search(name)), None)


def _named(name: str, ask: Ask) -> str | None:
    """Return what the message says of the argument of this name, None where it says nothing."""
    meaning = _meaning(name)
    return None if meaning is None else meaning.named(ask)


def _known(name: str, ask: Ask) -> str | None:
    """Return what the argument of this name is, None where the name tells nothing."""
    meaning = _meaning(name)
    return None if meaning is None else meaning.named(ask) or meaning.otherwise(ask)


class _Filler:
    """Fills values into one JSON schema.

    Args:
        root: the whole schema, to which its references point.
        ask: what was said.
        words: what free texts are; None: what their names call for.
    """

    def __init__(self, root: dict[str, Any], ask: Ask, words: str | None = None) -> None:
        self._root = root
        self._ask = ask
        self._words = words
        # What people say of tools with figures has them in it, mostly in the order in which they are asked for.
        self._figures = _FIGURE.findall(without_marks(ask.said))

    def object(self, schema: dict[str, Any], depth: int = 0) -> dict[str, Any]:
        """Return an object: what is required, and what else was named; a structured answer is whole."""
        properties: dict[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or ()
        is_whole = self._words is not None and depth <= _DEEPEST
        return {
            name: self._value(name, below, depth + 1)
            for name, below in properties.items()
            # Optional properties that nobody named are left to their defaults.
            if name in required or is_whole or _named(name, self._ask) is not None
        }

    def _value(self, name: str, given: Any, depth: int) -> Any:
        schema = plain(given, self._root)
        ask = self._ask
        if schema.get("enum"):
            wanted, options = _known(name, ask), schema["enum"]
            return wanted if wanted in options else choice(options, ask.seed, ask.subject, name)
        match schema.get("type", "object" if "properties" in schema else "string"):
            case "string":
                return self._text(name, schema)
            case "integer":
                return round(self._figure(name, schema, 1, 9, whole=True))
            case "number":
                return round(self._figure(name, schema, 0, 1), 3)
            case "boolean":
                return fraction(ask.seed, ask.subject, name) < 0.5
            case "array":
                # A schema that contains itself ends where nothing has to be in it any more.
                count = max(int(schema.get("minItems", 0)), depth <= _DEEPEST)
                return [self._value(name, schema.get("items") or {}, depth + 1) for _ in range(count)]
            case "object":
                return self.object(schema, depth)
        return None

    def _figure(self, name: str, schema: dict[str, Any], low: float, span: float, *, whole: bool = False) -> float:
        """Return a figure that was said, or any, within the schema's bounds; without them, up to `low + span`."""
        step = 1.0 if whole else 0.001
        least, most = schema.get("minimum"), schema.get("maximum")
        if "exclusiveMinimum" in schema:
            least = schema["exclusiveMinimum"] + step
        if "exclusiveMaximum" in schema:
            most = schema["exclusiveMaximum"] - step
        if least is None:
            least = low if most is None or most >= low else most - span
        if most is None:
            most = least + span
        for figure in self._figures:
            if least <= float(figure) <= most and (not whole or "." not in figure):
                self._figures.remove(figure)
                return float(figure)
        drawn = fraction(self._ask.seed, self._ask.subject, name)
        return least + (math.floor(drawn * (most - least + 1)) if whole else drawn * (most - least))

    def _text(self, name: str, schema: dict[str, Any]) -> str:
        ask = self._ask
        wanted = _of_format(str(schema.get("format")), ask)
        if wanted is None and "pattern" in schema:
            wanted = text_like(str(schema["pattern"]))
        if wanted is None:
            wanted = self._words if self._words is not None else _known(name, ask)
        if wanted is None:
            wanted = f"{name}-{ask.subject.lstrip('#')[:12]}"
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        return wanted.ljust(least, "x")[: None if most is None else int(most)]


def _of_format(name: str, ask: Ask) -> str | None:
    """Return a text of one of the formats that JSON schema names, None for any other."""
    day = _date(ask)
    return {
        "date": day,
        "date-time": f"{day}T09:00:00Z",
        "time": "09:00:00Z",
        "duration": "PT1H",
        "email": "caller@example.com",
        "hostname": "example.com",
        "ipv4": "192.0.2.1",
        "ipv6": "2001:db8::1",
        "uri": "https://example.com/",
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{ask.seed}/{ask.subject}")),
    }.get(name)


def object_for(schema: dict[str, Any], ask: Ask, *, words: str) -> dict[str, Any]:
    """Return an object that follows a JSON schema, its free texts being `words`: an answer in structured form."""
    return _Filler(schema, ask, words).object(plain(schema, schema))


def arguments_for(tool: dict[str, Any], ask: Ask) -> str:
    """Return the arguments, as JSON, with which the model calls `tool`.

    Args:
        tool: the function offered: name, description, parameters (a JSON schema).
        ask: what was said.
    """
    schema = tool.get("parameters") or {}
    return msgspec.json.encode(_Filler(schema, ask).object(plain(schema, schema))).decode()
