import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from voxgate._native.detector import CallableDetector, Detector
from voxgate._native.energy import EnergyDetector


class Peak:
    """A detector in Python that remembers: the highest sample so far."""

    def __init__(self):
        self.peak = 0.0
        self.frames = []

    def probability(self, frame):
        self.frames.append(frame)
        self.peak = max(self.peak, float(frame.max()))
        return self.peak


def answering(value):
    return lambda: type("Fixed", (), {"probability": lambda self, frame: value})()


def planes(channels, n_samples, seed=0):
    return np.random.default_rng(seed).random((channels, n_samples), np.float32)


def test_attributes():
    detector = CallableDetector(Peak, 3, 160, 8000)
    assert isinstance(detector, Detector)
    assert (detector.channels, detector.frame_samples, detector.sample_rate) == (3, 160, 8000)
    with pytest.raises(AttributeError):
        detector.channels = 4


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("n_samples", [0, 1, 9, 10, 11, 19, 20, 21, 105])
def test_whole_frames_in_order(channels, n_samples):
    audio = planes(channels, n_samples)
    got = CallableDetector(Peak, channels, 10, 1000).probabilities(audio)
    n_frames = n_samples // 10
    frames = audio[:, : n_frames * 10].reshape(channels, n_frames, 10).max(axis=2)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, np.maximum.accumulate(frames, axis=1))


def test_state_goes_on_and_is_forgotten():
    detector = CallableDetector(Peak, 1, 2, 1000)
    assert detector.probabilities([[0.5, 0.1]]).tolist() == [[0.5]]
    assert detector.probabilities([[0.25, 0.1]]).tolist() == [[0.5]]
    detector.reset()
    assert detector.probabilities([[0.25, 0.1]]).tolist() == [[0.25]]


def test_every_channel_has_its_own():
    made = []

    def factory():
        made.append(Peak())
        return made[-1]

    detector = CallableDetector(factory, 3, 4, 1000)
    audio = planes(3, 8)
    detector.probabilities(audio)
    assert len(made) == 3
    for channel, own in enumerate(made):
        np.testing.assert_array_equal(np.concatenate(own.frames), audio[channel])
        assert own.frames[0].base is None  # a copy: it may be kept


@pytest.mark.parametrize("make", [lambda: CallableDetector(Peak, 2, 320, 16000), lambda: EnergyDetector(2)])
def test_any_layout(make):
    audio = planes(2, 4000)
    expected = make().probabilities(audio)
    strided = np.repeat(audio, 2, axis=1)[:, ::2]
    for same in (np.asfortranarray(audio), audio.astype(np.float64), strided, audio.tolist()):
        np.testing.assert_array_equal(make().probabilities(same), expected)


@pytest.mark.parametrize("shape", [(), (10,), (1, 10), (3, 10), (2, 5, 1)])
def test_planes_of_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"planes must have shape \(2, samples\), got \("):
        CallableDetector(Peak, 2, 5, 1000).probabilities(np.zeros(shape, np.float32))


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_a_probability_outside_0_to_1(value):
    with pytest.raises(ValueError, match=f"a detector's probability must be within 0..1, got {value!r}"):
        CallableDetector(answering(value), 1, 2, 1000).probabilities([[0, 0]])


@pytest.mark.parametrize("value", [0, 1, np.float32(0.5), True])
def test_anything_that_is_a_number(value):
    assert CallableDetector(answering(value), 1, 2, 1000).probabilities([[0, 0]])[0, 0] == value


def test_its_exceptions_pass_through():
    class Broken:
        def probability(self, frame):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        CallableDetector(Broken, 1, 2, 1000).probabilities(planes(1, 10))
    with pytest.raises(TypeError):
        CallableDetector(answering(None), 1, 2, 1000).probabilities(planes(1, 10))


@pytest.mark.parametrize("sizes", [(0, 10, 1000), (1, 0, 1000), (1, 10, 0), (-1, 10, 1000)])
def test_sizes_out_of_range(sizes):
    message = "channels, frame_samples and sample_rate must be at least 1, got {}, {} and {}".format(*sizes)
    with pytest.raises(ValueError, match=message):
        CallableDetector(Peak, *sizes)


def test_it_lets_go_of_what_it_made():
    detector = CallableDetector(Peak, 1, 2, 1000)
    held = []

    class Watched(Peak):
        def __init__(self):
            super().__init__()
            held.append(weakref.ref(self))

    detector = CallableDetector(Watched, 2, 2, 1000)
    detector.reset()
    del detector
    gc.collect()
    assert [reference() for reference in held] == [None] * 4


def test_threads_do_not_meet():
    def run(seed):
        return CallableDetector(Peak, 2, 16, 16000).probabilities(planes(2, 8000, seed))

    serial = [run(seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        for got, expected in zip(pool.map(run, range(6)), serial, strict=True):
            np.testing.assert_array_equal(got, expected)


def test_is_set_up_once() -> None:
    class Silent:
        def probability(self, frame: object) -> float:
            return 0.0

    detector = CallableDetector(Silent, 1, 10, 16000)
    with pytest.raises(RuntimeError, match="set up once"):
        detector.__init__(Silent, 100, 10, 16000)  # type: ignore[misc]
    assert detector.channels == 1
    with pytest.raises(TypeError, match="one stream"):
        copy.copy(detector)
