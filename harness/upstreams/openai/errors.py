"""What does OpenAI say when it refuses? `{"error": {"message", "type", "param", "code"}}`, its own for each status."""

from __future__ import annotations

from typing import Any

from harness.upstreams.wire import Reply, json_reply


class ApiError(Exception):
    """A call that the API refuses."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type_: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type_
        self.param = param
        self.code = code
        self.headers: tuple[tuple[str, str], ...] = ()


def not_found(what: str, id_: str) -> ApiError:
    """Return the 404 of the Assistants API, e.g. for ("thread", "thread_1")."""
    return ApiError(404, f"No {what} found with id '{id_}'.")


def missing(param: str) -> ApiError:
    """Return the 400 for a parameter that is required."""
    return ApiError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def wrong_type(param: str, expected: str, value: Any) -> ApiError:
    """Return the 400 for a value of the wrong type."""
    got = {bool: "a boolean", int: "an integer", float: "a decimal number", str: "a string", list: "an array"}.get(
        type(value), "null" if value is None else "an object"
    )
    return ApiError(
        400,
        f"Invalid type for '{param}': expected {expected}, but got {got} instead.",
        param=param,
        code="invalid_type",
    )


def wrong_value(param: str, value: Any, supported: tuple[str, ...]) -> ApiError:
    """Return the 400 for a value that is none of those supported."""
    listed = ", ".join(f"'{one}'" for one in supported[:-1]) + (" and " if len(supported) > 1 else "")
    return ApiError(
        400,
        f"Invalid value: '{value}'. Supported values are: {listed}'{supported[-1]}'.",
        param=param,
        code="invalid_value",
    )


# status -> (message, type, code), as the API words them.
_BY_STATUS: dict[int, tuple[str, str, str | None]] = {
    400: ("We could not parse the JSON body of your request.", "invalid_request_error", None),
    401: (
        "Incorrect API key provided: sk-****. You can find your API key at"
        " https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    403: (
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    404: ("The requested resource was not found.", "invalid_request_error", None),
    408: ("Request timed out.", "server_error", "request_timeout"),
    409: ("The resource was modified by another request. Please retry.", "invalid_request_error", "conflict"),
    413: ("Request body is too large.", "invalid_request_error", "request_too_large"),
    429: (
        "Rate limit reached for gpt-4o in organization org-standin on requests per min (RPM): Limit 500, Used 500,"
        " Requested 1. Please try again in 120ms. Visit https://platform.openai.com/account/rate-limits to learn more.",
        "requests",
        "rate_limit_exceeded",
    ),
    500: (
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        None,
    ),
    503: (
        "That model is currently overloaded with other requests. You can retry your request.",
        "service_unavailable_error",
        "server_is_overloaded",
    ),
    529: ("Overloaded.", "service_unavailable_error", "server_is_overloaded"),
}


def error_body(message: str, type_: str, param: str | None, code: str | None) -> dict[str, Any]:
    """Return the document of an error."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def error_reply(status: int, message: str | None = None) -> Reply:
    """Return the error that the API gives with a status; 502 comes from the proxy before it, in HTML."""
    if status == 502:
        page = (
            "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center><h1>502 Bad Gateway</h1>"
            "</center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
        )
        return Reply(502, page.encode(), (("content-type", "text/html"),))
    words, type_, code = _BY_STATUS.get(status, (f"Error {status}.", "server_error", None))
    return json_reply(error_body(message or words, type_, None, code), status=status)
