"""Long audio: the speech server returns many times as much audio as the text takes to speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams.sound import seconds_to_speak, wav
from harness.upstreams.wire import Reply

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange


class LongAudio(UpstreamFault, frozen=True, kw_only=True, tag="long_audio"):
    """A WAV that lasts `seconds`, and takes 16 kB for each of them, whatever the text; longer speech stays as it is."""

    upstream: str = "tts"
    seconds: float = 300.0
    """Length of the audio; 300 s are 4.8 MB."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("seconds", self.seconds, 0.0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        if seconds_to_speak(exchange.text) >= self.seconds:
            return None
        reply = proceed()
        if not reply.body.startswith(b"RIFF"):
            return reply
        return Reply(reply.status, wav(self.seconds), reply.headers, reply.after_s)
