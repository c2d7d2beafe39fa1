"""The weather, as OpenWeatherMap tells it: `GET /data/2.5/weather?q=Tokyo,JP&appid=&units=metric&lang=ja`."""

from __future__ import annotations

import datetime
import math
from zoneinfo import ZoneInfo

from harness.upstreams.chance import choice, fraction
from harness.upstreams.exchange import Exchange
from harness.upstreams.places import place_named, place_near
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError
from harness.upstreams.wire import Reply, json_reply

# (id, main, description in English, Japanese, Korean, icon) as OpenWeatherMap lists its conditions.
_CONDITIONS = (
    (800, "Clear", {"en": "clear sky", "ja": "晴天", "kr": "맑음"}, "01d"),
    (801, "Clouds", {"en": "few clouds", "ja": "薄い雲", "kr": "약간의 구름이 낀 하늘"}, "02d"),
    (804, "Clouds", {"en": "overcast clouds", "ja": "厚い雲", "kr": "온흐림"}, "04d"),
    (500, "Rain", {"en": "light rain", "ja": "小雨", "kr": "실 비"}, "10d"),
    (600, "Snow", {"en": "light snow", "ja": "小雪", "kr": "가벼운 눈"}, "13d"),
)
_NO_KEY = "Invalid API key. Please see https://openweathermap.org/faq#error401 for more info."


class Weather(Service):
    """Knows the cities that the scripted model asks of; each has the same weather for the same seed."""

    name = "weather"
    port_offset = 4
    exports = ("WEATHER_URL",)

    @routed("GET /data/2.5/weather")
    def current(self, exchange: Exchange) -> Reply:
        """Return the weather of a city, or of the known one that is nearest to `lat` and `lon`.

        400 where neither is given, 404 for an unknown city, 401 without a key or for one named "invalid".
        """
        query = exchange.query
        if query.get("appid", "") in ("", "invalid"):
            raise ServiceError(401, _NO_KEY)
        asked = query.get("q", "").strip()
        if asked:
            place = place_named(asked.split(",")[0])
        elif "lat" in query and "lon" in query:
            place = place_near(_degrees(query["lat"], "latitude", 90), _degrees(query["lon"], "longitude", 180))
        else:
            raise ServiceError(400, "Nothing to geocode")
        if place is None:
            raise ServiceError(404, "city not found")
        seed = self.epoch.seed
        language = {"ja": "ja", "kr": "kr", "ko": "kr"}.get(query.get("lang", "en"), "en")
        code, main, descriptions, icon = choice(_CONDITIONS, seed, place.name, "condition")
        celsius = round(-5 + 35 * fraction(seed, place.name, "temperature"), 2)
        feels_like, temperature = (_in_units(one, query.get("units", "standard")) for one in (celsius - 1.2, celsius))
        now_s = int(self.epoch.wall_s(exchange.begin_ns))
        offset = datetime.datetime.fromtimestamp(now_s, ZoneInfo(place.time_zone)).utcoffset()
        return json_reply(
            {
                "coord": {"lon": place.at[1], "lat": place.at[0]},
                "weather": [{"id": code, "main": main, "description": descriptions[language], "icon": icon}],
                "base": "stations",
                "main": {
                    "temp": temperature,
                    "feels_like": feels_like,
                    "temp_min": temperature,
                    "temp_max": temperature,
                    "pressure": 1013,
                    "humidity": 30 + int(60 * fraction(seed, place.name, "humidity")),
                },
                "visibility": 10000,
                "wind": {"speed": 3.1, "deg": 200},
                "clouds": {"all": 20},
                "dt": now_s,
                "sys": {"country": place.country, "sunrise": now_s - 20_000, "sunset": now_s + 20_000},
                "timezone": int(offset.total_seconds()) if offset else 0,
                "id": 1850144,
                "name": place.name,
                "cod": 200,
            },
            after_s=self.epoch.takes(exchange, "weather"),
        )

    def error(self, status: int, message: str | None) -> Reply:
        words = {
            401: _NO_KEY,
            404: "Internal error",
            429: "Your account is temporary blocked due to exceeding of requests limitation of your subscription type.",
        }
        # OpenWeatherMap writes `cod` as a number in success and in 401, as a string in 404.
        code: int | str = str(status) if status in (400, 404) else status
        return json_reply({"cod": code, "message": message or words.get(status, "Internal error")}, status=status)


def _degrees(text: str, name: str, most: int) -> float:
    try:
        degrees = float(text)
    except ValueError:
        degrees = math.nan
    if not -most <= degrees <= most:
        raise ServiceError(400, f"wrong {name}")
    return degrees


def _in_units(celsius: float, units: str) -> float:
    if units == "metric":
        return round(celsius, 2)
    return round(celsius * 9 / 5 + 32, 2) if units == "imperial" else round(celsius + 273.15, 2)
