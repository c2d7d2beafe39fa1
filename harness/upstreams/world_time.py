"""The time, as worldtimeapi tells it: `GET /api/timezone/{area}/{city}`."""

from __future__ import annotations

import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import routed
from harness.upstreams.service import Service, ServiceError
from harness.upstreams.wire import Reply, json_reply


class WorldTime(Service):
    """Knows every zone of the time-zone database."""

    name = "time"
    port_offset = 6
    exports = ("TIME_URL",)

    def text_of(self, exchange: Exchange) -> str:
        return "/".join(exchange.params.values())

    @routed("GET /api/timezone")
    def zones(self, exchange: Exchange) -> Reply:
        """Return the names of all zones."""
        return json_reply(sorted(available_timezones()), after_s=self.epoch.takes(exchange, "other"))

    @routed("GET /api/timezone/{area}")
    def by_area(self, exchange: Exchange) -> Reply:
        """Return the time of a zone without a city, such as `UTC`."""
        return self._now(exchange, exchange.params["area"])

    @routed("GET /api/timezone/{area}/{city}")
    def by_city(self, exchange: Exchange) -> Reply:
        """Return the time of a zone such as `Asia/Tokyo`; 404 where there is none of that name."""
        return self._now(exchange, f"{exchange.params['area']}/{exchange.params['city']}")

    def _now(self, exchange: Exchange, name: str) -> Reply:
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ServiceError(404, f"unknown location {name}") from error
        now_s = self.epoch.wall_s(exchange.begin_ns)
        local = datetime.datetime.fromtimestamp(now_s, zone)
        offset = local.utcoffset() or datetime.timedelta()
        written = local.strftime("%z")
        dst = local.dst() or datetime.timedelta()
        return json_reply(
            {
                "abbreviation": local.tzname(),
                "client_ip": "127.0.0.1",
                "datetime": local.isoformat(),
                "day_of_week": local.isoweekday() % 7,
                "day_of_year": local.timetuple().tm_yday,
                "dst": bool(dst),
                "dst_offset": int(dst.total_seconds()),
                "raw_offset": int((offset - dst).total_seconds()),
                "timezone": name,
                "unixtime": int(now_s),
                "utc_datetime": local.astimezone(datetime.UTC).isoformat(),
                "utc_offset": f"{written[:3]}:{written[3:]}",
                "week_number": local.isocalendar().week,
            },
            after_s=self.epoch.takes(exchange, "time"),
        )

    def error(self, status: int, message: str | None) -> Reply:
        return json_reply({"error": message or {404: "not found"}.get(status, "service unavailable")}, status=status)
