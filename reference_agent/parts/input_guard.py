"""Is this something that we are willing to work on?"""

from __future__ import annotations

import unicodedata
from typing import Protocol

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


class DocumentedInputGuard:
    """Takes everything, whatever its length."""

    def check(self, user_id: object, message: object) -> tuple[str, str]:
        return str(user_id), str(message)


class HardenedInputGuard:
    """Bounds lengths, refuses what is not text, drops control characters; leaves all else as it was written."""

    def __init__(self, settings: Settings) -> None:
        self._message_chars = settings.message_chars
        self._user_id_chars = settings.user_id_chars

    def check(self, user_id: object, message: object) -> tuple[str, str]:
        if not isinstance(user_id, str) or not user_id.strip():
            raise Refused(422, "user_id_missing", "user_id must be a text that is not empty.")
        if len(user_id) > self._user_id_chars:
            raise Refused(422, "user_id_too_long", f"user_id must not be longer than {self._user_id_chars} characters.")
        if not isinstance(message, str):
            raise Refused(422, "message_missing", "message must be a text.")
        if len(message) > self._message_chars:
            # Before anything looks at the text: what follows takes time in proportion to its length.
            raise Refused(413, "message_too_long", f"メッセージは{self._message_chars}文字までにしてにゃん")
        if any("\ud800" <= character <= "\udfff" for character in message + user_id):
            raise Refused(422, "not_unicode", "The text holds half a surrogate pair; send valid Unicode.")
        clean = "".join(c for c in message if c in "\n\t" or unicodedata.category(c) != "Cc")
        if not clean.strip():
            raise Refused(422, "message_empty", "なにか話しかけてにゃん")
        return user_id, clean


VARIANTS = {
    "documented": DocumentedInputGuard,
    "proposed": DocumentedInputGuard,  # nothing was proposed
    "hardened": HardenedInputGuard,
}
