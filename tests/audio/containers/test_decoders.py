"""Which decoder a stream gets, how many there may be, and what is said when there is none."""

from __future__ import annotations

import asyncio

import pytest

from helpers.media import RATE, decode_all, decoded, live_speech, speech, with_decoders
from voxgate.audio.containers import Decoders, MediaLimits
from voxgate.errors import Overloaded

pytest.importorskip("av")


@with_decoders(processes=1)
async def test_what_is_no_audio_is_refused_and_named(decoders):
    _, _, error = await decode_all(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", decoders)
    assert error is not None
    assert error.code == "unsupported_media"
    assert "this looks like a playlist" in str(error)
    _, _, error = await decode_all(speech("mp3"), decoders, container="mp4")
    assert error is not None
    assert str(error) == 'format.container is "mp4", but this looks like MP3'


@with_decoders(processes=1, decoded_s=1.0)
async def test_decoded_audio_is_bounded(decoders):
    pcm, format, error = await decode_all(speech("mp3"), decoders)
    assert error is not None
    assert (error.code, str(error)) == ("media_limit", "more than 1 s of audio (media.decoded_s)")
    assert len(pcm) <= RATE * format.frame_bytes


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
