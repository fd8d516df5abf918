"""When clients come, and for how long: a day's curve, Poisson arrivals, session lengths."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

DAY_S = 86_400.0
SESSION_S, SESSION_SIGMA = 300.0, 1.0
"""Mean session, and the sigma of its logarithm (log-normal: the median is 3 minutes). An assumption."""
NIGHT = 0.15
"""The least load of a day, as a share of the largest. An assumption."""
PEAKS_H = ((11.0, 2.5, 1.0), (16.5, 2.5, 0.95))
"""Hour, width in hours and height of the peaks of a working day. An assumption."""


class Sessions(NamedTuple):
    """Arrays with a place for each session: when it comes, how long it stays, and where its speech begins."""

    at_s: Any
    length_s: Any
    first: Any

    def live_s(self, end_s: float) -> float:
        """Seconds of all streams until `end_s`."""
        return float(np.sum(np.clip(np.minimum(self.at_s + self.length_s, end_s) - self.at_s, 0, None)))

    def most_at_once(self, end_s: float) -> int:
        """Streams that are there at the same time, if nobody is refused."""
        came = np.sort(self.at_s[self.at_s < end_s])
        went = np.sort((self.at_s + self.length_s)[self.at_s < end_s])
        return int(np.max(np.arange(1, len(came) + 1) - np.searchsorted(went, came), initial=1))


def lengths(dice: np.random.Generator, n: int, mean_s: float = SESSION_S, sigma: float = SESSION_SIGMA) -> Any:
    return dice.lognormal(np.log(mean_s) - sigma**2 / 2, sigma, n)


def day(hour: Any) -> Any:
    """The load at an hour of the day, as a share of the largest."""
    hour = np.asarray(hour, dtype=float)
    hump = sum(height * np.exp(-(((hour - at + 12) % 24 - 12) ** 2) / (2 * width**2)) for at, width, height in PEAKS_H)
    every = np.arange(0, 24, 0.01)
    top = max(
        sum(height * np.exp(-(((h - at + 12) % 24 - 12) ** 2) / (2 * width**2)) for at, width, height in PEAKS_H)
        for h in every
    )
    return NIGHT + (1 - NIGHT) * hump / top


def busy_hour(n_live: int, end_s: float, seed: int = 1, ramp_s: float = 60.0, mean_s: float = SESSION_S) -> Sessions:
    """About `n_live` live streams from `ramp_s` until `end_s`: those that are there at first come before `ramp_s`, and
    stay for the rest of a session after it; others come as a Poisson process.
    """
    dice = np.random.default_rng(seed)
    n_more = dice.poisson(n_live / mean_s * (end_s - ramp_s))
    # A session that one meets at a random moment is longer than most: by its length. The rest of it is uniform.
    weighted = dice.lognormal(np.log(mean_s) + SESSION_SIGMA**2 / 2, SESSION_SIGMA, n_live)
    came_s = dice.random(n_live) * ramp_s
    at_s = np.concatenate([came_s, ramp_s + np.sort(dice.random(n_more)) * (end_s - ramp_s)])
    length_s = np.concatenate([ramp_s - came_s + weighted * dice.random(n_live), lengths(dice, n_more, mean_s)])
    return Sessions(at_s, length_s, dice.integers(0, 1 << 30, len(at_s)))


def whole_day(n_live: int, seed: int = 1, mean_s: float = SESSION_S, end_s: float = DAY_S) -> Sessions:
    """A day with `n_live` streams in its busiest minute: a Poisson process whose rate follows `day`, by thinning."""
    dice = np.random.default_rng(seed)
    at_s = np.sort(dice.random(dice.poisson(n_live / mean_s * end_s)) * end_s)
    at_s = at_s[dice.random(len(at_s)) < day(at_s / 3600)]
    return Sessions(at_s, lengths(dice, len(at_s), mean_s), dice.integers(0, 1 << 30, len(at_s)))


def poisson(per_s: float, shortest_s: float, longest_s: float, end_s: float, n_places: int, seed: int = 1) -> Sessions:
    """Sessions of a uniform length; their speech begins at one of `n_places`."""
    dice = np.random.default_rng(seed)
    at_s = np.sort(dice.random(dice.poisson(per_s * end_s)) * end_s)
    return Sessions(at_s, dice.uniform(shortest_s, longest_s, len(at_s)), dice.integers(0, n_places, len(at_s)))
