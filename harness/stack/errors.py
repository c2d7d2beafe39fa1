"""How does the supervisor say that something does not work?"""

from __future__ import annotations


class StackError(Exception):
    """One sentence for the reader: what was wrong, what was expected, what to do.

    Args:
        message: the sentence.
        exit_code: 2 where what was given is wrong, 4 where something that is needed does not work.
        status: the HTTP status under which the API answers it.
    """

    def __init__(self, message: str, *, exit_code: int = 4, status: int = 502) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.status = status
