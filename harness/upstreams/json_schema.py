"""What does a JSON schema say of one value? References followed, alternatives chosen, patterns turned into a text."""

from __future__ import annotations

import re
from typing import Any

_LONGEST_WAY = 20
"""References that are followed from one value: who needs more leads in a circle."""


def plain(schema: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without references and alternatives, in its outermost layer.

    Args:
        schema: any schema; what is none allows everything.
        root: the whole schema, to which references point, as `#/$defs/Name`.
    """
    for _ in range(_LONGEST_WAY):
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            found = _at(root, str(schema["$ref"]))
            schema = {**found, **rest}
        elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
            rest = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf")}
            # What may be left empty is filled all the same.
            chosen: Any = next((one for one in alternatives if one != {"type": "null"}), {})
            schema = {**rest, **chosen} if isinstance(chosen, dict) else rest
        elif "allOf" in schema:
            together = {name: value for name, value in schema.items() if name != "allOf"}
            for part in schema["allOf"]:
                together = _both(together, plain(part, root))
            schema = together
        elif "const" in schema:
            schema = {"enum": [schema["const"]]}
        elif isinstance(schema.get("type"), list):
            kinds = [kind for kind in schema["type"] if kind != "null"]
            schema = {**schema, "type": kinds[0] if kinds else "null"}
        else:
            return schema
    return {}


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        **one,
        **other,
        "properties": {**(one.get("properties") or {}), **(other.get("properties") or {})},
        "required": [*(one.get("required") or ()), *(other.get("required") or ())],
    }


def _at(root: dict[str, Any], reference: str) -> dict[str, Any]:
    place: Any = root
    for key in reference.removeprefix("#").strip("/").split("/"):
        place = place.get(key) if isinstance(place, dict) and key else place
    return place if isinstance(place, dict) else {}


_ATOM = re.compile(r"(?P<one>\\.|\[[^\]]+\]|[^\\\[\](){}*+?|^$])(?:\{(?P<count>\d+)(?:,\d*)?\}|(?P<many>[*+?]))?")
_LETTERS = "ax0AX-_ .@:/"


def text_like(pattern: str) -> str | None:
    """Return a text that a pattern matches, None where the pattern has groups or choices, or is no pattern."""
    body = pattern.removeprefix("^").removesuffix("$")
    text, end = "", 0
    try:
        while end < len(body):
            atom = _ATOM.match(body, end)
            if atom is None:
                return None
            end = atom.end()
            one = re.compile(atom["one"])
            letter = next(letter for letter in (*_LETTERS, atom["one"][-1]) if one.fullmatch(letter))
            text += letter * int(atom["count"] or 1)
        return text if re.search(pattern, text) else None
    except (re.error, StopIteration):
        return None
