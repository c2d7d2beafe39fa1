"""The news, as NewsAPI tells it: `GET /v2/top-headlines?country=jp&apiKey=`."""

from __future__ import annotations

import datetime

from harness.upstreams.chance import fraction
from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError
from harness.upstreams.wire import Reply, json_reply

_HEADLINES: dict[str, tuple[str, ...]] = {
    "jp": (
        "桜が例年より早く開花",
        "猫カフェの来店者数が過去最高に",
        "新しい路線が来春に開業",
        "人工知能の学会が東京で開幕",
        "秋刀魚の水揚げが回復",
    ),
    "kr": (
        "벚꽃이 예년보다 일찍 피다",
        "고양이 카페 방문객 사상 최대",
        "새 지하철 노선 내년 봄 개통",
        "서울에서 인공지능 학회 개막",
    ),
    "us": (
        "Cherry trees bloom early this year",
        "Cat cafes report record visitors",
        "New rail line to open next spring",
        "Conference on artificial intelligence begins",
    ),
}
_NO_KEY = "Your API key is missing. Append this to the URL with the apiKey param, or use the x-api-key HTTP header."


class News(Service):
    """Has a handful of headlines for each country, in an order that the seed decides."""

    name = "news"
    port_offset = 5
    exports = ("NEWS_URL",)

    @routed("GET /v2/top-headlines")
    def top_headlines(self, exchange: Exchange) -> Reply:
        """Return headlines; 401 without a key or for one named "invalid", 400 where nothing is said to look for."""
        query, headers = exchange.query, exchange.request.headers
        key = (
            query.get("apiKey") or headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        )
        if not key:
            raise ServiceError(401, _NO_KEY)
        if key == "invalid":
            raise ServiceError(401, "Your API key is invalid or incorrect.")
        if not any(query.get(name) for name in ("country", "category", "sources", "q")):
            raise ServiceError(400, "Required parameters are missing.")
        country = query.get("country", "us").lower()
        seed = self.epoch.seed
        titles = sorted(
            _HEADLINES.get(country, _HEADLINES["us"]), key=lambda title: fraction(seed, exchange.subject, title)
        )
        count = int(query["pageSize"]) if query.get("pageSize", "").isdigit() else 20
        day = datetime.datetime.fromtimestamp(self.epoch.wall_s(exchange.begin_ns), datetime.UTC)
        articles = [
            {
                "source": {"id": None, "name": "Stand-in News"},
                "author": None,
                "title": title,
                "description": title,
                "url": f"https://news.example/{country}/{number}",
                "urlToImage": None,
                "publishedAt": day.strftime("%Y-%m-%dT%H:00:00Z"),
                "content": None,
            }
            for number, title in enumerate(titles)
        ]
        return json_reply(
            {"status": "ok", "totalResults": len(articles), "articles": articles[:count]},
            after_s=self.epoch.takes(exchange, "news"),
        )

    def error(self, status: int, message: str | None) -> Reply:
        codes = {
            400: ("parametersMissing", "Required parameters are missing."),
            401: ("apiKeyInvalid", "Your API key is invalid or incorrect."),
            404: ("notFound", "There is nothing at this address."),
            429: ("rateLimited", "You have made too many requests recently."),
        }
        code, words = codes.get(status, ("unexpectedError", "Something went wrong on our side."))
        if message == _NO_KEY:
            code = "apiKeyMissing"
        return json_reply({"status": "error", "code": code, "message": message or words}, status=status)
