"""Does it grow? The slope of a line through measurements that resemble their neighbours, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def slope(x: Sequence[float], y: Sequence[float], n_batches: int = 10) -> tuple[float, float]:
    """Of a line through the samples, and half its 95 % interval. The samples are averaged in batches, whose means are
    nearly independent of each other: neighbouring samples are not.
    """
    batches = np.array_split(np.stack([x, y]), min(n_batches, len(x)), axis=1)
    at, mean = np.array([batch.mean(axis=1) for batch in batches]).T
    at = at - at.mean()
    rise = (at @ mean) / (at @ at)
    rest = mean - mean.mean() - rise * at
    error = np.sqrt(rest @ rest / (len(mean) - 2) / (at @ at))
    student_t = {8: 2.306, 7: 2.365, 6: 2.447, 5: 2.571, 4: 2.776, 3: 3.182, 2: 4.303, 1: 12.706}
    return float(rise), float(student_t[len(mean) - 2] * error)


Verdict = Literal["grows", "even", "open"]


def verdict(rise: float, half: float, allowed: float) -> Verdict:
    """`grows`: more than allowed, and that is no chance; `even`: less than allowed, and that is no chance; otherwise
    `open`.
    """
    if rise > allowed and rise - half > 0:
        return "grows"
    return "even" if rise + half <= allowed else "open"
