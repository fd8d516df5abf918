"""Small ONNX files, written by the package onnx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reference.onnx_models import FLOAT, INT64, write
from voxgate.errors import ModelLoadError
from voxgate.models.base import Samples
from voxgate.models.loader import load_model

AUDIO = ("audio", FLOAT, ["batch", "samples"])


def noise(n: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


ITEMS = [noise(3000, 1), noise(8000, 2), noise(3000, 3), noise(500, 4)]


MEAN = ("ReduceMean", ["audio"], ["mean"], {"axes": [1], "keepdims": 0})


def sum_over_length(path: Path, lengths: tuple[str, int, Any] = ("lengths", INT64, ["batch"])) -> str:
    """The mean over the given number of samples: padding does not change it."""
    return write(
        path,
        [AUDIO, lengths],
        [("mean", FLOAT, ["batch"])],
        [
            ("ReduceSum", ["audio", "axis"], ["sum"], {"keepdims": 0}),
            ("Cast", [lengths[0]], ["n"], {"to": FLOAT}),
            ("Div", ["sum", "n"], ["mean"]),
        ],
        {"axis": np.array([1], np.int64)},
    )


def frames(path: Path, inputs: Sequence[Any] = (AUDIO,), name: str = "levels") -> str:
    """Maxima of 160 samples each: (batch, frames)."""
    return write(
        path,
        inputs,
        [(name, FLOAT, ["batch", "frames"])],
        [
            ("Unsqueeze", ["audio", "axis"], ["planes"]),
            ("MaxPool", ["planes"], ["maxima"], {"kernel_shape": [160], "strides": [160]}),
            ("Squeeze", ["maxima", "axis"], [name]),
        ],
        {"axis": np.array([1], np.int64)},
    )


def scores(path: Path, n: int = 3, metadata: dict[str, str] | None = None) -> str:
    """Mean times (0, 1, 2 ...): the scores of n labels."""
    return write(
        path,
        [AUDIO],
        [("scores", FLOAT, ["batch", n])],
        [
            ("ReduceMean", ["audio"], ["mean"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["mean", "ramp"], ["scores"]),
        ],
        {"ramp": np.arange(n, dtype=np.float32)[None]},
        metadata,
    )


def refusal(path: str, **options: Any) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_model(f"onnx:{path}", options)
    assert str(caught.value).startswith(f"model 'onnx:{path}': ")
    return str(caught.value)
