from __future__ import annotations

import json

import numpy as np
import pytest

from voxgate.load import Material, encode_material, make_material
from voxgate.protocol.formats import AudioFormat


def payloads(material: Material) -> list[bytes]:
    """What a server reads: the frames without their masks."""
    return [unmasked(frame) for frame in material.frames]


def unmasked(frame: bytes) -> bytes:
    length = frame[1] & 0x7F
    start = {126: 4, 127: 10}.get(length, 2)
    key = frame[start : start + 4]
    return bytes(byte ^ key[i % 4] for i, byte in enumerate(frame[start + 4 :]))


def ramp(n_samples: int) -> np.ndarray:
    return np.linspace(-0.5, 0.5, n_samples, dtype=np.float32)


def test_the_recording_in_messages_filled_up_with_silence():
    planes = ramp(1000)[None]
    material = make_material(planes, 16_000, 16_000, 1, "s16", 20)
    assert material.format == AudioFormat(1, 16_000, 16, False)
    assert [len(payload) for payload in payloads(material)] == [640] * 4
    samples = np.frombuffer(b"".join(payloads(material)), "<i2")
    assert np.array_equal(samples[:1000], np.rint(planes[0] * 32_768).astype(int))
    assert not samples[1000:].any()
    assert material.duration_s == 0.08


def test_channels_that_are_missing_are_others_at_another_place():
    planes = np.stack([ramp(1600), -ramp(1600)])
    material = make_material(planes, 16_000, 16_000, 4, "f32", 100)
    samples = np.frombuffer(b"".join(payloads(material)), "<f4").reshape(-1, 4).T
    assert np.array_equal(samples[:2], planes)
    assert np.array_equal(samples[2:], np.roll(planes, 800, axis=1))


def test_it_is_resampled():
    material = make_material(ramp(800)[None], 8000, 48_000, 1, "s16", 20)
    assert [len(payload) for payload in payloads(material)] == [1920] * 5


def test_offsets_go_round_the_recording():
    material = make_material(ramp(16_000)[None], 16_000, 16_000, 1, "s16", 20)
    assert [material.offset(number, 4) for number in range(4)] == [0, 12, 25, 37]


def test_the_start_frame_says_the_format():
    material = make_material(ramp(800)[None], 8000, 8000, 1, "f32", 20)
    start = json.loads(unmasked(material.start_frame(True, True, "secret")))
    assert start["format"] == {"channels": 1, "sample_rate": 8000, "bit_depth": 32, "is_float": True}
    assert (start["interim_results"], start["notices"], start["token"]) == (True, True, "secret")


@pytest.mark.parametrize(
    ("planes", "rate", "complaint"),
    [(np.zeros((1, 0), np.float32), 16_000, "empty"), (ramp(100)[None], 11_025, "20 ms is not a whole number")],
)
def test_what_cannot_be_cut_is_refused(planes, rate, complaint):
    with pytest.raises(ValueError, match=complaint):
        make_material(planes, 16_000, rate, 1, "s16", 20)


@pytest.mark.parametrize("container", ["webm", "mp3", "wav"])
def test_a_container_is_encoded_for_the_whole_stream_of_each_offset(container):
    pytest.importorskip("av")
    material = encode_material(ramp(16_000)[None], 16_000, container, 100, 25, 2)
    assert material.offset(1, 2) == 5
    streams = []
    for offset in (0, 5):
        frames, begin = material.played_from(offset)
        assert (begin, len(frames)) == (0, 25)
        streams.append(b"".join(map(unmasked, frames)))
    assert streams[0] != streams[1]
    assert json.loads(unmasked(material.start_frame(False, False, None)))["format"] == {"container": container}
    if container == "wav":  # half a second into the recording, and round it
        samples = np.frombuffer(streams[1][-80_000:], "<i2") / 32_768
        assert np.allclose(samples, np.resize(np.roll(ramp(16_000), -8000), 40_000), atol=1 / 32_768)
