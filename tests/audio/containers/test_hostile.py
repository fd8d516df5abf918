"""What leads elsewhere, and files that are wrong: no decoder reads a file or an address, and none goes down."""

from __future__ import annotations

import asyncio
import io
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.media import RATE, decode_all, live_speech, speech
from voxgate.audio.containers import CONTAINERS, Decoders, MediaLimits
from voxgate.audio.containers.decoders import LOCAL

av = pytest.importorskip("av")

NAMES = ("auto", *CONTAINERS)


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server that no decoder may contact: its URL, and the requests it got."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def playlists(url: str, path: Path) -> dict[str, bytes]:
    """Files of other players that lead elsewhere."""
    return {
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}/m3u8.ts\n#EXT-X-ENDLIST\n".encode(),
        "m3u8 with a key": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/key"\n#EXTINF:1,\nfile://{path}\n'.encode(),
        "concat": f"ffconcat version 1.0\nfile '{path}'\nfile '{url}/concat'\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "mpd": f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}/mpd</BaseURL></Period></MPD>'.encode(),
        "asx": f'<asx version="3.0"><entry><ref href="{url}/asx"/></entry></asx>'.encode(),
        "pls": f"[playlist]\nFile1={url}/pls\n".encode(),
        "an address": f"{url}/alone".encode(),
        "a path": str(path).encode(),
    }


def referring_mp4(path: str) -> bytes:
    """An MP4 file whose samples are in another file: the entry of `dref` names it, as QuickTime's `alis` does."""
    data = speech("mp4", 0.5)
    at = data.index(b"url \x00\x00\x00\x01") - 4
    assert data[at : at + 4] == b"\0\0\0\x0c"
    volume = b"disk"
    name = volume + path.replace("/", ":").encode()
    alias = bytearray(150)
    alias[10 : 11 + len(volume)] = bytes([len(volume)]) + volume
    file_name = Path(path).name.encode()
    alias[50 : 51 + len(file_name)] = bytes([len(file_name)]) + file_name
    struct.pack_into(">HH", alias, 130, 1, 1)
    record = bytes(alias) + struct.pack(">HH", 2, len(name)) + name + (b"\0" if len(name) % 2 else b"")
    record += struct.pack(">hH", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    grown = len(entry) - 12
    moov = data.index(b"moov") - 4
    patched = bytearray(data[:at] + entry + data[at + 12 :])
    for name_of_box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        where = patched.index(name_of_box, moov) - 4
        (size,) = struct.unpack_from(">I", patched, where)
        struct.pack_into(">I", patched, where, size + grown)
    return bytes(patched)


def test_the_trap_works(elsewhere, tmp_path):
    """Without our guard, FFmpeg asks for what a playlist names."""
    url, asked = elsewhere
    for name in ("m3u8",):
        with pytest.raises(av.error.FFmpegError):
            av.open(io.BytesIO(playlists(url, tmp_path)[name]), format="hls")
    assert asked == ["/m3u8.ts"]


@pytest.mark.parametrize("is_local", [True, False], ids=["as served", "in processes alone"])
def test_nothing_leads_elsewhere(elsewhere, tmp_path, monkeypatch, is_local):
    url, asked = elsewhere
    secret = tmp_path / "secret.wav"
    secret.write_bytes(speech("wav", 0.5))
    if not is_local:
        for name in tuple(LOCAL):
            monkeypatch.delitem(LOCAL, name)

    async def main() -> None:
        decoders = Decoders(MediaLimits(processes=1))
        for kind, data in playlists(url, secret).items():
            for name in NAMES:
                pcm, _, error = await decode_all(data, decoders, name)
                assert pcm == b"", (kind, name)
                assert error is not None, (kind, name)
                assert error.code in ("unsupported_media", "invalid_media", "truncated_media"), (kind, name, error)
                assert "secret" not in str(error)
        await decoders.close()

    asyncio.run(main())
    assert asked == []


def test_an_mp4_file_that_refers_to_another_gives_nothing_of_it(tmp_path):
    secret = tmp_path / "secret.m4a"
    secret.write_bytes(speech("mp4", 0.5))
    data = bytearray(referring_mp4(str(secret)))
    begin = data.index(b"mdat") + 4
    end = begin - 8 + int.from_bytes(data[begin - 8 : begin - 4], "big")
    data[begin:end] = bytes(end - begin)  # its own media is silent: any sound is the secret
    # FFmpeg does follow the reference when it may: otherwise this file would prove nothing.
    path = tmp_path / "refers.mp4"
    path.write_bytes(data)
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as opened:
        assert any(map(any, map(bytes, opened.demux())))

    async def main() -> None:
        decoders = Decoders(MediaLimits(processes=1))
        pcm, _, error = await decode_all(bytes(data), decoders)
        assert not any(pcm)
        assert "secret" not in str(error)
        await decoders.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def forever() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def decoders(forever: asyncio.Runner) -> Iterator[Decoders]:
    async def make() -> Decoders:
        return Decoders(MediaLimits(processes=1, spool_bytes=1 << 20, header_bytes=1 << 16, decoded_s=10))

    made = forever.run(make())
    yield made
    forever.run(made.close())


GOOD = {
    "mp3": speech("mp3", 0.3),
    "mp4": speech("mp4", 0.3),
    "live mp4": live_speech("mp4", 0.3),
    "aac": speech("aac", 0.3),
}


@given(data=st.data())
@settings(max_examples=150)
def test_damaged_files_give_audio_or_an_error(forever, decoders, data):
    kind = data.draw(st.sampled_from(sorted(GOOD)))
    damaged = bytearray(GOOD[kind])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(("flip", "drop", "double", "zeros", "ones"))):
            case "flip":
                damaged[at] ^= 1 << data.draw(st.integers(0, 7))
            case "drop":
                del damaged[at : at + data.draw(st.integers(1, 500))]
            case "double":
                damaged[at:at] = damaged[at : at + 300]
            case "zeros":
                damaged[at : at + 4] = bytes(4)
            case _:
                damaged[at : at + 4] = b"\xff\xff\xff\xff"
        if not damaged:
            damaged = bytearray(b"x")
    before = decoders.pids
    pcm, format, error = forever.run(decode_all(bytes(damaged), decoders, kind.removeprefix("live ")))
    assert error is None or error.code in ("invalid_media", "unsupported_media", "truncated_media", "media_limit")
    assert pcm or error is not None
    if pcm:
        assert len(pcm) % format.frame_bytes == 0
        assert len(pcm) <= 10 * format.sample_rate * format.frame_bytes
    assert before in ([], decoders.pids)


def test_a_table_of_any_size_takes_no_memory(forever, decoders):
    data = bytearray(speech("mp4", 0.3))
    at = data.index(b"stsz")
    struct.pack_into(">I", data, at + 12, 0xFFFFFFF0)
    pcm, _, error = forever.run(decode_all(bytes(data), decoders))
    assert error is None or error.code == "invalid_media"
    assert len(pcm) <= RATE * 4


def test_too_many_tracks_are_refused(forever):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        tracks = [output.add_stream("aac", rate=RATE, layout="mono") for _ in range(5)]
        for track in tracks:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            output.mux(track.encode(frame))
            output.mux(track.encode(None))

    async def main() -> None:
        decoders = Decoders(MediaLimits(processes=1, tracks=4))
        pcm, _, error = await decode_all(file.getvalue(), decoders)
        assert pcm == b""
        assert error is not None
        assert (error.code, str(error)) == (
            "media_limit",
            "this looks like MP4, but 5 tracks; at most 4 are read (media.tracks)",
        )
        await decoders.close()

    asyncio.run(main())
