import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reference.ring_ref import ListRing
from voxgate._native import isa
from voxgate._native.ring import SampleRing

CHUNK = 512


def most_bytes(n_held, width=4):
    """What a ring of so many samples may take at the most: two chunks are not full, one is spare, and the table."""
    return (n_held + 3 * CHUNK - 2) * width + 64 + n_held // CHUNK * 33


def ramp(start, end):
    """Samples that say their position (exact up to 2**24)."""
    return np.arange(start, end, dtype=np.float32)


def quiet(start, end):
    """Samples of 8 bits, of which a few are louder."""
    position = np.arange(start, end)
    whole_numbers = np.where(position % 3001, position * 7919 % 255 - 128, position % 40_000 - 20_000)
    return (whole_numbers / 32_768).astype(np.float32)


class Against(RuleBasedStateMachine):
    """Any sequence of calls: the ring and the list agree on every answer and on every refusal."""

    @initialize(
        capacity=st.one_of(st.integers(1, 40), st.integers(4000, 30_000)),
        samples=st.sampled_from([ramp, quiet]),
    )
    def start(self, capacity, samples):
        self.ring, self.model = SampleRing(capacity), ListRing(capacity)
        self.samples = samples

    def both(self, name, ring_arguments, model_arguments):
        try:
            expected = getattr(self.model, name)(*model_arguments)
        except (BufferError, IndexError) as exc:
            with pytest.raises(type(exc)):
                getattr(self.ring, name)(*ring_arguments)
            return
        got = getattr(self.ring, name)(*ring_arguments)
        if name == "read":
            assert got.dtype == np.float32
            assert got.tolist() == expected

    def near(self, where, distance):
        return round(self.model.start_pos + where * len(self.model)) + distance

    @rule(n=st.one_of(st.integers(0, 50), st.integers(0, 9000)))
    def push(self, n):
        samples = self.samples(self.model.end_pos, self.model.end_pos + n)
        self.both("push", [samples], [samples.tolist()])

    @rule(distance=st.integers(-1, 1))
    def push_what_is_free(self, distance):
        self.push(max(0, self.model.capacity - len(self.model) + distance))

    @rule(where=st.sampled_from([0, 0.25, 0.5, 0.9, 1]), distance=st.integers(-2, 2))
    def discard(self, where, distance):
        pos = self.near(where, distance)
        self.both("discard_before", [pos], [pos])

    @rule(
        first=st.sampled_from([0, 0.5, 1]),
        last=st.sampled_from([0, 0.5, 1]),
        before=st.integers(-1, 1),
        after=st.integers(-1, 1),
    )
    def read(self, first, last, before, after):
        edges = [self.near(first, before), self.near(last, after)]
        self.both("read", edges, edges)

    @invariant()
    def agree(self):
        assert (self.ring.start_pos, self.ring.end_pos) == (self.model.start_pos, self.model.end_pos)
        assert len(self.ring) == len(self.model)
        assert self.ring.capacity == self.model.capacity
        assert (
            self.ring.read(self.ring.start_pos, self.ring.end_pos).tolist()
            == self.model.samples[self.model.start_pos :]
        )
        assert self.ring.nbytes <= most_bytes(len(self.model))


TestAgainstAList = Against.TestCase
TestAgainstAList.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_new():
    ring = SampleRing(100)
    assert (ring.capacity, ring.start_pos, ring.end_pos, len(ring), ring.nbytes) == (100, 0, 0, 0, 0)
    assert ring.read(0, 0).shape == (0,)
    ring.push(np.empty(0, np.float32))
    ring.discard_before(0)
    assert ring.nbytes == 0


def test_a_read_is_a_copy():
    ring = SampleRing(100)
    samples = ramp(0, 10)
    ring.push(samples)
    samples[:] = -1
    first = ring.read(2, 5)
    first[:] = -2
    assert ring.read(0, 10).tolist() == list(range(10))
    ring.discard_before(10)
    ring.push(ramp(10, 100))
    assert first.tolist() == [-2, -2, -2]


@pytest.mark.parametrize("more", [0, 1, 2])
def test_full_stores_nothing(more):
    ring = SampleRing(10)
    ring.push(ramp(0, 8))
    if more == 0:
        ring.push(ramp(8, 10))
        return
    with pytest.raises(BufferError, match=f"need room for {2 + more} samples, have 2 of 10 free"):
        ring.push(ramp(8, 10 + more))
    assert ring.end_pos == 8
    ring.push(ramp(8, 10))
    assert ring.read(0, 10).tolist() == list(range(10))


@pytest.mark.parametrize(("start", "end"), [(4, 8), (5, 11), (3, 4), (8, 7), (-1, 6), (10, 11), (2**62, 2**62 + 1)])
def test_reading_what_is_not_held(start, end):
    ring = SampleRing(10)
    ring.push(ramp(0, 10))
    ring.discard_before(5)
    with pytest.raises(IndexError, match=rf"asked for samples {start}\.\.{end}, held are samples 5\.\.10"):
        ring.read(start, end)


def test_discarding_what_has_not_come():
    ring = SampleRing(10)
    ring.push(ramp(0, 10))
    with pytest.raises(IndexError, match=r"cannot discard before 11: held are samples 0\.\.10"):
        ring.discard_before(11)
    assert len(ring) == 10
    ring.discard_before(10)
    ring.discard_before(3)
    assert (ring.start_pos, ring.end_pos) == (10, 10)


@pytest.mark.parametrize("pos", [1.0, "1", None])
def test_positions_of_a_wrong_type(pos):
    ring = SampleRing(10)
    ring.push(ramp(0, 10))
    for call in (lambda: ring.read(pos, 5), lambda: ring.read(0, pos), lambda: ring.discard_before(pos)):
        with pytest.raises(TypeError, match="integer"):
            call()
    with pytest.raises(OverflowError):
        ring.read(0, 2**63)


@pytest.mark.parametrize("capacity", [0, -1, 2**62])
def test_capacity_out_of_range(capacity):
    with pytest.raises(ValueError, match=rf"capacity_samples must be 1\.\.\d+, got {capacity}"):
        SampleRing(capacity)


@pytest.mark.parametrize("capacity", [1.0, "2", None])
def test_capacity_of_a_wrong_type(capacity):
    with pytest.raises(TypeError):
        SampleRing(capacity)


@pytest.mark.parametrize(
    ("samples", "came"),
    [
        ([0.0], "list"),
        (b"1234", "bytes"),
        (None, "NoneType"),
        (np.zeros(4), "an array of float64"),
        (np.zeros(4, np.int16), "an array of int16"),
        (np.float32(1), "float32"),
    ],
    ids=repr,
)
def test_pushing_a_wrong_type(samples, came):
    with pytest.raises(TypeError, match=rf"samples must be a float32 array of shape \(n,\), got {came}"):
        SampleRing(10).push(samples)


@pytest.mark.parametrize("shape", [(), (2, 2), (1, 4), (0, 0)])
def test_pushing_a_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"samples must have shape \(n,\), got \("):
        SampleRing(10).push(np.zeros(shape, np.float32))


def test_pushing_what_does_not_lie_in_one_piece():
    ring = SampleRing(20)
    ring.push(ramp(0, 10)[::-2])
    ring.push(np.arange(3, dtype=">f4"))
    ring.push(np.frombuffer(b"x" + ramp(7, 9).tobytes(), np.uint8)[1:].view(np.float32))
    assert ring.read(0, 10).tolist() == [9, 7, 5, 3, 1, 0, 1, 2, 7, 8]


def whole(start, end):
    """The same, of 16 bits."""
    return (ramp(start, end) % 65_536 - 32_768) / 32_768


@pytest.mark.parametrize(("samples", "width"), [(ramp, 4), (whole, 2)], ids=["float", "16 bits"])
def test_an_idle_stream_is_small(samples, width):
    """600 ms at 16 kHz held back, 20 ms at a time, for 20 s."""
    ring = SampleRing(31 * 16_000)
    for start in range(0, 320_000, 320):
        ring.push(samples(start, start + 320))
        ring.discard_before(ring.end_pos - 9600)
        assert ring.nbytes <= most_bytes(9920, width)
    expected = samples(320_000 - 9600, 320_000)
    assert ring.read(320_000 - 9600, 320_000).tobytes() == expected.tobytes()


@pytest.mark.parametrize(("samples", "width"), [(ramp, 4), (whole, 2)], ids=["float", "16 bits"])
def test_memory_comes_back_after_a_long_utterance(samples, width):
    ring = SampleRing(480_000)
    for start in range(0, 480_000, 320):
        ring.push(samples(start, start + 320))
    assert 0.95 * 480_000 * width <= ring.nbytes <= 1.01 * 480_000 * width + 16 * 1024
    ring.discard_before(480_000 - 9600)
    assert ring.nbytes <= most_bytes(9600, width)
    expected = samples(480_000 - 9600, 480_000)
    assert ring.read(480_000 - 9600, 480_000).tobytes() == expected.tobytes()
    ring.discard_before(480_000)
    assert ring.nbytes <= most_bytes(0, width)


SIXTEEN_BITS = (np.arange(-32_768, 32_768) / 32_768).astype(np.float32)


def test_all_of_16_bits_comes_back_in_half_the_memory():
    ring = SampleRing(1 << 20)
    for piece in np.array_split(SIXTEEN_BITS, 300):
        ring.push(piece)
    assert ring.read(0, 65_536).tobytes() == SIXTEEN_BITS.tobytes()
    assert ring.nbytes <= most_bytes(65_536, 2)


@pytest.mark.parametrize("n_bits", range(1, 17))
def test_16_bit_samples_take_as_many_bits_as_the_loudest_near_them_needs(n_bits):
    """The last 4096 take 16 until the next discard, and so do all where 14 or more are needed."""
    lowest = -(1 << n_bits - 1)
    whole_numbers = np.random.default_rng(n_bits).integers(lowest, -lowest, 20 * CHUNK)
    whole_numbers[::128], whole_numbers[1::128] = lowest, -lowest - 1
    audio = (whole_numbers / 32_768).astype(np.float32)
    ring = SampleRing(1 << 20)
    for piece in np.array_split(audio, 33):
        ring.push(piece)
    assert ring.read(0, len(audio)).tobytes() == audio.tobytes()
    assert ring.read(700, 1100).tobytes() == audio[700:1100].tobytes()
    of_chunk, spare = (16 + CHUNK * n_bits // 8, 2 * CHUNK) if n_bits < 14 else (2 * CHUNK, 0)
    assert ring.nbytes == 12 * of_chunk + 8 * 2 * CHUNK + spare + 8 * 32
    ring.discard_before(0)  # the detector has read the last one, too
    assert ring.nbytes == 20 * of_chunk + spare + 8 * 32
    assert ring.read(0, len(audio)).tobytes() == audio.tobytes()
    ring.discard_before(19 * CHUNK)  # a chunk that is not packed is kept for the next push
    assert ring.nbytes == of_chunk + 2 * CHUNK + 8 * 8


def test_one_loud_sample_makes_no_other_block_larger():
    audio = np.zeros(2 * CHUNK, np.float32)
    audio[200] = -1.0
    ring = SampleRing(1 << 20)
    ring.push(audio)
    ring.discard_before(0)
    assert ring.nbytes == (16 + 16 * (1 + 16 + 1 + 1)) + (16 + 16 * 4) + 2 * CHUNK + 8 * 8
    assert ring.read(0, len(audio)).tobytes() == audio.tobytes()


def as_wide_as(n_bits, n, seed=0):
    """n whole numbers, of which 128 each have the lowest and the highest of n_bits: silence for 0."""
    lowest = -(1 << n_bits - 1) if n_bits else 0
    numbers = np.random.default_rng(seed).integers(lowest, max(1, -lowest), n)
    numbers[5::128], numbers[77::128] = lowest, max(0, -lowest - 1)
    return numbers.astype(np.int16)


def packed_ring(numbers, kernels):
    ring = SampleRing(1 << 20, isa=kernels)
    ring.push(numbers.astype(np.float32) / 32_768)
    ring.discard_before(0)
    return ring


@pytest.mark.parametrize("kernels", isa.supported())
@pytest.mark.parametrize("n_bits", range(17))
def test_every_width_comes_back_from_every_offset(kernels, n_bits):
    """14 bits and more are packed where the other blocks of their chunk have few: in each of its four places."""
    for place in range(4):
        first = CHUNK + place * 128
        numbers = as_wide_as(3, 3 * CHUNK, seed=place)
        numbers[first : first + 128] = as_wide_as(n_bits, 128, seed=n_bits)
        ring, want = packed_ring(numbers, kernels), numbers.astype(np.float32) / 32_768
        assert ring.nbytes == 3 * 16 + 16 * (11 * 3 + max(n_bits, 1)) + 2 * CHUNK + 8 * 8
        for at in range(first - 1, first + 130):
            assert ring.read(at, first + 130).tobytes() == want[at : first + 130].tobytes()
            assert ring.read(first - 1, at).tobytes() == want[first - 1 : at].tobytes()
            assert ring.read(at, at + 1).tobytes() == want[at : at + 1].tobytes()


@pytest.mark.parametrize("kernels", isa.supported())
def test_chunks_of_all_widths_come_back_in_pieces_of_any_length(kernels):
    """Packed ones, ones that are not, and the last, which is not full."""
    numbers = np.concatenate([as_wide_as(width, 128 * (1 + width % 3), seed=width) for width in range(17)] * 3)
    ring, want = packed_ring(numbers, kernels), numbers.astype(np.float32) / 32_768
    assert ring.nbytes < 2 * len(numbers)
    assert ring.read(0, len(numbers)).tobytes() == want.tobytes()
    rng = np.random.default_rng(0)
    for start, end in np.sort(rng.integers(0, len(numbers) + 1, (300, 2))).tolist():
        assert ring.read(start, end).tobytes() == want[start:end].tobytes()
    ring.push(np.float32([np.pi]))  # from here on, all are float32
    assert ring.read(0, len(numbers)).tobytes() == want.tobytes()


def test_kernels_that_there_are_not():
    with pytest.raises(ValueError, match=r"isa must be one of portable.*'mmx'"):
        SampleRing(10, isa="mmx")


def test_a_chunk_that_is_given_up_serves_the_next_push():
    ring = SampleRing(1 << 20)
    ring.push(ramp(0, 3 * CHUNK))
    before = ring.nbytes
    ring.discard_before(CHUNK)
    assert ring.nbytes == before
    ring.push(ramp(3 * CHUNK, 4 * CHUNK))
    assert ring.nbytes == before
    ring.discard_before(3 * CHUNK)
    assert ring.nbytes == before - 4 * CHUNK
    assert ring.read(3 * CHUNK, 4 * CHUNK).tobytes() == ramp(3 * CHUNK, 4 * CHUNK).tobytes()


ABOVE_HALF = np.nextafter(np.float32(0.5), np.float32(1))


@pytest.mark.parametrize(
    "odd", [1.0, -0.0, np.nan, np.inf, -np.inf, 1e30, 1 / 65_536, -32_769 / 32_768, ABOVE_HALF, 1e-40]
)
@pytest.mark.parametrize("n_before", [0, 1, 5000])
def test_a_sample_that_is_not_of_16_bits_comes_back_bit_for_bit(odd, n_before):
    """And so does what came before it and after it."""
    before = SIXTEEN_BITS[30_000 : 30_000 + n_before]  # not loud: packed
    audio = np.concatenate([before, np.float32([0.25, odd, 0.5]), SIXTEEN_BITS[-3000:]])
    ring = SampleRing(1 << 20)
    ring.push(audio[:n_before])
    ring.discard_before(n_before // 2)
    ring.push(audio[n_before : n_before + 3])
    ring.push(audio[n_before + 3 :])
    assert ring.read(n_before // 2, len(audio)).tobytes() == audio[n_before // 2 :].tobytes()
    n_chunks = -(-len(audio) // CHUNK) - n_before // 2 // CHUNK
    assert ring.nbytes - 4 * CHUNK * n_chunks < 2 * CHUNK  # the table


@given(st.lists(st.integers(0, 700), max_size=40), st.integers(0, 3000), st.integers(0, 20_000))
def test_when_a_stream_stops_to_be_of_16_bits_is_invisible(lengths, keep, until):
    ring = SampleRing(4000)
    audio = np.where(np.arange(sum(lengths)) < until, whole(0, sum(lengths)), ramp(0, sum(lengths)) / 100_000)
    for length in lengths:
        ring.push(audio[ring.end_pos :][:length].astype(np.float32))
        ring.discard_before(ring.end_pos - keep)
    assert ring.read(ring.start_pos, len(audio)).tobytes() == audio[ring.start_pos :].astype(np.float32).tobytes()


def test_positions_beyond_32_bits():
    ring, block = SampleRing(1 << 20), np.zeros(1 << 20, np.float32)
    for _ in range(2**32 >> 20):
        ring.push(block)
        ring.discard_before(ring.end_pos)
    ring.push(ramp(0, 5))
    assert (ring.start_pos, ring.end_pos) == (2**32, 2**32 + 5)
    assert ring.read(2**32 + 1, 2**32 + 3).tolist() == [1, 2]
    with pytest.raises(IndexError, match=rf"asked for samples 0\.\.5, held are samples {2**32}\.\."):
        ring.read(0, 5)


@given(st.lists(st.integers(0, 700), max_size=40), st.integers(0, 3000))
def test_chunking_is_invisible(lengths, keep):
    ring = SampleRing(4000)
    for length in lengths:
        ring.push(ramp(ring.end_pos, ring.end_pos + length))
        ring.discard_before(ring.end_pos - keep)
    total = sum(lengths)
    assert (ring.start_pos, ring.end_pos) == (max(0, total - keep), total)
    np.testing.assert_array_equal(ring.read(ring.start_pos, total), ramp(ring.start_pos, total))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_belongs_to_one_stream(duplicate):
    with pytest.raises(TypeError, match="one stream"):
        duplicate(SampleRing(1))


def test_threads_do_not_meet():
    def run(seed):
        rng, ring, held = np.random.default_rng(seed), SampleRing(20_000), []
        for _ in range(300):
            samples = rng.standard_normal(rng.integers(0, 3000), np.float32)
            ring.push(samples)
            ring.discard_before(ring.end_pos - min(len(ring), 9000))
            held.append(ring.read(ring.start_pos, ring.end_pos).sum())
        return held

    serial = [run(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == serial
