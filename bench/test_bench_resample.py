"""The streaming resampler beside soxr's, to 16 kHz, fed in chunks of 20 ms.

A round is 50 chunks, a second of sound: soxr works in blocks of its own, so that many of its calls only store a chunk
and a single one means nothing. Divide by 50 for the cost of a chunk.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soxr

from voxgate._native import isa, resample
from voxgate._native.resample import Resampler
from voxgate.audio.decoder import StreamDecoder
from voxgate.protocol.formats import AudioFormat

CHUNKS = 50
# From 44101 Hz one row per phase would be 16000 rows: interpolated. What a client may ask for, not what one does.
rates = pytest.mark.parametrize("rate", [48_000, 44_100, 8_000, 44_101])
cases = pytest.mark.parametrize("channels", [1, 2])


def planes(rate: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (channels, rate // 50)).astype(np.float32)


def second_of(push: Callable[[Any], Any], chunk: Any) -> Callable[[], None]:
    def run() -> None:
        for _ in range(CHUNKS):
            push(chunk)

    run()
    return run


@rates
@cases
@pytest.mark.parametrize("kernels", isa.supported())
def test_voxgate_polyphase(benchmark, rate, channels, kernels):
    benchmark.group = f"resample 1 s by 20 ms, {rate} -> 16000 Hz, {channels} ch"
    resampler = Resampler(rate, 16_000, channels, isa=kernels)
    benchmark(second_of(resampler.push, planes(rate, channels)))


@rates
@cases
def test_soxr_hq(benchmark, rate, channels):
    benchmark.group = f"resample 1 s by 20 ms, {rate} -> 16000 Hz, {channels} ch"
    stream = soxr.ResampleStream(rate, 16_000, channels, dtype="float32", quality="HQ")
    # soxr wants the channels interleaved: given so, the conversion from planes is not counted
    benchmark(second_of(stream.resample_chunk, np.ascontiguousarray(planes(rate, channels).T)))


@pytest.mark.parametrize("rate", [48_000, 44_100, 8_000])
@pytest.mark.parametrize("resampler", ["polyphase", "soxr"])
def test_voxgate_decode_and_resample(benchmark, rate, resampler):
    """The whole way of a message: s16 stereo bytes to planes at 16 kHz."""
    benchmark.group = f"decode + resample 1 s by 20 ms, s16 stereo, {rate} -> 16000 Hz"
    format = AudioFormat(channels=2, sample_rate=rate, bit_depth=16, is_float=False)
    decoder = StreamDecoder(format, 16_000, resampler)
    message = np.random.default_rng(0).integers(-9000, 9000, rate // 50 * 2).astype("<i2").tobytes()
    benchmark(second_of(decoder.push, message))


@pytest.mark.parametrize("rate", [48_000, 44_100, 44_101])
def test_voxgate_first_of_its_ratio(benchmark, rate):
    """What a session start costs when nobody had this ratio before: the table."""
    benchmark.group = f"open a stream, {rate} -> 16000 Hz"

    def open_stream() -> Resampler:
        resample.clear_tables()
        return Resampler(rate, 16_000)

    benchmark(open_stream)


@pytest.mark.parametrize("rate", [48_000, 44_100, 44_101])
def test_voxgate_next_of_its_ratio(benchmark, rate):
    benchmark.group = f"open a stream, {rate} -> 16000 Hz"
    benchmark(Resampler, rate, 16_000)


@pytest.mark.parametrize("rate", [48_000, 44_100, 44_101])
def test_soxr_open(benchmark, rate):
    benchmark.group = f"open a stream, {rate} -> 16000 Hz"
    benchmark(soxr.ResampleStream, rate, 16_000, 1)
