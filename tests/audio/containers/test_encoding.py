from __future__ import annotations

import numpy as np
import pytest

from helpers.media import RATE, SPEECH, decode_file, lag_samples, samples
from voxgate.audio.containers.encoding import ENCODERS, encode, encode_live
from voxgate.audio.soxr import resample
from voxgate.protocol.formats import CONTAINERS

pytest.importorskip("av")

SAID = SPEECH[:, : 2 * RATE]


def test_there_is_an_encoder_for_each_container():
    assert set(ENCODERS) == set(CONTAINERS)


@pytest.mark.parametrize("container", CONTAINERS)
def test_what_is_encoded_comes_back(container):
    pcm, format = decode_file(encode(SAID, RATE, container), container)
    heard, said = samples(pcm, format)[0], resample(SAID[0], RATE, format.sample_rate)
    if container in ("wav", "flac"):
        assert np.abs(heard - said).max() < 1e-4
    else:
        lag = lag_samples(heard, said)
        if container == "aac":  # nothing in ADTS says how much the encoder puts in front
            assert lag == 1024
            heard, lag = heard[lag:], 0
        assert abs(lag) <= 0.0001 * format.sample_rate
        assert np.corrcoef(heard[: len(said)], said[: len(heard)])[0, 1] > 0.9


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("chunk_ms", [20, 100, 330])
def test_a_live_recorder_writes_as_it_goes(container, chunk_ms):
    chunks = encode_live(SAID, RATE, container, chunk_ms)
    assert len(chunks) == -(-2000 // chunk_ms)
    half = b"".join(chunks[: len(chunks) // 2])
    assert len(half) > 0.25 * len(b"".join(chunks))  # it does not keep everything for the end
    pcm, format = decode_file(b"".join(chunks), container)
    assert samples(pcm, format).shape[1] / format.sample_rate == pytest.approx(2, abs=0.16)


def test_channels_stay_apart():
    planes = np.stack([SAID[0], np.zeros_like(SAID[0])])
    pcm, format = decode_file(encode(planes, RATE, "flac"), "flac")
    heard = samples(pcm, format)
    assert heard.shape == (2, 2 * RATE)
    assert np.abs(heard[0] - SAID[0]).max() < 1e-4
    assert not heard[1].any()


def test_another_codec():
    data = encode(SAID, RATE, "mp4", codec="alac")
    pcm, format = decode_file(data, "mp4")
    assert np.abs(samples(pcm, format)[0, : 2 * RATE] - SAID[0]).max() < 1e-3
