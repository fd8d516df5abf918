"""How much of a batch of utterances of different lengths is padding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from batches.session import RATE

BOUNDS_S = (None, 120, 60, 30)


def padding() -> dict[float | None, tuple[float, float]]:
    """Of batches of at most 16 utterances of half a second to ten: their mean size, and which part of them is padding,
    for each bound of padded seconds.
    """
    from voxgate._native.batch import BatchQueue

    luck = np.random.default_rng(0)
    lengths = luck.uniform(0.5, 10.0, 2000)
    found = {}
    for bound_s in BOUNDS_S:
        queue: BatchQueue[object] = BatchQueue(10_000, 1 << 40)
        for seconds in lengths:
            queue.put(object(), None, object(), True, round(seconds * RATE))
        n_jobs = n_batches = n_samples = n_padded = 0
        while len(queue):
            jobs, audio, samples = queue.take(16, 0 if bound_s is None else bound_s * RATE, 0.0)
            n_jobs, n_batches = n_jobs + len(jobs), n_batches + 1
            n_samples, n_padded = n_samples + int(samples.sum()), n_padded + audio.size
        queue.close()
        found[bound_s] = (n_jobs / n_batches, 1 - n_samples / n_padded)
    return found


def padding_table(found: Mapping[float | None, tuple[float, float]]) -> list[str]:
    lines = ["| padded seconds of a batch, at most | mean batch | share of padding |", "|---|---|---|"]
    for bound_s, (size, part) in found.items():
        lines.append(f"| {'any number' if bound_s is None else bound_s} | {size:.1f} | {part:.0%} |")
    return lines
