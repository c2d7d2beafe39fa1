"""How long does an upstream take? Three profiles, a scale, and a draw that depends on what is asked, not on when."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal

import msgspec

from harness.upstreams.chance import fraction

Profile = Literal["fast", "documented", "realistic"]
_NORMAL = NormalDist()


class Span(msgspec.Struct, frozen=True):
    """Evenly between two durations, plus a share for every character that is worked on."""

    low_s: float
    high_s: float
    per_character_s: float = 0.0

    def draw(self, quantile: float, characters: int) -> float:
        """Return the duration in seconds at `quantile` (0 to 1)."""
        return self.low_s + (self.high_s - self.low_s) * quantile + self.per_character_s * characters


class LogNormal(msgspec.Struct, frozen=True):
    """Log-normal, as real services are, with an optional slow tail."""

    median_s: float
    sigma: float
    per_character_s: float = 0.0
    tail_share: float = 0.0
    tail_low_s: float = 0.0
    tail_high_s: float = 0.0

    def draw(self, quantile: float, characters: int) -> float:
        """Return the duration in seconds at `quantile` (0 to 1); the tail is the uppermost share of the quantiles."""
        if quantile >= 1.0 - self.tail_share and self.tail_share:
            within = (quantile - 1.0 + self.tail_share) / self.tail_share
            return self.tail_low_s + (self.tail_high_s - self.tail_low_s) * within
        body = min(max(quantile / (1.0 - self.tail_share), 1e-9), 1.0 - 1e-9)
        return self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(body)) + self.per_character_s * characters


Duration = Span | LogNormal

# What is being done -> how long it takes. `fast` is for development and quick runs: a run is over in 30 to 60 ms, and
# the emotion server still takes longer for long texts, since overloading it with them is one of the attacks.
FAST: dict[str, Duration] = {
    "read": Span(0.001, 0.002),
    "write": Span(0.001, 0.003),
    "assistant": Span(0.005, 0.010),
    "run_queue": Span(0.004, 0.008),
    "model_turn": Span(0.020, 0.045),
    "cancel": Span(0.005, 0.010),
    "first_token": Span(0.010, 0.020),
    "token": Span(0.0005, 0.001),
    "speech": Span(0.004, 0.010, 0.0001),
    "voicevox": Span(0.005, 0.010, 0.0002),
    "emotion": Span(0.002, 0.005, 0.00002),
    "time": Span(0.003, 0.006),
    "weather": Span(0.004, 0.010),
    "fortune": Span(0.002, 0.004),
    "news": Span(0.004, 0.010),
    "other": Span(0.001, 0.003),
}

# The documented trace of one request: get_time 1.2 s, weather 3.5 s, fortune 0.8 s, 15.9 s in all; an assistant takes
# 5-10 s to create. Model turns and speech are what is left of the trace.
DOCUMENTED: dict[str, Duration] = {
    "read": Span(0.15, 0.25),
    "write": Span(0.20, 0.40),
    "assistant": Span(5.0, 10.0),
    "run_queue": Span(0.4, 0.6),
    "model_turn": Span(2.5, 3.5),
    "cancel": Span(0.3, 0.6),
    "first_token": Span(0.8, 1.0),
    "token": Span(0.010, 0.020),
    "speech": Span(0.5, 0.7, 0.045),
    "voicevox": Span(2.1, 2.1, 0.053),
    "emotion": Span(0.1, 0.2, 0.001),
    "time": Span(1.2, 1.2),
    "weather": Span(3.5, 3.5),
    "fortune": Span(0.8, 0.8),
    "news": Span(1.0, 1.4),
    "other": Span(0.2, 0.3),
}

# Model: first token log-normal, median 0.9 s, sigma 0.5, then 45-130 tokens/s. A run: 0.5 s queue, 3 s per turn, sigma
# 0.7, one in a hundred 60-90 s. Speech: first byte 0.6 s, sigma 0.4, then three times real time.
REALISTIC: dict[str, Duration] = {
    "read": LogNormal(0.12, 0.4),
    "write": LogNormal(0.20, 0.4),
    "assistant": Span(5.0, 10.0),
    "run_queue": LogNormal(0.5, 0.4),
    "model_turn": LogNormal(3.0, 0.7, tail_share=0.01, tail_low_s=60.0, tail_high_s=90.0),
    "cancel": LogNormal(0.4, 0.4),
    "first_token": LogNormal(0.9, 0.5),
    "token": Span(1 / 130, 1 / 45),
    "speech": LogNormal(0.6, 0.4, per_character_s=0.045),
    "voicevox": LogNormal(2.1, 0.1, per_character_s=0.053),
    "emotion": LogNormal(0.15, 0.3, per_character_s=0.001),
    "time": LogNormal(1.2, 0.2),
    "weather": LogNormal(3.5, 0.2),
    "fortune": LogNormal(0.8, 0.2),
    "news": LogNormal(1.2, 0.3),
    "other": LogNormal(0.2, 0.4),
}

PROFILES: dict[Profile, dict[str, Duration]] = {"fast": FAST, "documented": DOCUMENTED, "realistic": REALISTIC}

# What `openai-poll-after-ms` advises: the client's own pace is once a second.
_POLL_AFTER_S: dict[Profile, float] = {"fast": 0.010, "documented": 1.0, "realistic": 0.5}


class Latency:
    """The latencies of one epoch.

    Args:
        profile: which table.
        scale: multiplies every latency; 0 answers at once.
        seed: the epoch's seed.
    """

    def __init__(self, profile: Profile = "fast", scale: float = 1.0, seed: int = 0) -> None:
        self.profile = profile
        self.scale = scale
        self._seed = seed
        self._durations = PROFILES[profile]

    def draw(self, doing: str, subject: str, ordinal: int, characters: int = 0) -> float:
        """Return seconds.

        Args:
            doing: a key of the profile, e.g. "weather".
            subject: mark, else conversation, else what is asked: the same subject waits equally long in every run.
            ordinal: how often this was asked before for the same subject.
            characters: length of the text that is worked on.
        """
        if self.scale == 0.0:
            return 0.0
        return self.scale * self._durations[doing].draw(fraction(self._seed, subject, doing, ordinal), characters)

    @property
    def poll_after_ms(self) -> int:
        """What a client is advised to wait between two looks at a run, at least 1 ms."""
        return max(1, round(1000 * self.scale * _POLL_AFTER_S[self.profile]))
