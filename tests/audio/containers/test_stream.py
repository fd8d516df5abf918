"""A stream finds out what it is, opens a decoder for it, and counts what that gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

from helpers.media import decoded
from voxgate.audio.containers import MediaLimit, MediaLimits, MediaStream, TruncatedMedia, UnsupportedMedia
from voxgate.protocol.formats import AudioFormat

S16 = AudioFormat(1, 8000, 16, False)
WAV = b"RIFF\xff\xff\xff\xffWAVE"


class Local:
    """A container of this process: everything after its head is PCM."""

    def __init__(self, head_bytes: int = 12, refuses: bool = False) -> None:
        self.format: AudioFormat | None = None
        self.closed = 0
        self._left_bytes = head_bytes
        self._refuses = refuses

    def push(self, data: bytes) -> Iterator[bytes]:
        if self._refuses:
            raise UnsupportedMedia("a codec that this process does not know")
        head, data = data[: self._left_bytes], data[self._left_bytes :]
        self._left_bytes -= len(head)
        if not self._left_bytes:
            self.format = S16
            for at in range(0, len(data), 100):
                yield data[at : at + 100]

    def finish(self) -> Iterator[bytes]:
        yield b"last"

    def close(self) -> None:
        self.closed += 1


class Remote(Local):
    """The same, elsewhere."""

    async def push(self, data: bytes) -> AsyncGenerator[bytes]:  # type: ignore[override]
        for piece in super().push(data):
            await asyncio.sleep(0)
            yield piece

    async def finish(self) -> AsyncGenerator[bytes]:  # type: ignore[override]
        yield b"LAST"


class Opener:
    def __init__(self, local: Any = None, remote: Any = None, **limits: Any) -> None:
        self.limits = MediaLimits(**limits)
        self._local, self._remote = local, remote
        self.opened: list[tuple[str, str, Any]] = []

    def open_local(self, container: str, sample_rate: int | None) -> Any:
        self.opened.append(("local", container, sample_rate))
        return self._local

    async def open_remote(self, container: str) -> Any:
        self.opened.append(("remote", container, None))
        if self._remote is None:
            raise UnsupportedMedia("it needs PyAV on the server: install voxgate[media]")
        return self._remote


def run(opener: Opener, *parts: bytes, container: str = "auto") -> tuple[bytes, Any, MediaStream]:
    stream = MediaStream(container, opener, 16_000)
    pcm, error = asyncio.run(decoded(stream, parts))
    return pcm, error, stream


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 1000])
@pytest.mark.parametrize("container", ["auto", "wav"])
def test_the_first_bytes_decide(container, cut):
    opener = Opener(local := Local())
    data = WAV + b"pcm." * 50
    parts = [data[at : at + cut] for at in range(0, len(data), cut)]
    pcm, error, stream = run(opener, b"", *parts, b"", container=container)
    assert (pcm, error) == (b"pcm." * 50 + b"last", None)
    assert (stream.container, stream.format) == ("wav", S16)
    assert opener.opened == [("local", "wav", 16_000)]
    assert local.closed == 1


@pytest.mark.parametrize("cut", [1, 12, 1000])
def test_what_this_process_does_not_know_goes_elsewhere_from_the_first_byte_on(cut):
    opener = Opener(local := Local(refuses=True), Remote())
    data = WAV + b"pcm." * 50
    pcm, error, _ = run(opener, *(data[at : at + cut] for at in range(0, len(data), cut)))
    assert (pcm, error) == (b"pcm." * 50 + b"LAST", None)
    assert [where for where, _, _ in opener.opened] == ["local", "remote"]
    assert local.closed == 1


def test_without_a_decoder_elsewhere_the_first_refusal_stands():
    _, error, _ = run(Opener(Local(refuses=True)), WAV + bytes(100))
    assert str(error) == "a codec that this process does not know"
    _, error, _ = run(Opener(None), WAV + bytes(100))
    assert str(error) == "this looks like WAV; it needs PyAV on the server: install voxgate[media]"


def test_an_error_elsewhere_before_any_audio_names_the_bytes_too():
    class Failing(Remote):
        async def finish(self) -> AsyncGenerator[bytes]:  # type: ignore[override]
            raise TruncatedMedia("it ends too early")
            yield b""

    _, error, _ = run(Opener(None, Failing(head_bytes=1000)), WAV)
    assert isinstance(error, TruncatedMedia)
    assert str(error) == "this looks like WAV, but it ends too early"
    pcm, error, _ = run(Opener(None, Failing()), WAV + b"pcm.")
    assert (pcm, str(error)) == (b"pcm.", "it ends too early")


def test_live_pieces_need_no_waiting_once_the_format_is_known():
    async def main() -> None:
        stream = MediaStream("auto", Opener(Local()))
        assert not stream.is_local
        assert [piece async for piece in stream.push(WAV[:6])] == []
        assert not stream.is_local
        assert [piece async for piece in stream.push(WAV[6:] + b"pcm.")] == [b"pcm."]
        assert stream.is_local
        assert list(stream.push_now(b"more")) == [b"more"]
        remote = MediaStream("auto", Opener(None, Remote()))
        assert [piece async for piece in remote.push(WAV + b"pcm.")] == [b"pcm."]
        assert not remote.is_local

    asyncio.run(main())


def test_limits():
    _, error, _ = run(Opener(Local(head_bytes=5000), header_bytes=4096), WAV + bytes(4000), bytes(85))
    assert (error.code, str(error)) == ("media_limit", "no audio within 4096 bytes (media.header_bytes)")
    pcm, error, _ = run(Opener(Local(), decoded_s=0.01), WAV + bytes(160))
    assert (len(pcm), error.code) == (160, "media_limit")  # and `last` was too much
    pcm, error, _ = run(Opener(Local(), decoded_s=1), WAV + bytes(16_000 - 4))
    assert error is None


@pytest.mark.parametrize("cut", [1000, 4096, 20_000])
def test_a_header_ends_at_the_same_byte_however_it_is_cut(cut):
    for head_bytes, n_bytes in ((4095, 1), (4096, 0)):
        data = WAV.ljust(4096) + b"pcm."
        parts = [data[at : at + cut] for at in range(0, len(data), cut)]
        pcm, error, _ = run(Opener(Local(head_bytes), header_bytes=4096), *parts)
        assert pcm == (data[4095:] + b"last" if n_bytes else b"")
        assert (error is None) == bool(n_bytes)


class Knowing(Local):
    """Knows its format at once, as FLAC does, and then gives no audio."""

    def push(self, data: bytes) -> Iterator[bytes]:
        self.format = S16
        yield b""


def test_a_header_is_bounded_also_when_the_format_is_known():
    async def main() -> None:
        stream = MediaStream("auto", Opener(Knowing(), header_bytes=4096))
        assert [piece async for piece in stream.push(WAV)] == [b""]
        assert list(stream.push_now(bytes(4084))) == [b""]
        with pytest.raises(MediaLimit, match=r"no audio within 4096 bytes \(media\.header_bytes\)"):
            list(stream.push_now(b"x"))

    asyncio.run(main())


class Reluctant(Local):
    """Refuses after so many bytes."""

    def push(self, data: bytes) -> Iterator[bytes]:
        self._left_bytes -= len(data)
        if self._left_bytes <= 0:
            raise UnsupportedMedia("a codec that this process does not know")
        return iter(())


@pytest.mark.parametrize("cut", [1000, 65_536, 1 << 20])
def test_a_head_that_a_decoder_process_may_need_is_kept_up_to_a_bound(cut):
    """However long a header may be (`media.header_bytes`), and however it is cut."""
    for n_bytes, kept in ((262_144, True), (262_145, False)):
        opener = Opener(Reluctant(n_bytes), Remote(head_bytes=n_bytes))
        data = WAV.ljust(n_bytes) + b"pcm."
        stream = MediaStream("auto", opener)
        most_bytes, pcm, failure = 0, b"", None

        async def main(stream: MediaStream = stream, data: bytes = data) -> None:
            nonlocal most_bytes, pcm, failure
            try:
                for at in range(0, len(data), cut):
                    async for piece in stream.push(data[at : at + cut]):
                        pcm += piece
                    most_bytes = max(most_bytes, len(stream._head))
            except UnsupportedMedia as error:
                failure = str(error)

        asyncio.run(main())
        assert most_bytes <= 262_144
        assert (pcm, failure) == ((b"pcm.", None) if kept else (b"", "a codec that this process does not know"))


def test_nothing_at_all_is_no_error_and_a_little_is_one():
    assert run(Opener(Local()))[:2] == (b"", None)
    assert run(Opener(Local()), b"", b"")[:2] == (b"", None)
    _, error, _ = run(Opener(Local()), b"?")
    assert error.code == "unsupported_media"
    assert str(error) == "this looks like text; expected WebM, Ogg, WAV, FLAC, MP3, MP4 or AAC"


def test_others_run_while_a_long_message_is_parsed():
    """A message may hold a hundred thousand elements without audio."""
    stream = MediaStream("wav", Opener(Local()), 16_000)

    async def push(data: bytes) -> list[int]:
        return [len(piece) async for piece in stream.push(data)]

    async def run() -> tuple[list[int], list[int]]:
        first = await push(WAV + bytes(65_536 + 88))
        return first, [len(piece) for piece in stream.push_now(bytes(131_072 + 100))]

    slice_pieces = [100] * 655 + [36]
    assert asyncio.run(run()) == ([*[100] * 655, 24, 0, 100, 0], [*slice_pieces, 0, *slice_pieces, 0, 100, 0])
