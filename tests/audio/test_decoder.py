"""Bytes to planes at the model's rate, with both resamplers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import resample_ref as ref
from voxgate import audio
from voxgate.audio.decoder import StreamDecoder
from voxgate.audio.soxr import resample
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 44_101]


def s16(rate: int = 48_000, channels: int = 1) -> AudioFormat:
    return AudioFormat(channels=channels, sample_rate=rate, bit_depth=16, is_float=False)


def sound(n_frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Interleaved s16, shape (frames, channels)."""
    return np.random.default_rng(seed).integers(-20_000, 20_000, (n_frames, channels)).astype("<i2")


def run(decoder: StreamDecoder, data: bytes, cuts: list[int] | None = None) -> np.ndarray:
    edges = [0, *sorted(cuts or []), len(data)]
    pieces = [decoder.push(data[a:b]) for a, b in itertools.pairwise(edges)]
    return np.concatenate([*pieces, decoder.finish()], axis=1)


@pytest.mark.parametrize("resampler", audio.RESAMPLERS)
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n_frames", [0, 1, 2, 3, 320, 441, 10_007])
def test_total_length_is_exact(rate, resampler, n_frames):
    got = run(StreamDecoder(s16(rate, 2), 16_000, resampler), sound(n_frames, 2).tobytes())
    assert got.shape == (2, ref.output_length(n_frames, rate, 16_000))
    assert got.dtype == np.float32
    assert got.flags.c_contiguous


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [1, 7, 256, 640, 3840])
def test_cuts_change_nothing(rate, size):
    data = sound(2_000, 2, seed=1).tobytes()
    decoder = StreamDecoder(s16(rate, 2), 16_000)
    np.testing.assert_array_equal(run(decoder, data, list(range(size, len(data), size))), run(decoder, data))


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_random_cuts_change_nothing(data):
    rate = data.draw(st.sampled_from(RATES))
    channels = data.draw(st.integers(1, 3))
    encoded = sound(data.draw(st.integers(0, 900)), channels, seed=2).tobytes()
    encoded = encoded[: len(encoded) - data.draw(st.integers(0, min(len(encoded), 2 * channels)))]
    cuts = data.draw(st.lists(st.integers(0, len(encoded)), max_size=12))
    decoder = StreamDecoder(s16(rate, channels), 16_000)
    np.testing.assert_array_equal(run(decoder, encoded, cuts), run(decoder, encoded))


@pytest.mark.parametrize("quality", audio.SOXR_QUALITIES)
def test_cuts_change_nothing_with_soxr(quality):
    data = sound(9_000, 2, seed=3).tobytes()
    whole = run(StreamDecoder(s16(44_100, 2), 16_000, "soxr", quality), data)
    for size in (7, 1764):
        pieces = run(StreamDecoder(s16(44_100, 2), 16_000, "soxr", quality), data, list(range(size, len(data), size)))
        np.testing.assert_allclose(pieces, whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("resampler", audio.RESAMPLERS)
def test_is_decode_then_resample(resampler):
    frames = sound(4_800, 2, seed=4)
    got = run(StreamDecoder(s16(48_000, 2), 16_000, resampler), frames.tobytes())
    want = resample((frames.T / 32768).astype(np.float32), 48_000, 16_000)
    # white noise: what lies in the transition band differs between the two
    for have, expected in zip(got, want, strict=True):
        assert np.corrcoef(have, expected)[0, 1] > 0.98


def test_agree_on_a_tone():
    t = np.arange(48_000) / 48_000
    frames = (16_384 * np.sin(2 * np.pi * 1_000 * t)).round().astype("<i2")
    outputs = [run(StreamDecoder(s16(), 16_000, name), frames.tobytes())[0] for name in audio.RESAMPLERS]
    want = 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)
    for output in outputs:
        np.testing.assert_allclose(output[1_000:-1_000], want[1_000:-1_000], atol=2e-3)


@pytest.mark.parametrize("resampler", audio.RESAMPLERS)
@pytest.mark.parametrize("rate", [16_000, 48_000, 8_000])
def test_finish_gives_the_partial_frame_and_begins_anew(rate, resampler):
    decoder = StreamDecoder(s16(rate, 2), 16_000, resampler)
    data = sound(1_000, 2, seed=5).tobytes()
    whole = run(decoder, data)
    cut = run(decoder, data[:-1])  # the last sample of channel 1 is incomplete: silence
    assert cut.shape == whole.shape
    np.testing.assert_array_equal(run(decoder, data), whole)
    padded = data[:-2] + b"\0\0"
    np.testing.assert_array_equal(cut, run(decoder, padded))
    assert decoder.finish().shape == (2, 0)


def test_equal_rates_are_only_decoded():
    frames = sound(1_000, 2, seed=6)
    decoder = StreamDecoder(s16(16_000, 2), 16_000)
    assert decoder.delay_s == 0
    np.testing.assert_array_equal(decoder.push(frames.tobytes()), (frames.T / 32768).astype(np.float32))
    assert decoder.finish().shape == (2, 0)


@pytest.mark.parametrize("source", [bytes, bytearray, memoryview])
def test_takes_any_buffer(source):
    data = sound(480).tobytes()
    np.testing.assert_array_equal(
        run(StreamDecoder(s16(), 16_000), source(data)), run(StreamDecoder(s16(), 16_000), data)
    )


@pytest.mark.parametrize(
    ("bit_depth", "is_float", "encoding", "dtype", "scale"),
    [
        (8, False, None, "u1", 128),
        (16, False, None, "<i2", 32768),
        (32, False, None, "<i4", 2**31),
        (32, True, None, "<f4", 1),
        (64, True, None, "<f8", 1),
        (8, False, "mulaw", "u1", None),
        (8, False, "alaw", "u1", None),
    ],
)
def test_every_format(bit_depth, is_float, encoding, dtype, scale):
    format = AudioFormat(channels=1, sample_rate=8_000, bit_depth=bit_depth, is_float=is_float, encoding=encoding)
    values = np.linspace(-0.9, 0.9, 800)
    wire = (values * (scale or 1) + (128 if dtype == "u1" else 0)).astype(dtype)
    got = run(StreamDecoder(format, 16_000), wire.tobytes())
    assert got.shape == (1, 1600)
    if encoding is None:
        np.testing.assert_allclose(got[0, 100:-100:2], values[50:-50], atol=0.02)


def test_received_and_delay():
    decoder = StreamDecoder(s16(48_000, 2), 16_000)
    assert decoder.received_s == 0
    decoder.push(bytes(4 * 4_800 + 3))
    assert decoder.received_s == 0.1
    decoder.push(bytes(1))
    assert decoder.received_s == 4_801 / 48_000
    decoder.push(bytes(2))
    decoder.finish()
    assert decoder.received_s == 4_802 / 48_000
    decoder.push(bytes(4))
    assert decoder.received_s == 1 / 48_000
    assert decoder.delay_s <= 0.0015
    assert 0.02 < StreamDecoder(s16(), 16_000, "soxr").delay_s < 0.05
    assert StreamDecoder(s16(8_000), 16_000, "soxr").delay_s > 0.1
    assert StreamDecoder(s16(8_000), 16_000).delay_s < 0.003


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((16_000, "sinc"), "resampler must be one of polyphase, soxr, got 'sinc'"),
        ((16_000, "soxr", "best"), "soxr_quality must be one of QQ, LQ, MQ, HQ, VHQ, got 'best'"),
        ((16_000, "polyphase", "hq"), "soxr_quality must be"),
        ((3_999,), r"sample_rate must be within 4000\.\.192000 Hz, got 3999"),
    ],
)
def test_options_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        StreamDecoder(s16(), *arguments)


def test_unsupported_format():
    with pytest.raises(InvalidStart):
        StreamDecoder(AudioFormat(channels=1, sample_rate=16_000, bit_depth=12, is_float=False), 16_000)


def test_not_bytes():
    decoder = StreamDecoder(s16(), 16_000)
    with pytest.raises(TypeError):
        decoder.push("text")
