"""Speaks only: the speech server stops after so many characters, in the middle of a sentence, without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams.sound import seconds_to_speak

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class SpeaksOnly(UpstreamFault, frozen=True, kw_only=True, tag="speaks_only"):
    """The audio is that of the first `characters` characters of the text; shorter texts are spoken whole."""

    upstream: str = "tts"
    characters: int = 40
    """As documented of the agent's own server."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("characters", self.characters, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        text = exchange.text
        if len(text) <= self.characters:
            return None
        share = seconds_to_speak(text[: self.characters]) / seconds_to_speak(text)
        return exchange.with_speech(lambda seconds: share * seconds, proceed)
