"""Sample-rate conversion as the textbook writes it: an output is a sum over the input, weighted by a kernel around it.

Float64, no phases, no tables, no state. Slow on purpose.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import floor

import numpy as np
from numpy.typing import NDArray

HALF_PERIODS = 23


def output_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """n * to / from, rounded half up."""
    return floor(Fraction(n_samples * to_rate, from_rate) + Fraction(1, 2))


def kernel(periods: NDArray[np.float64], coefficients: Sequence[float]) -> NDArray[np.float64]:
    """The low-pass kernel at times counted in periods of the lower rate."""
    angle = np.pi / HALF_PERIODS * periods
    value = sum(c * np.cos(i * angle) for i, c in enumerate(coefficients))
    return np.where(np.abs(periods) < HALF_PERIODS, value, 0.0)


def kernel_spectrum(frequencies: NDArray[np.float64], coefficients: Sequence[float]) -> NDArray[np.float64]:
    """Its Fourier transform, in closed form, at frequencies counted in the lower rate."""
    bins = 2 * HALF_PERIODS * frequencies
    return HALF_PERIODS * sum(c * (np.sinc(bins - i) + np.sinc(bins + i)) for i, c in enumerate(coefficients))


def resample(
    samples: NDArray[np.float64], from_rate: int, to_rate: int, coefficients: Sequence[float]
) -> NDArray[np.float64]:
    """float64 (n,) -> float64 (output_length,); silence before and after the input."""
    scale = min(1.0, to_rate / from_rate)
    reach = HALF_PERIODS / scale
    output = np.empty(output_length(len(samples), from_rate, to_rate))
    for m in range(len(output)):
        whole, rest = divmod(m * from_rate, to_rate)
        first, last = max(0, int(whole - reach)), min(len(samples), int(whole + reach) + 2)
        offsets = np.arange(first - whole, last - whole) - rest / to_rate
        output[m] = np.dot(samples[first:last], scale * kernel(offsets * scale, coefficients))
    return output
