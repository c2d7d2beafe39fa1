"""Which route does a path take? A table of templates such as `POST /v1/threads/{thread_id}/runs`, walked by segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

_H = TypeVar("_H")


class _Node(msgspec.Struct, Generic[_H]):
    literal: dict[str, _Node[_H]] = {}
    parameter: tuple[str, _Node[_H]] | None = None
    handlers: dict[str, tuple[str, _H]] = {}


class Routes(Generic[_H]):
    """A table from templates to handlers.

    Args:
        table: (template, handler), the template as "METHOD /path/{parameter}".

    Raises:
        ValueError: a template is there twice.
    """

    def __init__(self, table: Iterable[tuple[str, _H]]) -> None:
        self._root: _Node[_H] = _Node()
        self._plain: dict[str, tuple[str, _H]] = {}
        """The routes without parameters: they are there by the whole of their path."""
        self.templates: list[str] = []
        for template, handler in table:
            self._add(template, handler)

    def _add(self, template: str, handler: _H) -> None:
        method, path = template.split(" ", 1)
        node = self._root
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                if node.parameter is None:
                    node.parameter = (segment[1:-1], _Node())
                elif node.parameter[0] != segment[1:-1]:
                    msg = f"{template}: {segment} is called {{{node.parameter[0]}}} in another route; use one name."
                    raise ValueError(msg)
                node = node.parameter[1]
            else:
                node = node.literal.setdefault(segment, _Node())
        if method in node.handlers:
            msg = f"The route {template} is there twice."
            raise ValueError(msg)
        node.handlers[method] = (template, handler)
        if "{" not in template:
            self._plain[template] = (template, handler)
        self.templates.append(template)

    def find(self, method: str, path: str) -> tuple[str, _H, dict[str, str]] | None:
        """Return (template, handler, parameters), None where no route takes this path."""
        plain = self._plain.get(f"{method} {path}")
        if plain is not None:
            return plain[0], plain[1], {}
        params: dict[str, str] = {}
        node = self._node(path, params)
        found = None if node is None else node.handlers.get(method)
        return None if found is None else (found[0], found[1], params)

    def methods_of(self, path: str) -> tuple[str, ...]:
        """Return the methods for which a route takes this path."""
        node = self._node(path, {})
        return () if node is None else tuple(node.handlers)

    def _node(self, path: str, params: dict[str, str]) -> _Node[_H] | None:
        node = self._root
        for segment in path.strip("/").split("/"):
            below = node.literal.get(segment)
            if below is not None:
                node = below
            elif node.parameter is not None and segment:
                params[node.parameter[0]] = segment
                node = node.parameter[1]
            else:
                return None
        return node


def routed(template: str) -> Callable[[_F], _F]:
    """Mark a method as the handler of a route; `routes_of` collects them."""

    def mark(method: _F) -> _F:
        method.route_templates = (*getattr(method, "route_templates", ()), template)  # type: ignore[attr-defined]
        return method

    return mark


_F = TypeVar("_F", bound=Callable[..., object])


def routes_of(*parts: object) -> Routes[Callable[..., object]]:
    """Return the table of all methods of `parts` that are marked with `routed`."""
    table: list[tuple[str, Callable[..., object]]] = []
    for part in parts:
        for name in dir(type(part)):
            templates = getattr(getattr(type(part), name), "route_templates", ())
            table.extend((template, getattr(part, name)) for template in templates)
    return Routes(table)
