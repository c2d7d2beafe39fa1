"""What in a text must never be written down, and what stands in its place?

Pure functions, from text to text and from value to value. All of them take time in proportion to the length of what
they are given, whatever it is: patterns have no two ways to match the same characters, and the only dear question
(is this a telephone number?) is asked a bounded number of times; what comes after that is taken for one unasked.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import phonenumbers

EMAIL, PHONE, CARD, KEY, NUMBER = "[email]", "[phone]", "[card]", "[key]", "[number]"

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−ｰー－"), "-")
_NARROW: dict[int, int | str] = {**_WIDE, **_DASHES, 0x3000: " ", 0xA0: " ", 0x200B: " "}
"""Full-width forms as people type them in Japanese and Korean; one character for one, so that places stay the same."""

_HINT = re.compile(
    r"@|%40|\d[^A-Za-z0-9]{0,3}\d[^A-Za-z0-9]{0,3}\d[^A-Za-z0-9]{0,3}\d|sk-|eyJ|bearer|basic |AKIA|AIza|gh[a-z]_|xox"
    r"|key|token|secret|passw|appid|authorization|cookie",
    re.IGNORECASE,
)
"""Without any of these there is nothing to be found: nearly every value of a log line is let go here."""

_KEYS = re.compile(
    r"\b(?:sk|pk|rk)-[\w*.\-]{6,}|\bgh[a-z]_\w{16,}|\bxox[a-z]-[\w\-]{8,}|\bAKIA[0-9A-Z]{12,}|\bAIza[\w\-]{20,}"
    r"|\beyJ[\w\-]{8,}(?:\.[\w\-]*){0,2}"
)
_NAMED_KEY = re.compile(
    r"(?P<name>\b(?:bearer|basic)\s{1,3}|(?:api[_-]?key|app[_-]?id|token|secret|passw(?:or)?d|authorization|cookie)"
    r"[\"']?\s{0,3}[=:]\s{0,3}[\"']?(?:bearer\s{1,3}|basic\s{1,3})?)(?P<key>[^\s\"'&,;}\]]{3,})",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(r"api[_-]?key|app[_-]?id|token$|secret|passw|authorization|cookie", re.IGNORECASE)

_AT = re.compile(r"@|%40", re.IGNORECASE)
_LOCAL_CHARS, _DOMAIN_CHARS = 64, 255
_LOCAL_SIGNS = frozenset("!#$%&'*+-/=?^_`{|}~.")
_DOMAIN_SIGNS = frozenset("-.")

_RUN = re.compile(r"\+?\(?[0-9](?:[ \t\r\n.\-()/]{0,3}[0-9]){5,}")
_DATE = re.compile(r"(?:19|20)\d\d-(?:0\d|1[0-2])-[0-3]\d(?!\d)")
_PARTS = re.compile(r"[0-9]+")
_OUR_IDS = re.compile(r"(?:thread|run|resp|msg|asst|conv|call|req|chatcmpl|step|item|fc|rs|u)_[0-9A-Za-z]*$")
_HEX = re.compile(r"[0-9a-fA-F-]*")
_PHONE_DIGITS = range(7, 16)  # local numbers of seven; E.164 allows fifteen
_CARD_DIGITS = range(13, 20)
_REGIONS = ("JP", "KR", "US")  # the agent's callers; other countries' numbers are known by their +
_PHONE_QUESTIONS = 100  # to the library, within one text; 20 to 60 us each


def redacted_text(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Return the text without what must not be written down.

    Args:
        text: any text, of any length.
        secrets: texts that are to go wherever they stand, e.g. the keys that are in use.

    Returns:
        The text with `[email]`, `[phone]`, `[card]`, `[key]` or `[number]` (a row of digits too long to be told apart)
        in the place of what was found. A text without any of it is returned as it is.
    """
    for secret in secrets:
        text = text.replace(secret, KEY)
    narrow = text if text.isascii() else text.translate(_NARROW)
    if _HINT.search(narrow) is None:
        return text
    for find in (_keys, _emails, _numbers):
        found = find(narrow)
        if found:
            text, narrow = _without(text, found), _without(narrow, found)
    return text


def redacted(value: Any, text: Callable[[str], str] = redacted_text, depth: int = 0) -> Any:
    """Return a value that can be written down as JSON, with every text in it redacted, keys included.

    Args:
        value: anything; what JSON does not know becomes its `repr`, an exception becomes the name of its type.
        text: how a text is redacted.
        depth: how deep this value lies within another one; what lies deeper than a log line needs is left out.
    """
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return _redacted_int(value, text)
    if depth >= _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        return {
            text(str(name)): KEY if _is_secret(str(name)) and item else redacted(item, text, depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item, text, depth + 1) for item in value]
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, bytes | bytearray):
        return text(value.decode("utf-8", "replace"))
    return text(repr(value))


@functools.lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name[:_NAME_CHARS]) is not None


_NAME_CHARS = 100
_DEPTH = 6
_LONGEST_PLAIN = 10**9  # below, a figure is no telephone number with its area code, and no card
_DIGITS_SHOWN = 40


def _redacted_int(value: int, text: Callable[[str], str]) -> int | str:
    if -_LONGEST_PLAIN < value < _LONGEST_PLAIN:
        return value
    if value.bit_length() > 4 * _DIGITS_SHOWN:
        return NUMBER  # no figure that anybody measures
    written = str(value)
    clean = text(written)
    return value if clean == written else clean


Found = list[tuple[int, int, str]]
"""Begin, end, and what stands in the place; in order, none within another."""


def _without(text: str, found: Found) -> str:
    kept: list[str] = []
    at = 0
    for begin, end, instead in found:
        kept += (text[at:begin], instead)
        at = end
    kept.append(text[at:])
    return "".join(kept)


def _keys(text: str) -> Found:
    found = [(*match.span(), KEY) for match in _KEYS.finditer(text)]
    found += [(*match.span("key"), KEY) for match in _NAMED_KEY.finditer(text)]
    found.sort()
    apart: Found = []
    for begin, end, instead in found:
        if apart and begin < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]), instead)
        else:
            apart.append((begin, end, instead))
    return apart


def _emails(text: str) -> Found:
    """Find addresses by their @: what belongs to one is gone through to the left and to the right, and no further."""
    found: Found = []
    over = 0
    for at in _AT.finditer(text):
        begin = _local_begin(text, at.start(), over)
        end = _domain_end(text, at.end())
        if begin < at.start() and end > at.end():
            found.append((begin, end, EMAIL))
            over = end
    return found


def _local_begin(text: str, end: int, least: int) -> int:
    least = max(least, end - _LOCAL_CHARS)
    if end > least and text[end - 1] == '"':
        opening = text.rfind('"', least, end - 1)
        return opening if opening >= 0 else end
    # Japanese and Korean put no space before an address: a local part of ASCII ends where the sentence does.
    plain = end > least and text[end - 1].isascii()
    begin = end
    while begin > least and (text[begin - 1].isalnum() or text[begin - 1] in _LOCAL_SIGNS):
        if plain and not text[begin - 1].isascii():
            break
        begin -= 1
    return begin


def _domain_end(text: str, begin: int) -> int:
    most = min(len(text), begin + _DOMAIN_CHARS)
    plain = begin < most and text[begin].isascii()
    if begin < most and text[begin] == "[":
        closing = text.find("]", begin, most)
        return closing + 1 if closing >= 0 else begin
    end = begin
    while end < most and (text[end].isalnum() or text[end] in _DOMAIN_SIGNS):
        if plain and not text[end].isascii():
            break
        end += 1
    return begin if text[begin:end].strip("-.") == "" else end


class _Questions:
    """How often the library may still be asked."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _PHONE_QUESTIONS


def _numbers(text: str) -> Found:
    found: Found = []
    questions = _Questions()
    for match in _RUN.finditer(text):
        begin = match.start()
        date = _DATE.match(text, begin)
        if date is not None:
            # A moment: what follows the date is looked at by itself.
            rest = _RUN.search(text, date.end(), match.end())
            if rest is None:
                continue
            match, begin = rest, rest.start()
        found += _in_run(text, begin, match.end(), questions)
    return found


def _in_run(text: str, begin: int, end: int, questions: _Questions) -> Found:
    """Find what is in one run of digits, which may be several numbers with nothing but a space between them."""
    run = text[begin:end]
    digits = "".join(_PARTS.findall(run))
    if len(digits) in _CARD_DIGITS and _luhn(digits):
        return [(begin, end, CARD)]
    if len(digits) < _PHONE_DIGITS.start or _in_an_id(text, begin, end):
        return []
    if len(digits) not in _PHONE_DIGITS:
        return [(begin, end, NUMBER)]
    if _is_phone(run, digits, questions):
        return [(begin, end, PHONE)]
    groups = list(_PARTS.finditer(run))
    for first in range(len(groups)):
        for last in range(len(groups), first, -1):
            if (first, last) == (0, len(groups)):
                continue
            plus = run[: groups[0].start()] if first == 0 else ""
            part = plus + run[groups[first].start() : groups[last - 1].end()]
            if _is_phone(part, "".join(_PARTS.findall(part)), questions):
                start = begin if first == 0 else begin + groups[first].start()
                return [(start, begin + groups[last - 1].end(), PHONE)]
    return []


def _is_phone(written: str, digits: str, questions: _Questions) -> bool:
    if len(digits) not in _PHONE_DIGITS:
        return False
    regions: tuple[str | None, ...] = (None,) if written.startswith(("+", "(+")) else _REGIONS
    for region in regions:
        if not _could_be(region, digits):
            continue
        if questions.left == 0:
            return True  # rather too much than too little
        questions.left -= 1
        if _is_valid(region, ("+" if region is None else "") + digits):
            return True
    return False


def _could_be(region: str | None, digits: str) -> bool:
    """Return what can be told without asking: where it could be dialled like that, and how long it would be."""
    match region:
        case "JP":
            return digits[0] == "0" and 10 <= len(digits) <= 11
        case "KR":
            return (digits[0] == "0" and 9 <= len(digits) <= 12) or (digits[0] == "1" and len(digits) == 8)
        case "US":
            return len(digits) == 10 or (len(digits) == 11 and digits[0] == "1")
    return True


@functools.lru_cache(maxsize=1024)
def _is_valid(region: str | None, digits: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(digits, region))
    except phonenumbers.NumberParseException:
        return False


def _in_an_id(text: str, begin: int, end: int) -> bool:
    """Return whether the digits are a piece of an id of the upstream's, or of a hash: those must stay whole to be of
    use.
    """
    before = text[max(0, begin - 80) : begin]
    if _OUR_IDS.search(before):
        return True
    left = begin
    while left > 0 and begin - left < 80 and (text[left - 1].isalnum() or text[left - 1] == "-"):
        left -= 1
    right = end
    while right < len(text) and right - end < 80 and (text[right].isalnum() or text[right] == "-"):
        right += 1
    token = text[left:right]
    return right - left >= 16 and any(c in "abcdefABCDEF" for c in token) and _HEX.fullmatch(token) is not None


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
