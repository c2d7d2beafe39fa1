"""What is a control API? JSON calls at a port of their own, carried out at once, of which nothing is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import msgspec

from harness.upstreams.exchange import decoded
from harness.upstreams.routing import Routes, routes_of
from harness.upstreams.served import Unrecorded
from harness.upstreams.wire import Reply, Request, json_reply


class ControlCall:
    """One call to a control API."""

    def __init__(self, request: Request, params: dict[str, str]) -> None:
        self.request = request
        self.params = params
        self.reply: Reply | None = None
        self.fault: str | None = None
        self.fault_id: str | None = None

    @property
    def json(self) -> Any:
        """The body as JSON; an empty body is an empty object.

        Raises:
            ValueError: it is no JSON, or nested deeper than anybody reads.
        """
        try:
            return decoded(self.request.body or b"{}")
        except msgspec.DecodeError as error:
            msg = f"The body cannot be read as JSON: {error}."
            raise ValueError(msg) from error

    @property
    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ValueError: it is none.
        """
        body = self.json
        if not isinstance(body, dict):
            msg = f"The body is {_excerpt(body)}, expected a JSON object."
            raise ValueError(msg)
        return body

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name."""
        return {name: values[-1] for name, values in parse_qs(self.request.query).items()}

    def check_parameters(self, names: tuple[str, ...]) -> None:
        """Refuse parameters that would choose nothing, since everything would be taken for what was asked for.

        Raises:
            ValueError: there are others than these, or one without a value.
        """
        for name, text in parse_qsl(self.request.query, keep_blank_values=True):
            if name not in names:
                msg = f"There is no parameter `{name}` here; expected {', '.join(names) or 'none'}."
                raise ValueError(msg)
            if not text:
                msg = f"`{name}` is empty. In an address, the # of a mark is written %23; it may be left out."
                raise ValueError(msg)

    def number(self, name: str) -> int | None:
        """Return a parameter that is a whole number, None where it is absent.

        Raises:
            ValueError: it is none.
        """
        text = self.query.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            msg = f"`{name}` is {text!r}, expected a whole number."
            raise ValueError(msg)
        return int(text)


class ControlApi(Unrecorded):
    """Parent of the control APIs: what answers a route is a method `(call) -> Reply` marked with `routed`.

    Such a method raises ValueError, in one clear sentence, where what was asked makes no sense: this is answered 400.
    """

    parameters: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - children replace it, nobody changes it
    """What queries may say, by route; of the others nothing."""

    def __init__(self) -> None:
        self._routes: Routes[Callable[..., object]] = routes_of(self)

    def begin(self, request: Request) -> ControlCall:
        """Do what was asked, at once."""
        found = self._routes.find(request.method, request.path)
        if found is None:
            call = ControlCall(request, {})
            known = ", ".join(self._routes.templates)
            call.reply = refusal(404, f"There is no {request.method} {request.path} here. There is: {known}.")
            return call
        template, do, params = found
        call = ControlCall(request, params)
        try:
            call.check_parameters(self.parameters.get(template, ()))
            reply = do(call)
            assert isinstance(reply, Reply)
            call.reply = reply
        except (ValueError, msgspec.ValidationError) as error:
            call.reply = refusal(400, str(error))
        return call


def refusal(status: int, message: str) -> Reply:
    """Return what is answered where nothing was done: one clear sentence."""
    return json_reply({"error": message}, status=status)


def _excerpt(document: Any) -> str:
    """Return the beginning of a document, as JSON."""
    text = msgspec.json.encode(document).decode()
    return text if len(text) <= 40 else f"{text[:40]}…"
