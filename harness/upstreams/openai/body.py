"""Is the body of a request what the API takes? Fields read out of it, or OpenAI's own 400."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from harness.upstreams.exchange import Exchange
from harness.upstreams.openai.errors import ApiError, missing, wrong_type, wrong_value
from harness.upstreams.openai.shapes import check_shape


def body_of(exchange: Exchange) -> dict[str, Any]:
    """Return the body.

    Raises:
        ApiError: 400: it is no JSON, or no object.
    """
    try:
        body = exchange.json
    except msgspec.DecodeError as error:
        raise ApiError(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP"
            " library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON: "
            f"{error}.)",
        ) from error
    if not isinstance(body, dict):
        raise wrong_type("body", "an object", body)
    return body


FieldCheck = Callable[[dict[str, Any], str], object]
"""(body, name of a field that is there) -> raises ApiError where it is not what the API takes."""


def check_fields(body: dict[str, Any], checks: dict[str, FieldCheck]) -> None:
    """Check the fields that a body has.

    Most bodies have few of those that they could have: to go by what is there is cheaper than to ask for each.
    """
    for name in body:
        check = checks.get(name)
        if check is not None:
            check(body, name)


def text_field(body: dict[str, Any], name: str) -> str:
    """Return a field that must be a text that is not empty."""
    value = body.get(name)
    if isinstance(value, str) and value:
        return value
    optional_text(body, name)
    raise missing(name)


def optional_text(body: dict[str, Any], name: str) -> str | None:
    """Return a field that is a text or absent."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong_type(name, "a string", value)
    return value


def one_of(body: dict[str, Any], name: str, supported: tuple[str, ...]) -> str | None:
    """Return a field that is one of these texts or absent."""
    value = optional_text(body, name)
    if value is not None and value not in supported:
        raise wrong_value(name, value, supported)
    return value


def optional_integer(
    body: dict[str, Any], name: str, *, least: int | None = None, most: int | None = None
) -> int | None:
    """Return a field that is an integer, not below `least` and not above `most`, or absent."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(name, "an integer", value)
    if least is not None and value < least:
        raise ApiError(
            400,
            f"Invalid '{name}': integer below minimum value. Expected a value >= {least}, but got {value} instead.",
            param=name,
            code="integer_below_min_value",
        )
    if most is not None and value > most:
        raise ApiError(
            400,
            f"Invalid '{name}': integer above maximum value. Expected a value <= {most}, but got {value} instead.",
            param=name,
            code="integer_above_max_value",
        )
    return value


def optional_number(body: dict[str, Any], name: str, low: float, high: float) -> float | None:
    """Return a field that is a number from `low` to `high`, or absent."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong_type(name, "a decimal number", value)
    if not low <= value <= high:
        below = value < low
        raise ApiError(
            400,
            f"Invalid '{name}': decimal {'below minimum' if below else 'above maximum'} value. Expected a value "
            f"{'>=' if below else '<='} {low if below else high:g}, but got {value:g} instead.",
            param=name,
            code="decimal_below_min_value" if below else "decimal_above_max_value",
        )
    return value


def list_field(body: dict[str, Any], name: str) -> list[Any]:
    """Return a field that is an array, empty where it is absent."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong_type(name, "an array", value)
    return value


def flag(body: dict[str, Any], name: str, *, otherwise: bool = False) -> bool:
    """Return a field that is true or false."""
    value = body.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, bool):
        raise wrong_type(name, "a boolean", value)
    return value


def metadata_of(body: dict[str, Any]) -> dict[str, str]:
    """Return the metadata: at most 16 pairs of texts.

    Raises:
        ApiError: 400 for anything else.
    """
    value = body.get("metadata")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise wrong_type("metadata", "an object", value)
    for key, text in value.items():
        if not isinstance(text, str):
            raise wrong_type(f"metadata.{key}", "a string", text)
    if len(value) > 16:
        raise ApiError(
            400,
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object"
            f" with {len(value)} properties instead.",
            param="metadata",
            code="object_above_max_properties",
        )
    return value


def stops_of(body: dict[str, Any]) -> tuple[str, ...]:
    """Return the texts before which an answer ends: at most four.

    Raises:
        ApiError: 400 for anything else.
    """
    value = body.get("stop")
    stops = [value] if isinstance(value, str) else list_field(body, "stop")
    if len(stops) > 4:
        raise ApiError(
            400,
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length"
            f" {len(stops)} instead.",
            param="stop",
            code="array_above_max_length",
        )
    for index, stop in enumerate(stops):
        if not isinstance(stop, str):
            raise wrong_type(f"stop[{index}]", "a string", stop)
    return tuple(stop for stop in stops if stop)


def text_of_content(content: Any, param: str = "content") -> str:
    """Return the text of a message's content: a text, or the text parts of an array, joined.

    Raises:
        ApiError: 400: it is neither, or a part has no type.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise missing(param) if content is None else wrong_type(param, "one of a string or array of objects", content)
    texts = []
    for index, part in enumerate(content):
        if not isinstance(part, dict):
            raise wrong_type(f"{param}[{index}]", "an object", part)
        if part.get("type") is None:
            raise missing(f"{param}[{index}].type")
        text = part.get("text")
        if isinstance(text, str):
            texts.append(text)
        elif isinstance(text, dict) and isinstance(text.get("value"), str):
            texts.append(text["value"])
    return "\n".join(texts)


def functions_in(tools: Any, others: Any, *, flat: bool = False) -> tuple[dict[str, Any], ...]:
    """Return the functions among the tools offered, as {"name", "description", "parameters"}.

    Args:
        tools: as the request has them.
        others: the shape of tools that are no functions.
        flat: whether functions are written as Responses does, instead of `{"type": "function", "function": {...}}`.

    Raises:
        ApiError: 400: a tool has no type or one that does not exist, or a function no name.
    """
    functions = []
    for index, tool in enumerate(tools or ()):
        if not isinstance(tool, dict):
            raise wrong_type(f"tools[{index}]", "an object", tool)
        if tool.get("type") is None:
            raise missing(f"tools[{index}].type")
        if tool["type"] != "function":
            check_shape(tool, others, f"tools[{index}]")
            continue
        function = tool if flat else tool.get("function")
        if not isinstance(function, dict):
            raise missing(f"tools[{index}].function")
        name, description, strict = function.get("name"), function.get("description"), function.get("strict")
        if not isinstance(name, str):
            raise missing(f"tools[{index}].name" if flat else f"tools[{index}].function.name")
        if description is not None and not isinstance(description, str):
            raise wrong_type(f"tools[{index}].description", "a string", description)
        if strict is not None and not isinstance(strict, bool):
            raise wrong_type(f"tools[{index}].strict", "a boolean", strict)
        parameters = function.get("parameters")
        check_schema(parameters, name)
        functions.append({"name": name, "description": description or "", "parameters": parameters or {}})
    return tuple(functions)


def check_schema(schema: Any, name: str) -> None:
    """Refuse what is no JSON schema, as far as anybody here looks at it.

    Raises:
        ApiError: 400, as the API says it of a function's parameters or of an answer's format.
    """
    if schema is None:
        return
    wrong = _schema_error(schema)
    if wrong is not None:
        raise ApiError(
            400,
            f"Invalid schema for function '{name}': {wrong}",
            param="tools[0].function.parameters",
            code="invalid_function_parameters",
        )


def _schema_error(schema: Any) -> str | None:
    if not isinstance(schema, dict):
        return f"{schema!r} is not of type 'object'."
    kinds = schema.get("type", "object")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind not in ("string", "number", "integer", "boolean", "object", "array", "null"):
            return f"{kind!r} is not valid under any of the given schemas."
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if (
        not isinstance(properties, dict)
        or not isinstance(required, list)
        or not isinstance(schema.get("enum", []), list)
    ):
        return "schema must be a JSON Schema of 'type: \"object\"'."
    if not isinstance(schema.get("$defs") or {}, dict):
        return f"{schema['$defs']!r} is not of type 'object'."
    for name in ("anyOf", "oneOf", "allOf"):
        if not isinstance(schema.get(name) or [], list):
            return f"{schema[name]!r} is not of type 'array'."
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "minItems"):
        bound = schema.get(name, 0)
        if not isinstance(bound, int | float) or isinstance(bound, bool):
            return f"{bound!r} is not of type 'number'."
    alternatives = [one for name in ("anyOf", "oneOf", "allOf") for one in schema.get(name) or ()]
    defined = schema.get("$defs") or {}
    below = [*properties.values(), *([schema["items"]] if "items" in schema else []), *alternatives, *defined.values()]
    return next((wrong for wrong in map(_schema_error, below) if wrong is not None), None)


def tool_choice_of(choice: Any, functions: tuple[dict[str, Any], ...]) -> str:
    """Return a tool choice as one word: auto, none, required, or the name of the function.

    Args:
        choice: as the request has it.
        functions: those that are offered.

    Raises:
        ApiError: 400: the function is not among them.
    """
    if isinstance(choice, dict):
        nested = choice.get("function")
        name = nested.get("name") if isinstance(nested, dict) else choice.get("name")
        if choice.get("type") == "function" and name not in [function["name"] for function in functions]:
            raise ApiError(
                400,
                f"Invalid value for 'tool_choice': no function named '{name}' was specified in the 'tools' parameter.",
                param="tool_choice",
            )
        return name if isinstance(name, str) else "auto"
    return choice if isinstance(choice, str) else "auto"
