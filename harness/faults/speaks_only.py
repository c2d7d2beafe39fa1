"""Speaks only: the speech server stops after so many characters, in the middle of a sentence, without a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams.sound import seconds_to_speak, wav
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange


class SpeaksOnly(UpstreamFault, frozen=True, kw_only=True, tag="speaks_only"):
    """The audio is that of the first `characters` characters of the text; shorter texts are spoken whole."""

    upstream: str = "tts"
    characters: int = 40
    """As documented of the agent's own server."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("characters", self.characters, 0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        if len(exchange.text) <= self.characters:
            return None
        reply = proceed()
        if not reply.body.startswith(b"RIFF"):
            return reply
        audio = wav(seconds_to_speak(exchange.text[: self.characters]))
        return Reply(reply.status, audio, reply.headers, reply.after_s)
