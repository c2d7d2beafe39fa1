"""Which places do people name, in which language, and what time is it there?"""

from __future__ import annotations

import re

import msgspec


class Place(msgspec.Struct, frozen=True):
    """A city that the stand-ins know."""

    name: str
    country: str
    time_zone: str
    other_names: tuple[str, ...]


PLACES: tuple[Place, ...] = (
    Place("Tokyo", "JP", "Asia/Tokyo", ("東京", "도쿄")),
    Place("Osaka", "JP", "Asia/Tokyo", ("大阪", "오사카")),
    Place("Kyoto", "JP", "Asia/Tokyo", ("京都", "교토")),
    Place("Sapporo", "JP", "Asia/Tokyo", ("札幌", "삿포로")),
    Place("Fukuoka", "JP", "Asia/Tokyo", ("福岡", "후쿠오카")),
    Place("Nagoya", "JP", "Asia/Tokyo", ("名古屋", "나고야")),
    Place("Yokohama", "JP", "Asia/Tokyo", ("横浜", "요코하마")),
    Place("Sendai", "JP", "Asia/Tokyo", ("仙台", "센다이")),
    Place("Hiroshima", "JP", "Asia/Tokyo", ("広島", "히로시마")),
    Place("Naha", "JP", "Asia/Tokyo", ("那覇", "沖縄", "나하")),
    Place("Seoul", "KR", "Asia/Seoul", ("ソウル", "서울")),
    Place("Busan", "KR", "Asia/Seoul", ("釜山", "プサン", "부산")),
    Place("Incheon", "KR", "Asia/Seoul", ("仁川", "인천")),
    Place("Berlin", "DE", "Europe/Berlin", ("ベルリン", "베를린", "ドイツ", "독일", "Germany")),
    Place("Paris", "FR", "Europe/Paris", ("パリ", "파리")),
    Place("London", "GB", "Europe/London", ("ロンドン", "런던")),
    Place("New York", "US", "America/New_York", ("ニューヨーク", "뉴욕")),
    Place("Los Angeles", "US", "America/Los_Angeles", ("ロサンゼルス", "로스앤젤레스")),
    Place("Sydney", "AU", "Australia/Sydney", ("シドニー", "시드니")),
    Place("Beijing", "CN", "Asia/Shanghai", ("北京", "베이징")),
)

_BY_NAME = {name.casefold(): place for place in PLACES for name in (place.name, *place.other_names)}
_PATTERN = re.compile("|".join(re.escape(name) for name in sorted(_BY_NAME, key=len, reverse=True)), re.IGNORECASE)


def place_named(name: str) -> Place | None:
    """Return the place of this name in any of the languages, None where it is unknown."""
    return _BY_NAME.get(name.strip().casefold())


def place_in(text: str) -> Place | None:
    """Return the first place that a text names, None where it names none."""
    found = _PATTERN.search(text)
    return _BY_NAME[found.group().casefold()] if found else None
