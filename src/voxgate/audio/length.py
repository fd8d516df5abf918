"""How many samples resampling produces."""

from __future__ import annotations

__all__ = ["resampled_length"]


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """floor(n_samples * to_rate / from_rate + 1/2), exact for integers of any size. Rates in Hz."""
    return (2 * n_samples * to_rate + from_rate) // (2 * from_rate)
