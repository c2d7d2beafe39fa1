"""What is a percentile of raw samples?"""

from __future__ import annotations

import math
from collections.abc import Iterable


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that at least `percent` % of the values do not exceed.

    It is always one of the values, so it can be infinite where a request never ended; nothing is interpolated.

    Args:
        values: at least one.
        percent: above 0, up to 100.

    Raises:
        ValueError: there is no value, or `percent` is out of range.
    """
    if not 0 < percent <= 100:
        msg = f"percentile {percent}: expected more than 0 and at most 100"
        raise ValueError(msg)
    ordered = sorted(values)
    if not ordered:
        msg = "a percentile of no values does not exist"
        raise ValueError(msg)
    # 99.9 / 100 * 1000 is 999.0000000000001: without the allowance the rank would be one too high.
    rank = math.ceil(percent / 100 * len(ordered) - 1e-9)
    return ordered[max(rank, 1) - 1]
