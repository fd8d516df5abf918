"""What a curve over the number of streams says: where it is level, where it leaves that, and the line through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RISE = 0.2


@dataclass(frozen=True)
class Knee:
    """Of a cost per stream: what falls at first, because fixed costs are shared, is then level, and may rise."""

    level: float
    """The least of it."""
    level_from: int
    """The first number of streams within 20 % of that."""
    rises_at: int | None
    """The first number of streams behind the least that is more than 20 % above it; None: there is none."""


def knee(n_streams: Sequence[int], cost: Sequence[float]) -> Knee | None:
    """Of costs per stream at ascending numbers of streams; None when there are none."""
    if not cost:
        return None
    at_least = min(range(len(cost)), key=cost.__getitem__)
    bound = (1 + RISE) * cost[at_least]
    level_from = next(n for n, value in zip(n_streams, cost, strict=True) if value <= bound)
    behind = zip(n_streams[at_least:], cost[at_least:], strict=True)
    return Knee(cost[at_least], level_from, next((n for n, value in behind if value > bound), None))


@dataclass(frozen=True)
class Line:
    """`fixed + per_stream * n`."""

    fixed: float
    per_stream: float
    worst: float
    """The largest distance of a point from it, as a share of what the line says there."""


def line(n_streams: Sequence[int], total: Sequence[float]) -> Line | None:
    """The line of least squares; None of fewer than three points: through two there is always one."""
    if len(total) < 3:
        return None
    per_stream, fixed = (float(value) for value in np.polyfit(n_streams, total, 1))
    said = [fixed + per_stream * n for n in n_streams]
    worst = max(abs(have - want) / abs(want) if want else 0.0 for have, want in zip(total, said, strict=True))
    return Line(fixed, per_stream, worst)
