"""How sure is a share that was counted in a sample? The Wilson score interval."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

Z_95: Final = 1.959963984540054
"""Standard normal quantile that leaves 2.5 % on either side."""


class Interval(NamedTuple):
    """Bounds of a share, each 0 to 1."""

    low: float
    high: float


def interval(successes: int, trials: int, z: float = Z_95) -> Interval:
    """Return the Wilson score interval of `successes` in `trials`.

    Chosen over the textbook interval because it stays within 0 to 1 and stays honest at 0 and at all successes, which
    is where an availability is (Wilson 1927; Brown, Cai and DasGupta 2001).

    Args:
        successes: 0 to `trials`.
        trials: 0 and up; of none, the interval is everything.
        z: standard normal quantile; the default gives 95 %.

    Raises:
        ValueError: `successes` is not within 0 to `trials`.
    """
    if not 0 <= successes <= trials:
        msg = f"{successes} successes of {trials} trials: expected 0 to {trials}"
        raise ValueError(msg)
    if trials == 0:
        return Interval(0.0, 1.0)
    share = successes / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # The ends are exact by algebra, but not in floating point.
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == trials else min(1.0, middle + half)
    return Interval(low, high)


def trials_to_show(share: float, z: float = Z_95) -> int | None:
    """Return how many trials, all successes, it takes for the lower bound to reach `share`; None where none suffice."""
    return None if share >= 1 else math.ceil(share * z * z / (1 - share) - 1e-9)


def trials_to_tell(observed: float, share: float, z: float = Z_95) -> int | None:
    """Return about how many trials it takes to tell an observed share from `share`; None where they are the same."""
    distance = abs(observed - share)
    return (
        None
        if distance < 1e-9
        else math.ceil(z * z * max(observed * (1 - observed), share * (1 - share)) / distance**2)
    )
