"""To which turn of a user does a call belong?

A turn is what a user says and all that is done until it is answered: rounds of tools, and what is tried again. It is
named by the mark in what was said, which no other turn has; else by its place in its conversation; else, where requests
bring their whole history along, by the first tool call since the user's latest message: its id is in every later round.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from harness.upstreams.exchange import mark_in


class Talk(msgspec.Struct, eq=False, kw_only=True):
    """A conversation that is kept, as far as it tells whose turn a call is of."""

    id: str
    mark: str | None = None
    """The latest mark in what its user said."""
    said: str = ""
    """The latest message of the user."""
    turn: str | None = None
    """What the user's latest turn is called; None before the first."""
    turn_number: int = 0
    """Which one it is, from 1."""
    _turn_is: Literal["said", "asked", "answered"] = "answered"
    """Nobody was asked about the latest message yet; the model was; there is an answer."""

    def hear(self, text: str) -> None:
        """The user says something: within the turn that is under way, or as the beginning of the next."""
        begins = not self._goes_on_with(text)
        self.turn = self.turn_of(text)
        self.turn_number += begins
        self.mark = mark_in(text) or self.mark
        self.said = text
        self._turn_is = "said"

    def turn_of(self, text: str) -> str | None:
        """Return what the turn is called to which this message of the user would belong."""
        mark = mark_in(text)
        if mark is not None or self._goes_on_with(text):
            return mark or self.turn
        return turn_name(self.id, self.turn_number + 1)

    def _goes_on_with(self, text: str) -> bool:
        # What was never answered, and is said again in the same words, is tried again.
        return self._turn_is == "said" or (self._turn_is == "asked" and text == self.said)

    def was_asked(self) -> None:
        """Note that the model is asked for an answer."""
        self._turn_is = "asked"

    def was_answered(self) -> None:
        """Note that there is an answer: what the user says next is a turn of its own."""
        self._turn_is = "answered"


def turn_name(conversation: str, number: int) -> str:
    """Return what a turn is called whose user said nothing that names it."""
    return f"{conversation}/{number}"
