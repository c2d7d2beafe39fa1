"""How can a line between two hosts break? Five faults: frozen records whose fields are their JSON configuration.

A fault says what it does to a connection as an `Effect`, a value; `harness.proxy.link` carries it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from harness.faults.fault import Family, Fault, above_0, at_least, check_share

Direction = Literal["up", "down"]
"""up: from the caller to the upstream; down: back."""


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to what is sent over a connection, in one direction."""

    delay_s: float = 0.0
    bytes_per_s: float = math.inf
    holds: bool = False
    """Nothing passes."""
    resets_after_bytes: float = math.inf
    """Bytes since the fault met the connection."""
    loses_far_side: bool = False
    """The upstream's side is gone, and the caller is not told."""

    def __or__(self, other: Effect) -> Effect:
        return Effect(
            delay_s=self.delay_s + other.delay_s,
            bytes_per_s=min(self.bytes_per_s, other.bytes_per_s),
            holds=self.holds or other.holds,
            resets_after_bytes=min(self.resets_after_bytes, other.resets_after_bytes),
            loses_far_side=self.loses_far_side or other.loses_far_side,
        )


NO_EFFECT = Effect()


def together(effects: Iterable[Effect]) -> Effect:
    """Return the effect of several at once: delays add up, the narrowest line counts."""
    combined = NO_EFFECT
    for effect in effects:
        combined |= effect
    return combined


class LineFault(Fault, frozen=True, kw_only=True):
    """Parent of what a line can suffer."""

    family: ClassVar[Family] = "network"
    to_answers: ClassVar[str]
    """The fault that does to an upstream's answers what this one does to a line."""

    proxy: str | None = None
    """Which of the target's proxies; a proxy by itself does not ask."""
    direction: Literal["up", "down", "both"] = "both"
    """Which way it concerns: up is from the caller to the upstream."""
    probability: float = 1.0
    """Share of the connections that it meets, drawn from the seed."""
    times: int | None = None
    """How many connections it meets at most; None: all."""

    def validate(self) -> None:
        check_share(self.probability, self.times)

    def concerns(self, direction: Direction) -> bool:
        """Return whether it concerns what is sent this way."""
        return self.direction in ("both", direction)

    def effect(self, draw: float) -> Effect:
        """Return what it does to one piece of data.

        Args:
            draw: a number in [0, 1) for this piece, the same for the same seed.
        """
        raise NotImplementedError


class Latency(LineFault, frozen=True, kw_only=True, tag="latency"):
    """Whatever is sent arrives later. The line stays as wide as it was: pieces travel side by side."""

    to_answers = "slow"

    delay_s: float
    """Seconds, one way."""
    jitter_s: float = 0.0
    """Seconds added at most on top, drawn for each piece; the order stays."""

    def validate(self) -> None:
        LineFault.validate(self)
        at_least("delay_s", self.delay_s, 0.0)
        at_least("jitter_s", self.jitter_s, 0.0)
        above_0("the latency of `delay_s` and `jitter_s`", self.delay_s, self.jitter_s)

    def effect(self, draw: float) -> Effect:
        return Effect(delay_s=self.delay_s + self.jitter_s * draw)


class Bandwidth(LineFault, frozen=True, kw_only=True, tag="bandwidth"):
    """So many bytes a second and no more, for each connection and each way; who sends more has to wait."""

    to_answers = "bandwidth"

    bytes_per_s: float

    def validate(self) -> None:
        LineFault.validate(self)
        at_least("bytes_per_s", self.bytes_per_s, 1.0)

    def effect(self, draw: float) -> Effect:
        return Effect(bytes_per_s=self.bytes_per_s)


class Reset(LineFault, frozen=True, kw_only=True, tag="reset"):
    """A true RST to both sides, at once or when so many bytes have passed since the fault met the connection."""

    to_answers = "reset"

    after_bytes: int = 0
    """Counted in the direction that is concerned; with `both`, in each by itself."""

    def validate(self) -> None:
        LineFault.validate(self)
        at_least("after_bytes", self.after_bytes, 0)

    def effect(self, draw: float) -> Effect:
        return Effect(resets_after_bytes=self.after_bytes)


class Blackhole(LineFault, frozen=True, kw_only=True, tag="blackhole"):
    """Nothing arrives and nobody is told. What was sent meanwhile arrives when it is lifted, as TCP sends it again."""

    to_answers = "blackhole"

    def effect(self, draw: float) -> Effect:
        return Effect(holds=True)


class HalfOpen(LineFault, frozen=True, kw_only=True, tag="half_open"):
    """The upstream's host is gone without a word: what the caller sends is taken and never answered.

    Connections that it has met stay dead. Once it is lifted, what is sent over them is answered with a RST, as by a
    host that has come back and knows nothing of them.
    """

    to_answers = "hang"

    def validate(self) -> None:
        LineFault.validate(self)
        if self.direction != "both":
            msg = f"`direction` is {self.direction!r}, expected none: a host is gone in both directions."
            raise ValueError(msg)

    def effect(self, draw: float) -> Effect:
        return Effect(loses_far_side=True)


LINE_FAULTS: dict[str, type[LineFault]] = {
    str(one.__struct_config__.tag): one for one in sorted(LineFault.__subclasses__(), key=lambda one: one.__name__)
}
"""By the names that JSON calls them."""
