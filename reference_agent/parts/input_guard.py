"""Is this something that we are willing to work on?"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Protocol

from reference_agent.conversation import BadArguments
from reference_agent.errors import Refused
from reference_agent.settings import Settings


class InputGuard(Protocol):
    """Looks at a request before anything is spent on it."""

    def check(self, user_id: object, message: object) -> tuple[str, str]:
        """Return user id and message as they are to be used.

        Raises:
            Refused: it is not to be worked on.
        """
        ...

    def check_user(self, user_id: object) -> str:
        """Return a user id as it is to be used, where nothing is said.

        Raises:
            Refused: it is none.
        """
        ...

    def tool_arguments(self, tool: str, arguments: str) -> dict[str, Any]:
        """Return what the model gives a tool, as it is to be used.

        Args:
            tool: its name.
            arguments: the JSON text as the model wrote it, which is what a user made it write.

        Raises:
            BadArguments: it is no JSON object, or too much.
        """
        ...


class DocumentedInputGuard:
    """Takes everything, whatever its length."""

    def tool_arguments(self, tool: str, arguments: str) -> dict[str, Any]:
        return _object_in(arguments)

    def check(self, user_id: object, message: object) -> tuple[str, str]:
        return str(user_id), str(message)

    def check_user(self, user_id: object) -> str:
        return str(user_id)


def _object_in(arguments: str) -> dict[str, Any]:
    try:
        read = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        msg = "the arguments are not JSON"
        raise BadArguments(msg) from None
    if not isinstance(read, dict):
        msg = "the arguments are not a JSON object"
        raise BadArguments(msg)
    return read


_TOOL_CHARS = {"calculate": 200, "get_weather": 100, "get_time": 64, "get_fortune": 40, "get_news": 16}
"""The longest text that makes sense to a tool; to any other, what a user may say."""
_TOOL_ARGUMENTS = 10
_JSON_OVERHEAD = 6  # characters that JSON may take for one: \\u3042


class HardenedInputGuard:
    """Bounds lengths, refuses what is not text, drops control characters; leaves all else as it was written.

    What a tool is given is bounded tool by tool: the longest message still makes no sense as the name of a city.
    """

    def __init__(self, settings: Settings) -> None:
        self._message_chars = settings.message_chars
        self._user_id_chars = settings.user_id_chars

    def check_user(self, user_id: object) -> str:
        if not isinstance(user_id, str) or not user_id.strip():
            raise Refused(422, "user_id_missing", plainly="user_id must be a text that is not empty.")
        if len(user_id) > self._user_id_chars:
            plainly = f"user_id must not be longer than {self._user_id_chars} characters."
            raise Refused(422, "user_id_too_long", plainly=plainly)
        _expect_unicode(user_id)
        return user_id

    def check(self, user_id: object, message: object) -> tuple[str, str]:
        user = self.check_user(user_id)
        if not isinstance(message, str):
            raise Refused(422, "message_missing", plainly="message must be a text.")
        if len(message) > self._message_chars:
            # Before anything looks at the text: what follows takes time in proportion to its length.
            raise Refused(413, "message_too_long", most=self._message_chars)
        _expect_unicode(message)
        clean = _without_control(message)
        if all(unicodedata.category(c) in _INVISIBLE for c in clean):
            raise Refused(422, "message_empty")
        return user, clean

    def tool_arguments(self, tool: str, arguments: str) -> dict[str, Any]:
        most = min(_TOOL_CHARS.get(tool, self._message_chars), self._message_chars)
        if len(arguments) > _JSON_OVERHEAD * (self._message_chars + _TOOL_ARGUMENTS * _TOOL_CHARS["calculate"]):
            msg = "the arguments are too long"
            raise BadArguments(msg)
        given = _object_in(arguments)
        if len(given) > _TOOL_ARGUMENTS:
            msg = f"more than {_TOOL_ARGUMENTS} arguments"
            raise BadArguments(msg)
        return {name: self._bounded(name, value, most) for name, value in given.items()}

    @staticmethod
    def _bounded(name: str, value: object, most: int) -> object:
        if isinstance(value, dict | list):
            msg = f"{name[:_NAME_CHARS]} must be a text, a number, true or false"
            raise BadArguments(msg)
        if not isinstance(value, str):
            return value
        if len(value) > most:
            msg = f"{name[:_NAME_CHARS]} is longer than {most} characters"
            raise BadArguments(msg)
        if _has_half_a_pair(value):
            msg = f"{name[:_NAME_CHARS]} is not valid Unicode"
            raise BadArguments(msg)
        return _without_control(unicodedata.normalize("NFC", value))


_NAME_CHARS = 40
_INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Categories of which nothing can be seen: a message of zero-width spaces is as empty as one of spaces."""


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # category Cc, but for tabs and ends of lines


def _without_control(text: str) -> str:
    return _CONTROL.sub("", text)


def _expect_unicode(text: str) -> None:
    if _has_half_a_pair(text):
        raise Refused(422, "not_unicode", plainly="The text holds half a surrogate pair; send valid Unicode.")


def _has_half_a_pair(text: str) -> bool:
    return not text.isascii() and _HALF_A_PAIR.search(text) is not None


_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


VARIANTS = {
    "documented": DocumentedInputGuard,
    "proposed": DocumentedInputGuard,  # nothing was proposed
    "hardened": HardenedInputGuard,
}
