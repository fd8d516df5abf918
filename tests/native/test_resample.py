"""The streaming resampler against its textbook twin, against soxr, and against the numbers it promises."""

import itertools
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import resample_ref as ref
from voxgate._native import isa, resample
from voxgate._native.resample import Resampler, table_info

KERNEL = resample.kernel_coefficients()

# One row for all phases; a few; many; interpolated; up, down, far up, far down, next door.
RATIOS = [
    (48_000, 16_000),
    (44_100, 16_000),
    (22_050, 16_000),
    (8_000, 16_000),
    (16_000, 44_100),
    (32_000, 48_000),
    (4_000, 192_000),
    (192_000, 4_000),
    (192_000, 4_001),
    (44_101, 16_000),
    (16_001, 16_000),
    (15_999, 16_000),
    (16_000, 191_999),
]
INTERPOLATED = [ratio for ratio in RATIOS if table_info(*ratio)["phases"] > table_info(*ratio)["rows"]]

rates = st.integers(resample.MIN_RATE, resample.MAX_RATE)


def noise(channels: int, n_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (channels, n_samples)).astype(np.float32)


def run(resampler: Resampler, planes: np.ndarray, cuts: list[int] | None = None) -> np.ndarray:
    pieces = np.split(planes, sorted(cuts or []), axis=1)
    return np.concatenate([*(resampler.push(piece) for piece in pieces), resampler.finish()], axis=1)


def tone(frequency_hz: float, rate: int, seconds: float = 0.25) -> np.ndarray:
    return np.sin(2 * np.pi * frequency_hz / rate * np.arange(int(rate * seconds)) + 0.3).astype(np.float32)[None, :]


def steady(planes: np.ndarray, rate: int, edge_s: float = 0.02) -> np.ndarray:
    edge = int(edge_s * rate)
    return planes[0, edge:-edge].astype(np.float64)


def fit(samples: np.ndarray, frequency_hz: float, rate: int) -> tuple[float, float]:
    """The amplitude of a tone in the samples, and the RMS of everything else."""
    angle = 2 * np.pi * frequency_hz / rate * np.arange(len(samples))
    basis = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    weights = np.linalg.lstsq(basis, samples, rcond=None)[0]
    rest = samples - basis @ weights
    return float(np.hypot(*weights)), float(np.sqrt(np.mean(rest**2)))


def db(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-30))


# -------------------------------------------------------------------------------------------------- what comes out


@cache
def textbook(from_rate: int, to_rate: int) -> tuple[np.ndarray, np.ndarray]:
    planes = noise(2, min(2500, 1000 * from_rate // to_rate))
    return planes, np.stack([ref.resample(plane.astype(float), from_rate, to_rate, KERNEL) for plane in planes])


@pytest.mark.parametrize("kernels", isa.supported())
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_equals_the_textbook(from_rate, to_rate, kernels):
    planes, want = textbook(from_rate, to_rate)
    got = run(Resampler(from_rate, to_rate, 2, isa=kernels), planes)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    tolerance = 6e-6 if (from_rate, to_rate) in INTERPOLATED else 6e-7  # -104 and -124 dB
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kernels", isa.supported())
@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_instruction_sets_agree(from_rate, to_rate, channels, kernels):
    planes = noise(channels, 2000, seed=1)
    got = run(Resampler(from_rate, to_rate, channels, isa=kernels), planes)
    want = run(Resampler(from_rate, to_rate, channels, isa="portable"), planes)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_channels_do_not_touch(from_rate, to_rate):
    planes = noise(5, 1500, seed=2)
    together = run(Resampler(from_rate, to_rate, 5), planes)
    for channel in range(5):
        alone = run(Resampler(from_rate, to_rate), planes[channel : channel + 1])
        np.testing.assert_array_equal(together[channel : channel + 1], alone)


@pytest.mark.parametrize("n_samples", [0, 1, 2, 3, 5, 22, 23, 24, 143, 144, 145, 1023, 1024, 1025, 4801])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_total_length_is_exact(from_rate, to_rate, n_samples):
    got = run(Resampler(from_rate, to_rate), noise(1, n_samples))
    assert got.shape == (1, ref.output_length(n_samples, from_rate, to_rate))


@given(from_rate=rates, to_rate=rates, n_samples=st.integers(0, 500))
@settings(deadline=None, max_examples=150)
def test_total_length_is_exact_for_any_rates(from_rate, to_rate, n_samples):
    resampler = Resampler(from_rate, to_rate)
    got = run(resampler, np.ones((1, n_samples), np.float32))
    assert got.shape == (1, ref.output_length(n_samples, from_rate, to_rate))
    assert np.isfinite(got).all()


def test_half_a_sample_rounds_up():
    assert run(Resampler(48_000, 16_000), noise(1, 4)).shape[1] == 1
    assert run(Resampler(32_000, 16_000), noise(1, 5)).shape[1] == 3  # 2.5
    assert run(Resampler(48_000, 16_000), noise(1, 5)).shape[1] == 2


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_impulses_stay_where_they_are(from_rate, to_rate):
    step_in, step_out = np.array([from_rate, to_rate]) // np.gcd(from_rate, to_rate)
    at = int(step_in) * max(1, -(-4000 // int(step_in)))  # a position which both rates share
    planes = np.zeros((1, at + 4000), np.float32)
    planes[0, at] = 1
    got = run(Resampler(from_rate, to_rate), planes)[0]
    peak = at // int(step_in) * int(step_out)
    assert np.argmax(np.abs(got)) == peak
    reach = min(peak, len(got) - 1 - peak, 2000)
    np.testing.assert_allclose(got[peak - reach : peak][::-1], got[peak + 1 : peak + reach + 1], atol=1e-7)


# -------------------------------------------------------------------------------------------------- cuts


@given(data=st.data(), ratio=st.sampled_from(RATIOS), channels=st.integers(1, 3))
@settings(deadline=None, max_examples=120)
def test_cuts_change_nothing(data, ratio, channels):
    n_samples = data.draw(st.integers(0, 3000))
    cuts = data.draw(st.lists(st.integers(0, n_samples), max_size=30))
    planes = noise(channels, n_samples, seed=3)
    resampler = Resampler(*ratio, channels)
    np.testing.assert_array_equal(run(resampler, planes, cuts), run(resampler, planes))


@pytest.mark.parametrize("kernels", isa.supported())
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_single_samples_change_nothing(from_rate, to_rate, kernels):
    planes = noise(2, 1500, seed=4)
    resampler = Resampler(from_rate, to_rate, 2, isa=kernels)
    np.testing.assert_array_equal(run(resampler, planes, list(range(1, 1500))), run(resampler, planes))


@pytest.mark.parametrize("size", [1, 7, 319, 320, 321, 880, 882, 884, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_equal_pieces_change_nothing(from_rate, to_rate, size):
    planes = noise(1, 5000, seed=5)
    resampler = Resampler(from_rate, to_rate)
    np.testing.assert_array_equal(run(resampler, planes, list(range(size, 5000, size))), run(resampler, planes))


def test_what_is_not_finite_stays_where_it_is():
    planes = noise(1, 4000, seed=6)
    planes[0, 2000] = np.nan
    planes[0, 2500] = np.inf
    for ratio in RATIOS:
        resampler = Resampler(*ratio)
        whole = run(resampler, planes)
        np.testing.assert_array_equal(run(resampler, planes, list(range(1, 4000, 13))), whole)
        reach_s = 2 * 24 / min(ratio)
        around = slice(int((2000 / ratio[0] - reach_s) * ratio[1]), int((2500 / ratio[0] + reach_s) * ratio[1]) + 2)
        rest = np.ones(whole.shape[1], bool)
        rest[max(0, around.start) : around.stop] = False
        assert np.isfinite(whole[0, rest]).all()


def test_an_hour_does_not_drift():
    """A second of sound over and over: each second of output must be the one before, to the last bit."""
    for from_rate in (44_101, 8_000):
        resampler = Resampler(from_rate, 16_000)
        second = noise(1, from_rate, seed=7)
        resampler.push(second)
        first = resampler.push(second)
        assert first.shape == (1, 16_000)
        for _ in range(3600 if from_rate == 8_000 else 600):
            np.testing.assert_array_equal(resampler.push(second), first)


# -------------------------------------------------------------------------------------------------- delay


@pytest.mark.parametrize(("from_rate", "limit_ms"), [(48_000, 1.5), (44_100, 1.5), (22_050, 1.5), (8_000, 2.9)])
def test_delay_to_16_khz(from_rate, limit_ms):
    assert Resampler(from_rate, 16_000).delay_s * 1000 <= limit_ms


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_delay_is_what_happens(from_rate, to_rate):
    resampler = Resampler(from_rate, to_rate)
    assert resampler.delay_s <= 24 / min(from_rate, to_rate)
    sample = np.zeros((1, 1), np.float32)
    longest_s = 0.0
    produced = 0
    for consumed in range(1, 3 * resample.table_info(from_rate, to_rate)["taps"]):
        ready = resampler.push(sample).shape[1]
        for output in range(produced, produced + ready):
            longest_s = max(longest_s, (consumed - 1) / from_rate - output / to_rate)
        produced += ready
        assert (resampler.consumed, resampler.produced) == (consumed, produced)
    assert produced > 0
    assert longest_s <= resampler.delay_s + 1e-12
    assert longest_s >= resampler.delay_s - 1 / from_rate


# -------------------------------------------------------------------------------------------------- quality


def test_kernel_keeps_its_promise():
    passband = np.linspace(0, 0.45, 5000)
    stopband = np.concatenate([np.linspace(0.55, 3, 50_000), np.linspace(3, 60, 100_000)])
    ripple_db = 20 * np.log10(np.abs(ref.kernel_spectrum(passband, KERNEL)))
    assert np.abs(ripple_db).max() < 0.02
    assert db(np.abs(ref.kernel_spectrum(stopband, KERNEL)).max()) < -104.5
    assert db(np.abs(ref.kernel_spectrum(stopband[stopband > 1.5], KERNEL)).max()) < -114
    assert abs(ref.kernel(np.array([22.999999]), KERNEL)[0]) < 1e-9


@pytest.mark.parametrize(("from_rate", "to_rate"), [*RATIOS[:6], (44_101, 16_000), (192_000, 4_001), (16_001, 16_000)])
def test_tones_of_the_passband(from_rate, to_rate):
    """Up to 0.45 of the lower rate a tone keeps its level to 0.02 dB, and nothing is added above -100 dB."""
    lower = min(from_rate, to_rate)
    for frequency_hz in lower * np.array([0.01, 0.1, 0.25, 0.4, 0.425, 0.449]):
        got = steady(run(Resampler(from_rate, to_rate), tone(frequency_hz, from_rate)), to_rate)
        amplitude, rest = fit(got, frequency_hz, to_rate)
        assert abs(db(amplitude)) < 0.02
        assert db(rest * np.sqrt(2)) < -100


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(48_000, 16_000), (44_100, 16_000), (22_050, 16_000), (44_101, 16_000), (192_000, 4_001)]
)
def test_tones_that_would_fold_into_the_passband(from_rate, to_rate):
    """From 0.55 of the output rate on, nothing above -100 dB is left of a tone, wherever it folds to."""
    for frequency_hz in np.geomspace(0.551 * to_rate, 0.499 * from_rate, 12):
        got = steady(run(Resampler(from_rate, to_rate), tone(frequency_hz, from_rate)), to_rate)
        assert db(np.sqrt(2 * np.mean(got**2))) < -100


def test_transition_band_folds_only_onto_itself():
    """From 8 to 8.8 kHz a rest of a tone is left: it folds to 7.2..8 kHz, not further down."""
    got = steady(run(Resampler(48_000, 16_000), tone(8_300, 48_000)), 16_000)
    amplitude, rest = fit(got, 7_700, 16_000)
    assert -40 < db(amplitude) < -6
    assert db(rest) < -100


def speech_band_noise(rate: int, high_hz: float, seconds: float = 0.5) -> np.ndarray:
    n_samples = int(rate * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(8).standard_normal(n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / rate)
    spectrum[(frequencies < 100) | (frequencies > high_hz)] = 0
    return (np.fft.irfft(spectrum, n_samples) * 0.3).astype(np.float32)[None, :]


@pytest.mark.parametrize(
    ("from_rate", "high_hz"), [(48_000, 7_200), (44_100, 7_200), (22_050, 7_200), (8_000, 3_600), (44_101, 7_200)]
)
def test_agrees_with_soxr(from_rate, high_hz):
    planes = speech_band_noise(from_rate, high_hz)
    got = run(Resampler(from_rate, 16_000), planes)
    want = soxr.resample(planes[0], from_rate, 16_000, quality="VHQ")[None, : got.shape[1]]
    difference = steady(got, 16_000) - steady(want, 16_000)
    assert db(np.sqrt(np.mean(difference**2) / np.mean(steady(want, 16_000) ** 2))) < -54  # the ripple of 0.018 dB


# -------------------------------------------------------------------------------------------------- life


def test_finish_begins_anew():
    planes = noise(2, 1000, seed=9)
    resampler = Resampler(44_100, 16_000, 2)
    first = run(resampler, planes)
    assert (resampler.consumed, resampler.produced) == (0, 0)
    np.testing.assert_array_equal(run(resampler, planes), first)
    assert resampler.finish().shape == (2, 0)


def test_reset_forgets():
    planes = noise(1, 1000, seed=10)
    resampler = Resampler(8_000, 16_000)
    first = run(resampler, planes)
    resampler.push(planes)
    resampler.reset()
    assert (resampler.consumed, resampler.produced) == (0, 0)
    np.testing.assert_array_equal(run(resampler, planes), first)


@pytest.mark.parametrize("rate", [4_000, 16_000, 192_000])
def test_equal_rates_pass_through(rate):
    resampler = Resampler(rate, rate, 2)
    planes = noise(2, 100)
    got = resampler.push(planes)
    np.testing.assert_array_equal(got, planes)
    assert not np.shares_memory(got, planes)
    assert resampler.delay_s == 0
    assert resampler.nbytes == 0
    assert (resampler.consumed, resampler.produced) == (100, 100)
    np.testing.assert_array_equal(resampler.push(planes[:, ::-1]), planes[:, ::-1])
    assert resampler.finish().shape == (2, 0)
    assert resampler.consumed == 0


def test_any_memory_layout():
    planes = noise(2, 3000, seed=11)
    want = run(Resampler(48_000, 16_000, 2), planes)
    frozen = planes.copy()
    frozen.flags.writeable = False
    wide = np.zeros((2, 6000), np.float32)
    wide[:, ::2] = planes
    unaligned = np.frombuffer(b"x" + planes.tobytes(), dtype=np.uint8)[1:].view(np.float32).reshape(2, 3000)
    layouts = [
        frozen,
        np.asfortranarray(planes),
        planes.astype(">f4"),
        wide[:, ::2],
        planes[:, ::-1].copy()[:, ::-1],
        planes[::-1].copy()[::-1],
        unaligned,
    ]
    for layout in layouts:
        np.testing.assert_array_equal(run(Resampler(48_000, 16_000, 2), layout), want)


def test_input_is_left_alone_and_results_are_new():
    planes = noise(1, 960, seed=12)
    kept = planes.copy()
    resampler = Resampler(48_000, 16_000)
    first = resampler.push(planes)
    copy = first.copy()
    second = resampler.push(planes)
    np.testing.assert_array_equal(planes, kept)
    np.testing.assert_array_equal(first, copy)
    assert first.flags.owndata
    assert second.flags.owndata


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3_999, 16_000), r"from_rate must be within 4000\.\.192000 Hz, got 3999"),
        ((16_000, 192_001), r"to_rate must be within 4000\.\.192000 Hz, got 192001"),
        ((-48_000, 16_000), "from_rate must be"),
        ((0, 16_000), "from_rate must be"),
        ((48_000, 16_000, 0), r"channels must be within 1\.\.256, got 0"),
        ((48_000, 16_000, 257), "channels must be"),
        ((48_000, 16_000, -1), "channels must be"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Resampler(*arguments)


def test_unknown_instruction_set():
    with pytest.raises(ValueError, match=r"isa must be one of portable.*'mmx'"):
        Resampler(48_000, 16_000, isa="mmx")


@pytest.mark.parametrize("arguments", [("48k", 16_000), (None, 16_000), (48_000,), (), (48_000, 16_000, 1, "avx2")])
def test_arguments_of_the_wrong_type(arguments):
    with pytest.raises(TypeError):
        Resampler(*arguments)


@pytest.mark.parametrize(
    ("planes", "error", "message"),
    [
        (np.zeros((2, 10)), TypeError, "planes must be float32, got float64"),
        (np.zeros((2, 10), np.int16), TypeError, "planes must be float32, got int16"),
        (np.zeros((2, 10), object), TypeError, "planes must be float32, got object"),
        ([[0.0], [0.0]], TypeError, "planes must be a float32 array, got list"),
        (b"\0" * 8, TypeError, "planes must be a float32 array, got bytes"),
        (None, TypeError, "planes must be a float32 array, got NoneType"),
        (np.zeros(10, np.float32), ValueError, r"planes must have shape \(2, n\), got \(10,\)"),
        (np.zeros((3, 10), np.float32), ValueError, r"planes must have shape \(2, n\), got \(3, 10\)"),
        (np.zeros((10, 2), np.float32), ValueError, r"planes must have shape \(2, n\), got \(10, 2\)"),
        (np.zeros((2, 10, 1), np.float32), ValueError, r"planes must have shape \(2, n\), got \(2, 10, 1\)"),
        (np.float32(0), TypeError, "planes must be a float32 array"),
    ],
)
@pytest.mark.parametrize("from_rate", [48_000, 16_000])
def test_bad_planes_change_nothing(from_rate, planes, error, message):
    resampler = Resampler(from_rate, 16_000, 2)
    good = noise(2, 500)
    want = run(resampler, good)
    with pytest.raises(error, match=message):
        resampler.push(planes)
    assert resampler.consumed == 0
    np.testing.assert_array_equal(run(resampler, good), want)


def test_is_not_pickled():
    with pytest.raises(TypeError, match="belongs to one stream"):
        pickle.dumps(Resampler(48_000, 16_000))


# -------------------------------------------------------------------------------------------------- tables and memory


def test_tables_are_small_for_any_ratio():
    awkward = [4_000, 4_001, 7_999, 8_000, 11_025, 16_000, 44_100, 44_101, 47_999, 48_000, 96_000, 191_999, 192_000]
    for from_rate, to_rate in itertools.permutations(awkward, 2):
        assert table_info(from_rate, to_rate)["nbytes"] <= 272 * 1024


def test_customary_rates_are_not_interpolated():
    for from_rate, to_rate in itertools.permutations(
        [8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000], 2
    ):
        info = table_info(from_rate, to_rate)
        assert info["rows"] == info["phases"]


def test_table_info_of_equal_rates():
    with pytest.raises(ValueError, match="equal rates need no table"):
        table_info(16_000, 16_000)


def test_the_cache_is_bounded_and_users_keep_their_table():
    resample.clear_tables()
    planes = noise(1, 2000, seed=13)
    resampler = Resampler(44_100, 16_000)
    want = run(resampler, planes)
    for rate in range(5_000, 5_100):
        Resampler(rate, 16_000)
    assert len(resample._tables) == 32
    np.testing.assert_array_equal(run(resampler, planes), want)
    np.testing.assert_array_equal(run(Resampler(44_100, 16_000), planes), want)
    resample.clear_tables()
    assert len(resample._tables) == 0
    np.testing.assert_array_equal(run(resampler, planes), want)


def test_equal_ratios_share_a_table():
    resample.clear_tables()
    Resampler(48_000, 16_000)
    Resampler(24_000, 8_000)
    assert len(resample._tables) == 1


def test_memory_of_an_instance():
    assert Resampler(48_000, 16_000).nbytes <= 5 * 1024
    assert Resampler(48_000, 16_000, 2).nbytes <= 10 * 1024
    assert Resampler(192_000, 16_000).nbytes <= 8 * 1024
    resampler = Resampler(44_100, 16_000)
    before = resampler.nbytes
    resampler.push(noise(1, 441_000))
    assert resampler.nbytes == before


# -------------------------------------------------------------------------------------------------- threads


def test_many_threads_give_the_serial_result():
    ratios = RATIOS * 2
    inputs = [noise(2, 20_000 if to_rate < 100_000 else 2_000, seed) for seed, (_, to_rate) in enumerate(ratios)]

    def work(index: int) -> np.ndarray:
        return run(Resampler(*ratios[index], 2), inputs[index], list(range(777, inputs[index].shape[1], 777)))

    serial = [work(index) for index in range(len(ratios))]
    resample.clear_tables()
    with ThreadPoolExecutor(4) as pool:
        for got, want in zip(pool.map(work, range(len(ratios))), serial, strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_second_thread_is_refused_not_obeyed():
    """A long push works without the GIL; whoever comes in meanwhile is told so, and the stream stays whole."""
    resampler = Resampler(48_000, 16_000)
    planes = noise(1, 480_000)
    started = threading.Event()
    stop = threading.Event()
    refused = 0

    def intrude() -> None:
        nonlocal refused
        started.set()
        while not stop.is_set():
            try:
                resampler.push(planes[:, :1])
                resampler.reset()
            except RuntimeError as exc:
                refused += "another thread" in str(exc)

    thread = threading.Thread(target=intrude)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        started.wait()
        for _ in range(2000):
            try:
                resampler.push(planes)
            except RuntimeError:
                continue
            if refused:
                break
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert refused
    resampler.reset()
    np.testing.assert_array_equal(run(resampler, planes), run(Resampler(48_000, 16_000), planes))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_table_of_its_parent() -> None:
    stop = threading.Event()

    def build() -> None:
        rate = 191_000
        while not stop.is_set():
            resample.clear_tables()
            resample.table_info(rate, 4_001)
            rate = 191_000 + (rate - 190_999) % 900

    thread = threading.Thread(target=build)
    thread.start()
    try:
        for _ in range(5):
            time.sleep(0.003)
            child = os.fork()
            if child == 0:
                Resampler(48_000, 16_000)
                os._exit(0)
            until = time.monotonic() + 20
            while os.waitpid(child, os.WNOHANG) == (0, 0):
                if time.monotonic() > until:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    pytest.fail("the child hangs")
                time.sleep(0.01)
    finally:
        stop.set()
        thread.join()


def test_rates_are_integers() -> None:
    with pytest.raises(TypeError):
        Resampler(44_100.9, 16_000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="from_rate must be within"):
        Resampler(2**40, 16_000)
