from __future__ import annotations

import pytest

from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AudioFormat, check_format

SUPPORTED = [
    (8, False, None, "u8", 1),
    (16, False, None, "s16", 2),
    (24, False, None, "s24", 3),
    (32, False, None, "s32", 4),
    (32, True, None, "f32", 4),
    (64, True, None, "f64", 8),
    (8, False, "mulaw", "mulaw", 1),
    (8, False, "alaw", "alaw", 1),
]


@pytest.mark.parametrize(("bit_depth", "is_float", "encoding", "name", "sample_bytes"), SUPPORTED)
def test_supported_formats(bit_depth: int, is_float: bool, encoding: str | None, name: str, sample_bytes: int) -> None:
    format = AudioFormat(3, 44100, bit_depth, is_float, encoding)
    check_format(format)
    assert format.pcm_encoding == name
    assert format.sample_bytes == sample_bytes
    assert format.frame_bytes == 3 * sample_bytes


LIST = (
    "supported (bit_depth/is_float): 8/false, 16/false, 24/false, 32/false, 32/true, 64/true, "
    'and 8/false with encoding "mulaw" or "alaw"'
)
UNSUPPORTED = [
    (AudioFormat(0, 16000, 16, False), "format.channels must be 1..8, got 0"),
    (AudioFormat(-1, 16000, 16, False), "format.channels must be 1..8, got -1"),
    (AudioFormat(9, 16000, 16, False), "format.channels must be 1..8, got 9"),
    (AudioFormat(10**9999, 16000, 16, False), "format.channels must be 1..8, got an integer of 33216 bits"),
    (AudioFormat(1, 3999, 16, False), "format.sample_rate must be 4000..192000 Hz, got 3999"),
    (AudioFormat(1, 192001, 16, False), "format.sample_rate must be 4000..192000 Hz, got 192001"),
    (AudioFormat(1, 16000, 64, False), f"format.bit_depth 64 with is_float false is not supported; {LIST}"),
    (AudioFormat(1, 16000, 16, True), f"format.bit_depth 16 with is_float true is not supported; {LIST}"),
    (AudioFormat(1, 16000, 0, False), f"format.bit_depth 0 with is_float false is not supported; {LIST}"),
    (AudioFormat(1, 16000, 12, False), f"format.bit_depth 12 with is_float false is not supported; {LIST}"),
    (AudioFormat(1, 8000, 8, False, "opus"), 'format.encoding must be "mulaw", "alaw" or null, got "opus"'),
    (AudioFormat(1, 8000, 16, False, "mulaw"), 'format.bit_depth must be 8 with encoding "mulaw", got 16'),
    (AudioFormat(1, 8000, 8, True, "alaw"), 'format.is_float must be false with encoding "alaw", got true'),
]


@pytest.mark.parametrize(("format", "message"), UNSUPPORTED)
def test_unsupported_formats(format: AudioFormat, message: str) -> None:
    with pytest.raises(InvalidStart) as caught:
        check_format(format)
    assert str(caught.value) == message


def test_the_ends_of_the_ranges_are_supported() -> None:
    for channels in (1, 8):
        for rate in (4000, 192_000):
            check_format(AudioFormat(channels, rate, 16, False))
    check_format(AudioFormat(2, 8000, 16, False), 2, 8000, 8000)
    with pytest.raises(InvalidStart, match=r"^format\.channels must be 1\.\.2, got 3$"):
        check_format(AudioFormat(3, 8000, 16, False), 2)
    with pytest.raises(InvalidStart, match=r"must be 8000\.\.8001 Hz, got 7999$"):
        check_format(AudioFormat(1, 7999, 16, False), 2, 8000, 8001)
