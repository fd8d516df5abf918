"""The Silero v6 network for 16 kHz, written like its description: NumPy, one frame of one channel at a time.

Every product is a plain matrix product over all taps and all time steps, the spectrum is a product with a basis: slow,
and nothing to get wrong. `dtype` decides the precision of everything; float64 is the truth the kernels are measured
against. `stored_basis` takes the basis as the weights file has it (rounded to float16 in some files).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
HOP_SAMPLES = 128
STRIDES = (1, 2, 2, 1)


def fourier_basis() -> npt.NDArray[np.float64]:
    """The basis the network was trained with: a periodic Hann window times cosines, then minus sines. (258, 256)."""
    n = np.arange(256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 256)
    angle = 2 * np.pi * np.arange(129)[:, None] * n / 256
    return np.concatenate([window * np.cos(angle), -window * np.sin(angle)])


def sigmoid(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """1 / (1 + exp(-x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def conv1d(x: npt.NDArray[Any], weight: npt.NDArray[Any], bias: npt.NDArray[Any], stride: int) -> npt.NDArray[Any]:
    """x (in, time), weight (out, in, 3), zero padding of one on both sides -> (out, time')."""
    padded = np.pad(x, ((0, 0), (1, 1)))
    steps = range(0, x.shape[1], stride)
    return np.stack([np.tensordot(weight, padded[:, t : t + 3], axes=2) + bias for t in steps], axis=1)


class SileroReference:
    """One channel. `probability(frame)` takes 512 samples and keeps context and state for the next."""

    def __init__(
        self, weights: Mapping[str, npt.NDArray[Any]], dtype: npt.DTypeLike = np.float64, stored_basis: bool = False
    ) -> None:
        self.w = {name: np.asarray(value, dtype=dtype) for name, value in weights.items()}
        if not stored_basis:
            self.w["stft.basis"] = fourier_basis().astype(dtype)
        self.dtype = np.dtype(dtype)
        self.reset()

    def reset(self) -> None:
        """The state of a new stream."""
        self.h = np.zeros(128, self.dtype)
        self.c = np.zeros(128, self.dtype)
        self.context = np.zeros(CONTEXT_SAMPLES, self.dtype)

    def probability(self, frame: npt.NDArray[Any]) -> float:
        """512 samples -> probability of speech."""
        w = self.w
        x = np.concatenate([self.context, np.asarray(frame, self.dtype)])
        self.context = x[-CONTEXT_SAMPLES:]
        padded = np.pad(x, (0, 64), mode="reflect")
        frames = np.stack([padded[start : start + 256] for start in range(0, 385, HOP_SAMPLES)])
        spectrum = w["stft.basis"] @ frames.T
        x = np.sqrt(spectrum[:129] ** 2 + spectrum[129:] ** 2)
        for layer, stride in enumerate(STRIDES):
            x = np.maximum(conv1d(x, w[f"conv{layer}.weight"], w[f"conv{layer}.bias"], stride), 0)
        x = x[:, 0]
        gates = w["lstm.weight_ih"] @ x + w["lstm.bias_ih"] + w["lstm.weight_hh"] @ self.h + w["lstm.bias_hh"]
        i, f, g, o = np.split(gates, 4)
        self.c = sigmoid(f) * self.c + sigmoid(i) * np.tanh(g)
        self.h = sigmoid(o) * np.tanh(self.c)
        logit = w["out.weight"] @ np.maximum(self.h, 0) + w["out.bias"]
        return float(sigmoid(logit))

    def probabilities(self, samples: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """All whole frames of one channel, from the current state."""
        n_frames = len(samples) // FRAME_SAMPLES
        return np.array([self.probability(samples[k * 512 : (k + 1) * 512]) for k in range(n_frames)])
