"""The energy detector, said plainly: float64 NumPy, one channel, the whole recording at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SMOOTHING = 0.5
SILENCE_DB = -90.0
START_FLOOR_DB = -40.0
MIN_FLOOR_DB = -70.0
BIAS_DB = 1.5
RISE_DB = 0.8
MIDDLE_DB = 6.0
WIDTH_DB = 1.5
N_BLOCKS = 8
BLOCK_FRAMES = 15


def levels_db(samples: ArrayLike, frame_samples: int) -> NDArray[np.float64]:
    """Mean square of each whole frame without its mean, in dB."""
    audio = np.asarray(samples, np.float64)
    frames = audio[: len(audio) // frame_samples * frame_samples].reshape(-1, frame_samples)
    return 10 * np.log10(frames.var(axis=1) + 1e-12)


def probabilities(samples: ArrayLike, sample_rate: int) -> NDArray[np.float64]:
    """One probability a frame of 20 ms."""
    result = []
    heard: list[float] = []  # the smoothed levels of all frames that were not silent
    smoothed, floor = None, START_FLOOR_DB
    for level in levels_db(samples, sample_rate // 50):
        if level < SILENCE_DB:
            smoothed = None
            result.append(0.0)
            continue
        smoothed = level if smoothed is None else SMOOTHING * smoothed + (1 - SMOOTHING) * level
        heard.append(smoothed)
        # The window: the block this frame is in, and the eight whole blocks before it.
        block = (len(heard) - 1) // BLOCK_FRAMES
        begin = max(0, block - N_BLOCKS) * BLOCK_FRAMES
        floor = max(min(min(heard[begin:]) + BIAS_DB, floor + RISE_DB), MIN_FLOOR_DB)
        result.append(1 / (1 + np.exp(-(smoothed - floor - MIDDLE_DB) / WIDTH_DB)))
    return np.array(result)
