"""What a decoder process makes of MP3 and MP4 as they arrive."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.media import RATE, SPEECH, decode_all, decoded, lag_samples, live_speech, samples, speech, with_decoders
from voxgate.audio.containers.encoding import encode

pytest.importorskip("av")


@with_decoders(processes=1)
async def test_live_mp3_and_mp4_are_decoded(decoders):
    for data, container, lag_s in (
        (speech("mp3"), "mp3", 0.0),
        (speech("mp4"), "mp4", 0.0),  # its index is at the end
        (live_speech("mp4"), "mp4", 1024 / RATE),  # no fragment says how many samples the encoder put in front
    ):
        pcm, format, error = await decode_all(data, decoders)
        assert error is None
        assert format is not None
        assert (format.channels, format.sample_rate, format.pcm_encoding) == (1, RATE, "f32")
        heard = samples(pcm, format)[0]
        said = SPEECH[0, : 2 * RATE]
        assert 2 * RATE <= len(heard) <= 2 * RATE + 2 * 1152, container
        assert lag_samples(heard, said) == round(lag_s * RATE), container
    assert len(decoders.pids) == 1


@with_decoders(processes=2)
async def test_bytes_may_be_cut_anywhere(decoders):
    for data in (speech("mp3", 0.5), speech("mp4", 0.5), live_speech("mp4", 0.5), speech("aac", 0.5)):
        whole, format, error = await decode_all(data, decoders, cut_bytes=len(data))
        assert whole
        assert error is None
        for cut_bytes in (1, 7, 1000, 4096, len(data) - 1):
            assert await decode_all(data, decoders, cut_bytes=cut_bytes) == (whole, format, None)
        stream = decoders.open("auto")
        empty_between = [part for byte in (data[:5], data[5:900], data[900:]) for part in (byte, b"")]
        assert await decoded(stream, empty_between) == (whole, None)


@with_decoders(processes=1)
async def test_audio_comes_as_it_arrives(decoders):
    data = live_speech("mp3")
    stream = decoders.open("mp3")
    half = len(data) // 2
    pcm = b"".join([piece async for piece in stream.push(data[:half])])
    assert len(pcm) // stream.format.frame_bytes >= 0.9 * RATE  # of 1 s
    rest = b"".join([piece async for piece in stream.push(data[half:])])
    last = b"".join([piece async for piece in stream.finish()])
    stream.close()
    assert (pcm + rest + last, stream.format, None) == await decode_all(data, decoders)


@with_decoders(processes=1)
async def test_no_piece_is_longer_than_a_second_over_all_channels(decoders):
    stereo = np.stack([SPEECH[0], SPEECH[0]])
    stream = decoders.open("mp4")
    pieces = [piece async for piece in stream.push(encode(stereo, RATE, "mp4"))]
    pieces += [piece async for piece in stream.finish()]
    stream.close()
    assert max(map(len, pieces)) <= RATE * stream.format.sample_bytes
    assert sum(map(len, pieces)) // stream.format.frame_bytes >= SPEECH.shape[1]


@with_decoders(processes=1)
async def test_a_stream_that_breaks_off_gives_what_it_has(decoders):
    data = live_speech("mp4")
    whole, _, _ = await decode_all(data, decoders)
    pcm, _, error = await decode_all(data[: len(data) * 2 // 3], decoders)
    assert error is not None
    assert (error.code, str(error)) == ("truncated_media", "the stream ended inside of the MP4 container")
    assert pcm
    assert whole.startswith(pcm)
    pcm, _, error = await decode_all(speech("mp4")[:-2000], decoders)
    assert pcm == b""
    assert error is not None
    assert error.code == "truncated_media"


@with_decoders(processes=1, spool_bytes=10_000)
async def test_the_spool_is_bounded(decoders):
    pcm, _, error = await decode_all(speech("mp4"), decoders)
    assert pcm == b""
    assert error is not None
    assert error.code == "media_limit"
    assert "10000 bytes (media.spool_bytes)" in str(error)


@with_decoders(processes=1, header_bytes=4096)
async def test_the_header_is_bounded(decoders):
    tag = b"ID3\x04\x00\x00" + bytes([0, 4, 0, 0])  # says that 64 KiB follow
    pcm, _, error = await decode_all(tag + bytes(1 << 16) + speech("mp3"), decoders)
    assert pcm == b""
    assert error is not None
    assert error.code == "media_limit"
    assert "4096 bytes (media.header_bytes)" in str(error)
