import array
import copy
import itertools
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import pcm_ref
from reference.pcm_ref import ENCODINGS, SAMPLE_BYTES
from voxgate._native.pcm import PcmDecoder, sample_bytes


def noise(n_bytes, seed=0):
    return np.random.default_rng(seed).integers(0, 256, n_bytes, dtype=np.uint8).tobytes()


def decode_cut(encoding, channels, data, cuts):
    """The stream pushed in pieces between `cuts`, and what finish() gave."""
    decoder = PcmDecoder(encoding, channels)
    edges = [0, *cuts, len(data)]
    planes = [decoder.push(data[start:end]) for start, end in itertools.pairwise(edges)]
    return np.concatenate(planes, axis=1), decoder.finish()


def assert_same(got, expected):
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == np.float32
        assert one.shape == other.shape
        # By bits: -0.0 counts, and NaN would be seen.
        np.testing.assert_array_equal(one.view(np.uint32), np.ascontiguousarray(other).view(np.uint32))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sample_bytes(encoding):
    assert sample_bytes(encoding) == SAMPLE_BYTES[encoding]
    assert PcmDecoder(encoding, 3).frame_bytes == 3 * SAMPLE_BYTES[encoding]


@pytest.mark.parametrize(
    ("encoding", "wire", "expected"),
    [
        ("s16", struct.pack("<6h", -32768, -1, 0, 1, 16384, 32767), [-1, -1 / 32768, 0, 1 / 32768, 0.5, 32767 / 32768]),
        ("s32", struct.pack("<4i", -(2**31), -(2**30), 0, 2**31 - 1), [-1, -0.5, 0, 1]),
        ("s24", b"\x00\x00\x80\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00\x40", [-1, -(2**-23), 0, 2**-23, 0.5]),
        ("s24", b"\xff\xff\x7f", [(2**23 - 1) / 2**23]),
        ("u8", bytes([0, 127, 128, 129, 255]), [-1, -1 / 128, 0, 1 / 128, 127 / 128]),
        # The ends of the range, the two zeros and one value of each middle, from the tables of G.711 (16-bit scale).
        ("mulaw", bytes([0x00, 0x7F, 0x80, 0xFF, 0xEF, 0x8F]), np.array([-32124, 0, 32124, 0, 132, 16764]) / 32768),
        ("alaw", bytes([0x2A, 0x55, 0xD5, 0xAA, 0xC5, 0xBA]), np.array([-32256, -8, 8, 32256, 264, 16128]) / 32768),
    ],
)
def test_known_values(encoding, wire, expected):
    np.testing.assert_array_equal(PcmDecoder(encoding, 1).push(wire)[0], np.array(expected, np.float32))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("encoding", "code"), [("f32", "f"), ("f64", "d")])
def test_floats_are_clipped_and_finite(encoding, code, channels):
    values = [0.25, -0.5, 1.0, -1.0, 1.0000001, -7.0, float("inf"), float("-inf"), float("nan"), 1e-45, -0.0]
    expected = [0.25, -0.5, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 1e-45, -0.0]
    if code == "d":
        values += [1e300, -1e300, 1e-300]  # finite as a double, not as a float
        expected += [1.0, -1.0, 0.0]
    wire = b"".join(struct.pack(f"<{channels}{code}", *[value] * channels) for value in values)
    planes = PcmDecoder(encoding, channels).push(wire)
    np.testing.assert_array_equal(planes, np.tile(np.array(expected, np.float32), (channels, 1)))


def test_a_not_quite_nan_stays_clipped():
    """Every exponent of a float at the edge of its neighbours."""
    bits = np.array([0x3F7FFFFF, 0x3F800000, 0x3F800001, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FFFFFFF], np.uint32)
    bits = np.concatenate([bits, bits | 0x80000000])
    assert_same((PcmDecoder("f32", 1).push(bits.tobytes()),), (pcm_ref.decode("f32", 1, bits.tobytes())[0],))


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 256])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_length_around_the_vector_loops(encoding, channels):
    frame_bytes = channels * SAMPLE_BYTES[encoding]
    for n_frames in [*range(36), 63, 64, 65, 959, 960, 961] if channels < 256 else [0, 1, 2, 17]:
        for odd in {-1, 0, 1, frame_bytes - 1}:
            data = noise(max(0, n_frames * frame_bytes + odd), seed=n_frames)
            assert_same(decode_cut(encoding, channels, data, []), pcm_ref.decode(encoding, channels, data))


@pytest.mark.parametrize("offset", range(1, 9))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_unaligned_input(encoding, offset):
    data = noise(8 * 50 + offset)
    assert_same(decode_cut(encoding, 2, memoryview(data)[offset:], []), pcm_ref.decode(encoding, 2, data[offset:]))


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_single_bytes(encoding, channels):
    data = noise(5 * channels * SAMPLE_BYTES[encoding] + SAMPLE_BYTES[encoding] * (channels - 1))
    assert_same(decode_cut(encoding, channels, data, range(1, len(data))), pcm_ref.decode(encoding, channels, data))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_two_cuts_anywhere(encoding, channels):
    frame_bytes = channels * SAMPLE_BYTES[encoding]
    data = noise(2 * frame_bytes + 1)
    expected = pcm_ref.decode(encoding, channels, data)
    for first in range(len(data) + 1):
        for second in range(first, len(data) + 1):
            assert_same(decode_cut(encoding, channels, data, [first, second]), expected)


@given(st.data())
def test_chunking_is_invisible(data):
    encoding = data.draw(st.sampled_from(ENCODINGS))
    channels = data.draw(st.integers(1, 9))
    wire = data.draw(st.binary(max_size=400))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    assert_same(decode_cut(encoding, channels, wire, cuts), pcm_ref.decode(encoding, channels, wire))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_finish_keeps_complete_samples(encoding):
    size, channels = SAMPLE_BYTES[encoding], 4
    data = noise(size * channels)
    for n_bytes in range(len(data)):
        decoder = PcmDecoder(encoding, channels)
        assert decoder.push(data[:n_bytes]).shape == (channels, 0)
        assert decoder.pending_bytes == n_bytes
        tail = decoder.finish()
        kept = n_bytes // size
        assert tail.shape == (channels, 1 if kept else 0)
        if kept:
            np.testing.assert_array_equal(tail[:kept, 0], pcm_ref.decode_samples(encoding, data[:n_bytes]))
            assert not tail[kept:].any()
        assert decoder.pending_bytes == 0
        assert decoder.finish().shape == (channels, 0)
        # As new: nothing of the old stream comes back.
        assert_same((decoder.push(data),), (pcm_ref.decode(encoding, channels, data)[0],))


def test_reset_drops_a_split_frame():
    decoder = PcmDecoder("s16", 2)
    decoder.push(b"\x01\x02\x03")
    decoder.reset()
    assert decoder.pending_bytes == 0
    assert_same((decoder.push(b"\x00\x40\x00\xc0"),), (np.array([[0.5], [-0.5]], np.float32),))


@pytest.mark.parametrize(
    "wrap",
    [
        bytes,
        bytearray,
        memoryview,
        lambda data: memoryview(bytearray(data)),
        lambda data: memoryview(data).cast("h"),
        lambda data: memoryview(b"x" + data)[1:],
        lambda data: array.array("h", data),
        lambda data: np.frombuffer(data, np.int16).reshape(-1, 2),
        type("Sub", (bytes,), {}),
    ],
    ids=["bytes", "bytearray", "memoryview", "writable", "shorts", "slice", "array", "ndarray", "subclass"],
)
def test_any_contiguous_buffer(wrap):
    data = noise(64)
    assert_same((PcmDecoder("s16", 2).push(wrap(data)),), (pcm_ref.decode("s16", 2, data)[0],))


def test_a_buffer_is_let_go():
    decoder, data = PcmDecoder("s16", 2), bytearray(noise(7))
    decoder.push(data)
    data.extend(b"x")  # BufferError while somebody holds the buffer
    with pytest.raises(BufferError, match="contiguous"):
        decoder.push(memoryview(data)[::2])
    data.extend(b"x")


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2], 1.0, object()], ids=lambda data: type(data).__name__)
def test_not_a_buffer(data):
    decoder = PcmDecoder("s16", 1)
    with pytest.raises(TypeError, match=f"data must be bytes or another contiguous buffer, got {type(data).__name__}"):
        decoder.push(data)


@pytest.mark.parametrize(
    "data", [memoryview(bytes(8))[::2], np.zeros((4, 4), np.int16)[:, ::2], np.zeros((4, 4), np.int16).T[:2]]
)
def test_not_contiguous(data):
    decoder = PcmDecoder("s16", 1)
    decoder.push(b"\x00")
    with pytest.raises(BufferError, match=f"contiguous buffer, got {type(data).__name__}"):
        decoder.push(data)
    assert decoder.pending_bytes == 1
    assert decoder.push(b"\x40")[0, 0] == 0.5  # the refused push has changed nothing


@pytest.mark.parametrize("encoding", ["s8", "S16", "", None, 16, "f32le"])
def test_unknown_encoding(encoding):
    message = f"encoding must be one of s16, s32, u8, s24, f32, f64, mulaw, alaw, got {encoding!r}"
    with pytest.raises(ValueError, match=message):
        PcmDecoder(encoding, 1)
    with pytest.raises(ValueError, match=message):
        sample_bytes(encoding)


@pytest.mark.parametrize("channels", [0, -1, 257, 2**40])
def test_channels_out_of_range(channels):
    with pytest.raises(ValueError, match=rf"channels must be 1\.\.256, got {channels}"):
        PcmDecoder("s16", channels)


@pytest.mark.parametrize("channels", [1.0, "2", None])
def test_channels_of_a_wrong_type(channels):
    with pytest.raises(TypeError):
        PcmDecoder("s16", channels)


def test_results_are_new_writable_planes():
    decoder = PcmDecoder("s16", 2)
    first = decoder.push(noise(40))
    kept = first.copy()
    assert first.flags.c_contiguous
    assert first.flags.owndata
    assert first.flags.writeable
    decoder.push(noise(40, seed=1))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_belongs_to_one_stream(duplicate):
    with pytest.raises(TypeError, match="one stream"):
        duplicate(PcmDecoder("s16", 1))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_threads_do_not_meet(encoding):
    """Each thread its decoder; the last push is large enough to release the GIL, the one before just not."""
    sizes = [1, 3840, 300_001, 2**22 - 1, 2**22, 5] if encoding in ("s16", "mulaw") else [1, 3840, 300_001, 2**22, 5]

    def run(seed):
        data = noise(sum(sizes), seed)
        return decode_cut(encoding, 2, data, np.cumsum(sizes)[:-1].tolist()), pcm_ref.decode(encoding, 2, data)

    with ThreadPoolExecutor(4) as pool:
        for got, expected in pool.map(run, range(4)):
            assert_same(got, expected)


def test_one_decoder_hammered_by_two_threads_stays_whole():
    """Misuse must not harm memory: the samples come in any order, but all frames come."""
    decoder, data = PcmDecoder("s16", 2), noise(2**22 + 3)
    with ThreadPoolExecutor(2) as pool:
        frames = sum(planes.shape[1] for planes in pool.map(decoder.push, [data, data[: 2**22]] * 4))
    assert frames == (2**23 + 3) * 4 // 4


def test_the_rest_of_a_stream_begins_another():
    decoder, other = PcmDecoder("s16", 2), PcmDecoder("s16", 2)
    assert decoder.push(bytes(range(7))).shape == (2, 1)
    rest = decoder.take_rest()
    assert (rest, decoder.pending_bytes, decoder.take_rest()) == (bytes([4, 5, 6]), 0, b"")
    np.testing.assert_array_equal(other.push(rest + b"\7"), PcmDecoder("s16", 2).push(bytes([4, 5, 6, 7])))
    assert decoder.finish().shape == (2, 0)
