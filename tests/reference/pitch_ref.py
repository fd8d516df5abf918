"""The pitch model as a textbook would write it: a whole recording at once, in NumPy, one formula after the other."""

from __future__ import annotations

import numpy as np

RATE, HOP, WINDOW, CANDIDATES = 16_000, 160, 400, 5
UNVOICED, ONSET, JUMP, PERIOD = 0.22, 0.14, 0.35, 0.03

Slot = tuple[float, float, float]
"""Pitch (Hz, 0: none), voicing, cost."""


def pitches(
    samples: np.ndarray, lowest_hz: float = 60, highest_hz: float = 500, lookahead: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Pitch (Hz, 0: none) and voicing of each hop."""
    tau_min, tau_max = int(RATE // highest_hz), int(np.ceil(RATE / lowest_hz))
    hops = [slots(frame, tau_min, tau_max) for frame in frames(samples, WINDOW + tau_max)]
    seen = paths(hops)
    chosen = [seen[min(n + lookahead, len(hops) - 1)][n] for n in range(len(hops))]
    return np.array([slot[0] for slot in chosen]), np.array([slot[1] for slot in chosen])


def frames(samples: np.ndarray, length: int) -> list[np.ndarray]:
    """One for each hop, with the hop in its middle."""
    n_hops = int(np.ceil(len(samples) / HOP))
    before = (length - HOP) // 2
    padded = np.zeros(before + n_hops * HOP + length)
    padded[before : before + len(samples)] = samples
    return [padded[n * HOP : n * HOP + length] for n in range(n_hops)]


def slots(frame: np.ndarray, tau_min: int, tau_max: int) -> list[Slot]:
    """No pitch, and the candidates. The equation numbers are those of the YIN paper."""
    if np.sum(frame[:WINDOW] ** 2) <= WINDOW * 1e-6:
        return [(0.0, 0.0, UNVOICED)]
    shifted = np.lib.stride_tricks.sliding_window_view(frame, WINDOW)  # (tau, j) -> x[j + tau]
    difference = np.sum((frame[:WINDOW] - shifted) ** 2, axis=1)  # (6)
    sums = np.cumsum(difference[1:])
    d = np.ones(tau_max + 1)  # (8)
    np.divide(difference[1:] * np.arange(1, tau_max + 1), sums, out=d[1:], where=sums > 0)
    minima = [tau for tau in range(tau_min, tau_max) if d[tau - 1] > d[tau] <= d[tau + 1]]
    voicing = {tau: float(np.clip(1 - d[tau], 0, 1)) for tau in minima}
    found: list[Slot] = []
    for tau in minima:
        curvature = d[tau - 1] - 2 * d[tau] + d[tau + 1]
        offset = 0.5 * (d[tau - 1] - d[tau + 1]) / curvature if curvature > 0 else 0.0
        total = float(d[tau] + PERIOD * np.log2(tau / tau_min))
        found.append((RATE / (tau + float(np.clip(offset, -0.5, 0.5))), voicing[tau], total))
    found.sort(key=lambda slot: slot[2])
    return [(0.0, max(voicing.values(), default=0.0), UNVOICED), *found[:CANDIDATES]]


def change(before_hz: float, hz: float) -> float:
    if before_hz > 0 and hz > 0:
        return JUMP * abs(float(np.log2(hz / before_hz)))
    return 0.0 if before_hz == hz else ONSET


def paths(hops: list[list[Slot]]) -> list[list[Slot]]:
    """For each hop, the cheapest way through all hops up to it: Viterbi."""
    cheapest = []
    ways: list[tuple[float, list[Slot]]] = [(0.0, [])]
    for hop in hops:
        longer = []
        for slot in hop:
            changes = [total + (change(way[-1][0], slot[0]) if way else 0.0) for total, way in ways]
            best = int(np.argmin(changes))
            longer.append((changes[best] + slot[2], [*ways[best][1], slot]))
        ways = longer
        cheapest.append(min(ways, key=lambda way: way[0])[1])
    return cheapest
