"""How are lists given out? In pages: `limit`, `order`, `after`, `before` in, `first_id`, `last_id`, `has_more` out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from harness.upstreams.openai.errors import ApiError, wrong_value


class Listed(Protocol):
    """Something that lists hold."""

    @property
    def id(self) -> str:
        """What `after` and `before` name it by."""


_L = TypeVar("_L", bound=Listed)


def page(
    things: Sequence[_L],
    query: Mapping[str, str],
    document: Callable[[_L], dict[str, Any]],
    *,
    newest_first: bool = True,
    limit: int = 20,
) -> dict[str, Any]:
    """Return one page.

    Args:
        things: all of them, oldest first.
        query: the request's parameters.
        document: what is written of each.
        newest_first: the order where the query names none.
        limit: how many where the query does not say.

    Raises:
        ApiError: 400 for a limit outside 1 to 100, an unknown order, or an id that is not in the list.
    """
    if "limit" in query:
        limit = integer_in(query, "limit", limit)
        if not 1 <= limit <= 100:
            bound, word, code = (
                (1, ">=", "integer_below_min_value") if limit < 1 else (100, "<=", "integer_above_max_value")
            )
            raise ApiError(
                400,
                f"Invalid 'limit': integer {'below minimum' if limit < 1 else 'above maximum'} value. "
                f"Expected a value {word} {bound}, but got {limit} instead.",
                param="limit",
                code=code,
            )
    order = query.get("order") or ("desc" if newest_first else "asc")
    if order not in ("asc", "desc"):
        raise wrong_value("order", order, ("asc", "desc"))
    ordered = list(things) if order == "asc" else list(reversed(things))
    after, before = query.get("after"), query.get("before")
    if after:
        ordered = ordered[_position(ordered, after, "after") + 1 :]
    if before:
        ordered = ordered[: _position(ordered, before, "before")]
        # The page that ends just before the id.
        shown, more = ordered[-limit:], len(ordered) > limit
    else:
        shown, more = ordered[:limit], len(ordered) > limit
    return {
        "object": "list",
        "data": [document(one) for one in shown],
        "first_id": shown[0].id if shown else None,
        "last_id": shown[-1].id if shown else None,
        "has_more": more,
    }


def integer_in(query: Mapping[str, str], name: str, otherwise: int) -> int:
    """Return a parameter that is an integer.

    Raises:
        ApiError: 400: it is none.
    """
    asked = query.get(name)
    if asked is None:
        return otherwise
    if not re.fullmatch(r"-?[0-9]{1,18}", asked):
        raise ApiError(400, f"Invalid '{name}': '{asked}' is not an integer.", param=name, code="invalid_type")
    return int(asked)


def _position(things: Sequence[Listed], id_: str, param: str) -> int:
    for position, thing in enumerate(things):
        if thing.id == id_:
            return position
    raise ApiError(400, f"Invalid '{param}': no item with id '{id_}' in this list.", param=param, code="invalid_value")
