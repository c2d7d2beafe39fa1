"""Long audio: the speech server returns many times as much audio as the text takes to speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, above_0, from_to

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply


class LongAudio(UpstreamFault, frozen=True, kw_only=True, tag="long_audio"):
    """Speech that lasts `seconds`, whatever the text; longer speech stays as it is."""

    upstream: str = "tts"
    seconds: float = 300.0
    """Length of the audio, at most an hour; 300 s are 4.8 MB, of OpenAI three times that."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        from_to("seconds", self.seconds, 0.0, 3600.0)
        above_0("`seconds`", self.seconds)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply:
        return exchange.with_speech(lambda seconds: max(seconds, self.seconds), proceed)
