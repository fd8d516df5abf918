"""The Silero kernel: probabilities, to the bit the same alone and beside other channels, on every instruction set; and
a network of any weights but the right ones is refused."""

from __future__ import annotations

from functools import cache

import numpy as np

from fuzz.source import Source
from voxgate._native import isa
from voxgate._native.silero import SileroDetector, SileroNetwork, activations, precisions
from voxgate.vad.weights import SHAPES, load_weights

FRAME = 512
WILD = (0.0, 1e-40, 3e38, float("inf"), float("nan"), 1.0)


@cache
def network(name: str, precision: str) -> SileroNetwork:
    return SileroNetwork(load_weights(), name, precision)


def refused(source: Source) -> None:
    weights = dict(load_weights())
    name = source.pick(sorted(SHAPES))
    damage = source.integer(0, 4)
    if damage == 0:
        del weights[name]
    elif damage == 1:
        weights[name] = weights[name].reshape(-1)[: source.integer(0, weights[name].size - 1)]
    elif damage == 2:
        weights[name] = weights[name][None]
    elif damage == 3:
        weights[name] = np.full(SHAPES[name], np.nan, np.float32)
    else:
        weights[name] = np.array("text")
    try:
        SileroNetwork(weights, source.pick(isa.supported()))
    except ValueError:
        return
    raise AssertionError(f"took {name} with damage {damage}")


def fuzz(data: bytes) -> None:
    source = Source(data)
    if source.integer(0, 31) == 31:
        refused(source)
        return
    kernels = [(name, precision) for name in isa.supported() for precision in precisions(name)]
    channels, n_frames = source.integer(1, 19), source.integer(1, 3)
    planes = np.stack([source.plane(n_frames * FRAME) for _ in range(channels)])
    spoilt = None
    if source.integer(0, 3) == 0:
        spoilt = source.integer(0, channels - 1)
        planes[spoilt, source.integer(0, n_frames * FRAME - 1)] = source.pick(WILD)
    kernel = source.pick(kernels)
    detector = SileroDetector(network(*kernel), channels)
    heard = detector.probabilities(planes)
    assert heard.shape == (channels, n_frames)
    assert ((heard >= 0) & (heard <= 1)).all()
    one = source.integer(0, channels - 1)
    alone = SileroDetector(network(*kernel), 1).probabilities(planes[one : one + 1])
    np.testing.assert_array_equal(alone[0], heard[one])
    detector.reset()
    again = np.concatenate([detector.probabilities(planes[:, k * FRAME : (k + 1) * FRAME]) for k in range(n_frames)], 1)
    np.testing.assert_array_equal(again, heard)
    another = source.pick(kernels)
    other = SileroDetector(network(*another), channels).probabilities(planes)
    tame = [channel for channel in range(channels) if channel != spoilt]
    tolerance = 1e-4 if kernel[1] == another[1] == "float32" else 2e-2
    np.testing.assert_allclose(other[tame], heard[tame], atol=tolerance)
    values = np.frombuffer(source.take(source.left // 4 * 4), "<f4")
    for outcome, low in zip(activations(values, kernel[0]), (0, -1), strict=True):
        assert outcome.shape == values.shape
        assert ((outcome >= low) & (outcome <= 1) | np.isnan(values)).all()


SEEDS = [bytes([1, channels, 1]) + bytes(range(64)) for channels in (0, 3, 15, 16)] + [
    bytes([31, 3, k]) for k in range(5)
]
