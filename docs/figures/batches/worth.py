"""What a batch is worth to three models that compute, on one thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import plots

from batches.session import RATE

SIZES = (1, 2, 4, 8, 16, 32)
WIDTH, STEP = 64, 320


def recurrent(size: int) -> Callable[[], object]:
    """A second through a recurrent layer of 64 cells, 20 ms a step: 50 small steps, each of which has to wait for the
    one before.
    """
    luck = np.random.default_rng(0)
    of_audio = (luck.standard_normal((STEP, WIDTH)) / STEP**0.5).astype(np.float32)
    of_state = (luck.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
    audio = luck.standard_normal((size, RATE)).astype(np.float32)

    def call() -> object:
        state = np.zeros((size, WIDTH), np.float32)
        for at in range(0, RATE, STEP):
            state = np.tanh(audio[:, at : at + STEP] @ of_audio + state @ of_state)
        return state

    return call


def silero(size: int) -> Callable[[], object]:
    """A frame of 32 ms through the Silero network in ONNX Runtime."""
    from test_bench_silero import frames

    from reference.silero_onnx import SileroOnnx, build
    from voxgate.vad.weights import load_weights

    network, planes = SileroOnnx(build(load_weights()), size), frames(size)
    return lambda: network.step(planes)


def spectra(size: int) -> Callable[[], object]:
    """A second as a spectrum every 20 ms: as much to compute for each item as for one alone."""
    frames = np.random.default_rng(0).standard_normal((size, RATE // STEP, STEP))
    return lambda: np.abs(np.fft.rfft(frames, axis=2))


WORTH: dict[str, Callable[[int], Callable[[], object]]] = {
    "a small recurrent network, NumPy": recurrent,
    "Silero, ONNX Runtime": silero,
    "spectra, NumPy": spectra,
}


def worth() -> dict[str, list[float]]:
    """CPU seconds of an item, for each model, in batches of SIZES; one thread."""
    found: dict[str, list[float]] = {name: [] for name in WORTH}
    for name, model in WORTH.items():
        for size in SIZES:
            call = model(size)
            call()
            until_s, took_s = time.perf_counter() + 0.2, []
            while time.perf_counter() < until_s or len(took_s) < 3:
                began_s = time.thread_time()
                call()
                took_s.append(time.thread_time() - began_s)
            found[name].append(min(took_s) / size)
    return found


def draw_worth(found: Mapping[str, Sequence[float]]) -> None:
    plt = plots.pyplot()
    figure, axes = plt.subplots(figsize=plots.size(2.4), layout="constrained")
    for name, item_s in found.items():
        axes.plot(SIZES, [item_s[0] / value for value in item_s], "o-", ms=3, lw=1, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(SIZES, map(str, SIZES))
    axes.set_ylim(0, None)
    axes.set_xlabel("items in a batch; one thread")
    axes.set_ylabel("items a second,\none by one = 1")
    axes.legend(fontsize=8)
    plots.save(figure, "batching-worth")
