"""Crash on emoji: text with an emoji in it kills the server, which then takes a while to come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.faults.fault import UpstreamFault, at_least
from harness.upstreams import wire

if TYPE_CHECKING:
    from harness.upstreams.exchange import Exchange
    from harness.upstreams.wire import Reply

# Pictographs, symbols with emoji presentation, regional indicators (flags), the variation selector and the joiner of
# emoji sequences. Not the music note, the stars and the arrows of ordinary Japanese text.
_EMOJI = (
    (0x1F000, 0x1FAFF),
    (0x2600, 0x2604),
    (0x2614, 0x2615),
    (0x2648, 0x2653),
    (0x26A1, 0x26A1),
    (0x2702, 0x27B0),
    (0x2B50, 0x2B55),
    (0xFE0F, 0xFE0F),
    (0x200D, 0x200D),
)


def has_emoji(text: str) -> bool:
    """Return whether a text contains an emoji."""
    return not text.isascii() and any(low <= ord(letter) <= high for letter in text for low, high in _EMOJI)


class CrashOnEmoji(UpstreamFault, frozen=True, kw_only=True, tag="crash_on_emoji"):
    """A call whose text has an emoji resets every connection of its upstream, which is down for `down_s`."""

    upstream: str = "tts"
    down_s: float = 2.0
    """Seconds until the server is up again."""

    def validate(self) -> None:
        UpstreamFault.validate(self)
        at_least("down_s", self.down_s, 0.0)

    def around(self, exchange: Exchange, proceed: Callable[[], Reply], draw: float) -> Reply | None:
        if not has_emoji(exchange.text):
            return None
        return wire.scripted((wire.GoDown(self.down_s),))
