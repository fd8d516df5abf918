"""Decoder processes: what they decode, what they refuse, and what one that fails takes with it."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from helpers.media import RATE, SPEECH, decode_all, decoded, lag_samples, live_speech, samples, speech
from helpers.processes import gone
from voxgate.audio.containers import Decoders, MediaLimits
from voxgate.errors import Overloaded

pytest.importorskip("av")


def with_decoders(**limits: Any) -> Callable[[Callable[[Decoders], Awaitable[None]]], Callable[[], None]]:
    """Runs an async test with decoders, which are closed afterwards."""

    def wrap(test: Callable[[Decoders], Awaitable[None]]) -> Callable[[], None]:
        @functools.wraps(test, assigned=("__name__", "__doc__", "__module__"), updated=())
        def run() -> None:
            async def main() -> None:
                decoders = Decoders(MediaLimits(**limits))
                try:
                    await test(decoders)
                finally:
                    await decoders.close()

            asyncio.run(main())

        del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look for a fixture `decoders`
        return run

    return wrap


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
    for data in (speech("mp3", 0.5), speech("mp4", 0.5), live_speech("mp4", 0.5)):
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
    from voxgate.audio.containers.encoding import encode

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


@with_decoders(processes=1)
async def test_what_is_no_audio_is_refused_and_named(decoders):
    _, _, error = await decode_all(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", decoders)
    assert error is not None
    assert error.code == "unsupported_media"
    assert "this looks like a playlist" in str(error)
    _, _, error = await decode_all(speech("mp3"), decoders, container="mp4")
    assert error is not None
    assert str(error) == 'format.container is "mp4", but this looks like MP3'


@with_decoders(processes=1, spool_bytes=10_000)
async def test_the_spool_is_bounded(decoders):
    pcm, _, error = await decode_all(speech("mp4"), decoders)
    assert pcm == b""
    assert error is not None
    assert error.code == "media_limit"
    assert "10000 bytes (media.spool_bytes)" in str(error)


@with_decoders(processes=1, decoded_s=1.0)
async def test_decoded_audio_is_bounded(decoders):
    pcm, format, error = await decode_all(speech("mp3"), decoders)
    assert error is not None
    assert (error.code, str(error)) == ("media_limit", "more than 1 s of audio (media.decoded_s)")
    assert len(pcm) <= RATE * format.frame_bytes


@with_decoders(processes=1, header_bytes=4096)
async def test_the_header_is_bounded(decoders):
    tag = b"ID3\x04\x00\x00" + bytes([0, 4, 0, 0])  # says that 64 KiB follow
    pcm, _, error = await decode_all(tag + bytes(1 << 16) + speech("mp3"), decoders)
    assert pcm == b""
    assert error is not None
    assert error.code == "media_limit"
    assert "4096 bytes (media.header_bytes)" in str(error)


@with_decoders(processes=1, streams=2)
async def test_streams_are_bounded_and_a_closed_one_makes_room(decoders):
    first, second, third = (decoders.open("mp3") for _ in range(3))
    for stream in (first, second):
        assert [piece async for piece in stream.push(live_speech("mp3")[:6000])] != []
    with pytest.raises(Overloaded, match=r"media\.streams"):
        await decoded(third, [speech("mp3")])
    second.close()
    second.close()
    assert (await decode_all(speech("mp3"), decoders))[2] is None
    first.close()


@with_decoders(processes=2)
async def test_a_decoder_that_crashes_fails_its_own_streams_and_is_replaced(decoders):
    data = live_speech("mp3")
    streams = [decoders.open("mp3") for _ in range(4)]
    for stream in streams:
        assert [piece async for piece in stream.push(data[:6000])] != []
    victim, other = decoders.pids
    os.kill(victim, signal.SIGKILL)
    assert await asyncio.to_thread(gone, victim)
    results = [await decoded(stream, [data[6000:]]) for stream in streams]
    errors = [error for _, error in results]
    assert [error.code for error in errors if error is not None] == ["decoder_failed"] * 2
    assert errors.count(None) == 2
    assert decoders.pids == [other]
    again = [decoders.open("mp3") for _ in range(2)]
    for stream in again:
        assert [piece async for piece in stream.push(data[:6000])] != []
    assert len(set(decoders.pids) - {victim}) == 2
    for stream in again:
        assert (await decoded(stream, [data[6000:]]))[1] is None


@with_decoders(processes=1, timeout_s=0.5)
async def test_a_decoder_that_hangs_is_killed(decoders):
    data = live_speech("mp3")
    stream = decoders.open("mp3")
    assert [piece async for piece in stream.push(data[:6000])] != []
    (pid,) = decoders.pids
    os.kill(pid, signal.SIGSTOP)
    _, error = await decoded(stream, [data[6000:]])
    assert error is not None
    assert (error.code, str(error)) == ("decoder_failed", "the decoder gave no answer within 0.5 s")
    assert await asyncio.to_thread(gone, pid)
    assert decoders.pids == []


@with_decoders(processes=0)
async def test_without_processes_the_error_names_the_setting(decoders):
    _, _, error = await decode_all(speech("mp3"), decoders)
    assert error is not None
    assert error.code == "unsupported_media"
    assert "this looks like MP3; it needs a decoder process" in str(error)
    assert "media.processes" in str(error)


def test_without_pyav_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("voxgate.audio.containers.decoders.has_pyav", lambda: False)

    async def main() -> None:
        decoders = Decoders(MediaLimits())
        _, _, error = await decode_all(speech("mp3"), decoders)
        assert error is not None
        assert (error.code, str(error)) == (
            "unsupported_media",
            "this looks like MP3; it needs PyAV on the server: install voxgate[media]",
        )
        assert decoders.containers == ("webm", "ogg", "wav", "flac")
        monkeypatch.setattr("voxgate.audio.containers.decoders.has_opus", lambda: False)
        assert decoders.containers == ("wav", "flac")
        await decoders.close()

    asyncio.run(main())
