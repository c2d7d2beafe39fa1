"""The fortune teller: `GET /fortune?sign=&date=` gives a rank, a sentence and a lucky item."""

from __future__ import annotations

import datetime

from harness.upstreams.chance import choice
from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError
from harness.upstreams.wire import Reply, json_reply

_RANKS = ("大吉", "中吉", "小吉", "吉", "末吉", "凶")
_TEXTS = (
    "良い出会いがあります",
    "焦らず進みましょう",
    "新しいことを始める日",
    "体を休めると吉",
    "失くし物が見つかります",
)
_ITEMS = ("鈴", "青いハンカチ", "猫の置物", "傘", "みかん", "手帳")


class Fortune(Service):
    """The same sign has the same fortune on the same day."""

    name = "fortune"
    port_offset = 7
    exports = ("FORTUNE_URL",)

    @routed("GET /fortune")
    def tell(self, exchange: Exchange) -> Reply:
        """Return the fortune of a sign; 400 where the date is none. Without a sign, or a date, it picks today's."""
        now = datetime.datetime.fromtimestamp(self.epoch.wall_s(exchange.begin_ns), datetime.UTC)
        sign = exchange.query.get("sign") or "aries"
        date = exchange.query.get("date") or now.date().isoformat()
        try:
            datetime.date.fromisoformat(date)
        except ValueError as error:
            raise ServiceError(400, f"date: expected YYYY-MM-DD, not {date!r}") from error
        key = (self.epoch.seed, sign, date)
        return json_reply(
            {
                "sign": sign,
                "date": date,
                "rank": choice(_RANKS, *key, "rank"),
                "text": choice(_TEXTS, *key, "text"),
                "lucky_item": choice(_ITEMS, *key, "item"),
            },
            after_s=self.epoch.takes(exchange, "fortune"),
        )

    def error(self, status: int, message: str | None) -> Reply:
        return json_reply({"error": message or {404: "not found"}.get(status, "the stars are silent")}, status=status)
