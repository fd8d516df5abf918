"""The values of an output, item by item, as JSON can hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from voxgate.models.onnx.graph import Output

__all__ = ["is_same", "items_of", "shortest"]

Array = np.ndarray[tuple[int, ...], np.dtype[Any]]

_TOLERANCE: Final = 1e-3
"""Between the answers to an item alone and in a batch: enough for another order of summation, not for padding."""


def items_of(output: Output, array: Any, n_items: int) -> Sequence[Array]:
    """The values of each item. Raises ValueError when the first axis is not the batch of `n_items`."""
    array = np.asarray(array)
    if not output.has_batch and n_items == 1:
        return [array]
    if not output.has_batch or array.ndim == 0 or array.shape[0] != n_items:
        raise ValueError(
            f"output {output.name!r} has shape {array.shape}: expected {n_items} items along its first axis"
        )
    return list(array)


def shortest(value: Array) -> Array:
    """float32 and float16 as the doubles with the shortest text: 0.1, not 0.10000000149011612."""
    if value.dtype not in (np.float32, np.float16):
        return value
    return np.array([float(f"{number:.7g}") for number in value.reshape(-1).tolist()]).reshape(value.shape)


def is_same(one: Any, other: Any) -> bool:
    """Whether two answers are equal but for rounding; the order of labels with close scores is ignored."""
    if isinstance(one, dict):
        return all(is_same(one[key], other[key]) for key in other if key != "label")
    a, b = np.asarray(one), np.asarray(other)
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "fiu":
        return [*a.reshape(-1)] == [*b.reshape(-1)] if a.dtype.kind != "O" else all(map(is_same, a, b))
    return np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True)
