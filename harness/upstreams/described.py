"""What else does an agent call? Upstreams of a team's own, described in a file, with the same faults and ledger.

name = "orders"
export = "ORDERS_URL"

[[route]]
route = "GET /orders/{order_id}"
takes_s = 0.2
answer = { id = "{order_id}", state = "shipped" }    # JSON; {order_id} of the path, {q} of the query or JSON body

[[route]]
route = "POST /orders"
status = 201
text = "created"                                      # or plain text
"""

from __future__ import annotations

import math
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.routing import Routes
from harness.upstreams.service import Service
from harness.upstreams.wire import Reply, json_reply

if TYPE_CHECKING:
    from harness.upstreams.epoch import Epoch


class DescriptionError(ValueError):
    """A described upstream cannot be read; the message says which file, and what was expected."""


class DescribedRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One route and its answer."""

    route: str
    status: int = 200
    takes_s: float = 0.002
    answer: Any = None
    text: str | None = None
    content_type: str = "text/plain; charset=utf-8"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z]+ /\S*", self.route):
            msg = f'`route` is {self.route!r}, expected e.g. "GET /orders/{{order_id}}"'
            raise ValueError(msg)
        if not 0 <= self.takes_s < math.inf:
            msg = f"`takes_s` is {self.takes_s}, expected seconds, 0 or more"
            raise ValueError(msg)
        if not 200 <= self.status <= 599:
            msg = f"`status` is {self.status}, expected 200 to 599"
            raise ValueError(msg)


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream."""

    name: str
    export: str | None = None
    route: tuple[DescribedRoute, ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_-]*", self.name):
            msg = f"`name` is {self.name!r}, expected small letters, digits, - and _"
            raise ValueError(msg)


def read_description(path: Path) -> Description:
    """Read a described upstream.

    Raises:
        DescriptionError: the file cannot be read, or describes none.
    """
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Description)
    except OSError as error:
        msg = f"Cannot read the upstream {path}: {error.strerror}."
        raise DescriptionError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        msg = f"The upstream {path}: {error}. It has `name` and [[route]] with `route`, and `answer` or `text`."
        raise DescriptionError(msg) from error


class Described(Service):
    """An upstream that a file describes."""

    def __init__(self, epoch: Epoch, description: Description) -> None:
        self.name = description.name
        self.exports = (description.export or f"{description.name.upper().replace('-', '_')}_URL",)
        super().__init__(epoch)
        self.routes = Routes((one.route, self._answering(one)) for one in description.route)

    def text_of(self, exchange: Exchange) -> str:
        return exchange.request.body.decode(errors="replace") or super().text_of(exchange)

    def _answering(self, route: DescribedRoute) -> Any:
        def answer(exchange: Exchange) -> Reply:
            words = {**_words(exchange.json_object), **exchange.query, **exchange.params}
            after_s = route.takes_s * self.epoch.latency.scale
            if route.text is not None:
                body = str(_filled(route.text, words)).encode()
                return Reply(route.status, body, (("content-type", route.content_type),), after_s)
            return json_reply(_filled(route.answer, words), status=route.status, after_s=after_s)

        return answer

    def error(self, status: int, message: str | None) -> Reply:
        return json_reply({"error": message or f"error {status}"}, status=status)


def _words(body: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in body.items() if isinstance(value, str | int | float)}


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: words.get(found.group(1), found.group()), value)
    if isinstance(value, dict):
        return {name: _filled(below, words) for name, below in value.items()}
    return [_filled(below, words) for below in value] if isinstance(value, list) else value
