"""Which places do people name, in which language, and what time is it there?"""

from __future__ import annotations

import math
import re

import msgspec


class Place(msgspec.Struct, frozen=True):
    """A city that the stand-ins know."""

    name: str
    country: str
    time_zone: str
    at: tuple[float, float]
    """Degrees north and east, to a kilometre."""
    other_names: tuple[str, ...]


PLACES: tuple[Place, ...] = (
    Place("Tokyo", "JP", "Asia/Tokyo", (35.69, 139.69), ("東京", "도쿄")),
    Place("Osaka", "JP", "Asia/Tokyo", (34.69, 135.50), ("大阪", "오사카")),
    Place("Kyoto", "JP", "Asia/Tokyo", (35.02, 135.75), ("京都", "교토")),
    Place("Sapporo", "JP", "Asia/Tokyo", (43.06, 141.35), ("札幌", "삿포로")),
    Place("Fukuoka", "JP", "Asia/Tokyo", (33.58, 130.41), ("福岡", "후쿠오카")),
    Place("Nagoya", "JP", "Asia/Tokyo", (35.18, 136.91), ("名古屋", "나고야")),
    Place("Yokohama", "JP", "Asia/Tokyo", (35.45, 139.64), ("横浜", "요코하마")),
    Place("Kobe", "JP", "Asia/Tokyo", (34.69, 135.20), ("神戸", "고베")),
    Place("Kanazawa", "JP", "Asia/Tokyo", (36.56, 136.66), ("金沢", "가나자와")),
    Place("Sendai", "JP", "Asia/Tokyo", (38.27, 140.87), ("仙台", "센다이")),
    Place("Hiroshima", "JP", "Asia/Tokyo", (34.40, 132.45), ("広島", "히로시마")),
    Place("Naha", "JP", "Asia/Tokyo", (26.22, 127.68), ("那覇", "沖縄", "나하")),
    Place("Seoul", "KR", "Asia/Seoul", (37.57, 126.98), ("ソウル", "서울")),
    Place("Busan", "KR", "Asia/Seoul", (35.10, 129.04), ("釜山", "プサン", "부산")),
    Place("Incheon", "KR", "Asia/Seoul", (37.46, 126.71), ("仁川", "인천")),
    Place("Berlin", "DE", "Europe/Berlin", (52.52, 13.41), ("ベルリン", "베를린", "ドイツ", "독일", "Germany")),
    Place("Paris", "FR", "Europe/Paris", (48.85, 2.35), ("パリ", "파리")),
    Place("London", "GB", "Europe/London", (51.51, -0.13), ("ロンドン", "런던")),
    Place("New York", "US", "America/New_York", (40.71, -74.01), ("ニューヨーク", "뉴욕")),
    Place("Los Angeles", "US", "America/Los_Angeles", (34.05, -118.24), ("ロサンゼルス", "로스앤젤레스")),
    Place("Sydney", "AU", "Australia/Sydney", (-33.87, 151.21), ("シドニー", "시드니")),
    Place("Beijing", "CN", "Asia/Shanghai", (39.91, 116.40), ("北京", "베이징")),
)

_BY_NAME = {name.casefold(): place for place in PLACES for name in (place.name, *place.other_names)}
_PATTERN = re.compile("|".join(re.escape(name) for name in sorted(_BY_NAME, key=len, reverse=True)), re.IGNORECASE)


def place_named(name: str) -> Place | None:
    """Return the place of this name in any of the languages, None where it is unknown."""
    return _BY_NAME.get(name.strip().casefold())


def place_near(latitude: float, longitude: float) -> Place:
    """Return the known place that is nearest, as the crow flies.

    Args:
        latitude: degrees north, -90 to 90.
        longitude: degrees east, -180 to 180.
    """

    def cosine_to(place: Place) -> float:
        north, south = math.radians(latitude), math.radians(place.at[0])
        apart = math.radians(longitude - place.at[1])
        return math.sin(north) * math.sin(south) + math.cos(north) * math.cos(south) * math.cos(apart)

    return max(PLACES, key=cosine_to)


def place_in(text: str) -> Place | None:
    """Return the first place that a text names, None where it names none."""
    found = _PATTERN.search(text)
    return _BY_NAME[found.group().casefold()] if found else None
