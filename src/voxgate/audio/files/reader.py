"""Opens a sound file and reads its samples in blocks."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import Any, BinaryIO, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
import soundfile

from voxgate.audio.files.container import SIGNATURE_BYTES, container_of
from voxgate.audio.files.errors import SoundFileError
from voxgate.audio.files.ogg import find_links
from voxgate.audio.files.wav import WavHeader, read_header
from voxgate.audio.files.window import Window

__all__ = ["SoundFile", "open_sound_file"]

Samples = npt.NDArray[Any]

_FLOAT_SUBTYPES: Final = ("FLOAT", "DOUBLE")
_INTEGER_SUBTYPES: Final = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "ULAW", "ALAW")
_MAX_CHANNELS: Final = 256
_MAX_RATE: Final = 1_000_000
_READ_BYTES: Final = 65_536
_MAX_PIPED_BYTES: Final = 4 * 2**30
"""The longest pipe in a format that needs seeking; it is copied into a temporary file."""
_MAX_HEAD_BYTES: Final = 16 * 2**20
"""The longest header in a pipe; it is buffered until the format is known."""
_MAX_FRAMES_PER_BYTE: Final = 65_536
"""No format packs more; a header that claims more is ignored."""
_TAGGED_BYTES: Final = 2**20
"""The first frame of an MP3 is within this, after its ID3 tag, which may contain a picture."""
# The number of samples in STREAMINFO, after "fLaC" and the head of the block: 36 bits, 4 of them in the first byte.
_FLAC_TOTAL_AT: Final = 4 + 4 + 13


class SoundFile:
    """An open sound file, and the content of its header.

    Threads: one caller at a time, not necessarily the one that opened it.
    """

    channels: int
    sample_rate: int
    """Hz."""
    is_float: bool
    """The file contains floats, which may be beyond -1..1 or not finite."""
    is_integer: bool
    """The file contains integers, linear or companded. Other codecs (MP3, Vorbis) decode to floats."""
    duration_s: float | None
    """None when it is only known at the end."""

    def __init__(self, name: str, parts: Iterator[_Part], close: Callable[[], None]) -> None:
        self.name = name
        self._close = close
        self._parts = parts
        try:
            self._part = part = next(parts)
        except BaseException:
            close()
            raise
        self.channels, self.sample_rate = part.channels, part.sample_rate
        self.is_float = part.subtype in _FLOAT_SUBTYPES
        self.is_integer = part.subtype in _INTEGER_SUBTYPES
        self.duration_s = None if part.n_frames is None else part.n_frames / part.sample_rate

    def blocks(self, n_frames: int, dtype: str) -> Generator[Samples, None, None]:
        """The samples from the beginning, shape (frames, channels), `n_frames` at most and at least one at a time.

        `dtype`: "int16" or "float32", integers scaled to it as libsndfile does. Call it once; the file
        closes after the last block. Raises SoundFileError, after all blocks that can be decoded, when the file is
        damaged or ends early; its text gives the position.
        """
        n_read = 0
        part: _Part | None = self._part
        try:
            while part is not None:
                if (part.channels, part.sample_rate) != (self.channels, self.sample_rate):
                    raise SoundFileError(
                        f"what follows has {part.channels} channel(s) at {part.sample_rate} Hz, "
                        f"not {self.channels} at {self.sample_rate} Hz"
                    )
                while len(samples := part.read(n_frames, dtype)):
                    n_read += len(samples)
                    yield samples
                part = next(self._parts, None)
        except _ReadError as error:
            if len(error.samples):
                n_read += len(error.samples)
                yield error.samples
            raise self._broken(n_read, str(error)) from None
        except SoundFileError as error:
            raise self._broken(n_read, str(error)) from None
        finally:
            self.close()

    def _broken(self, n_read: int, text: str) -> SoundFileError:
        read_s = n_read / self.sample_rate
        length = "" if self.duration_s is None or self.duration_s <= read_s else f" of {self.duration_s:.1f} s"
        return SoundFileError(f"{self.name}: readable up to {read_s:.1f} s{length}: {text}")

    def close(self) -> None:
        self._part.close()
        self._close()

    def __del__(self) -> None:
        if hasattr(self, "_part"):  # it was opened
            self.close()


def open_sound_file(source: str | bytes | os.PathLike[str] | BinaryIO) -> SoundFile:
    """Opens a file in any format that libsndfile knows, and reads its header.

    `source`: a path, or an open binary file, which is read from its position and stays open. Either may be a pipe: WAV
    is read as it arrives, any other format is first copied to its end, into a temporary file. Raises OSError when it
    cannot be opened or read, and SoundFileError when it contains no readable audio.
    """
    if not isinstance(source, str | bytes | os.PathLike):
        name = getattr(source, "name", None)  # of an open descriptor it is a number
        shown = name if isinstance(name, str) else "stdin" if name == 0 else "the file"
        return _open(source, shown, None, lambda: None)
    # The sound file owns this descriptor and closes it also when nothing was read: an open file object would warn.
    with open(source, "rb") as opened:
        descriptor = os.dup(opened.fileno())
    file = open(descriptor, "rb", closefd=False)  # noqa: SIM115

    def close() -> None:
        if not file.closed:
            file.close()
            os.close(descriptor)

    try:
        return _open(file, os.fsdecode(source), os.fsencode(source), close)
    except BaseException:
        close()
        raise


def _open(file: BinaryIO, name: str, path: bytes | None, close: Callable[[], None]) -> SoundFile:
    is_pipe = not file.seekable()
    start = 0 if is_pipe else file.tell()
    head = _exactly(file, SIGNATURE_BYTES)
    try:
        container = container_of(head)
        wav: WavHeader | None = None
        if container == "WAV":
            seen = io.BytesIO()
            n_bytes = None if is_pipe else file.seek(0, os.SEEK_END) - start
            if not is_pipe:
                file.seek(start + len(head))
            wav = _wav_header(head, file, seen, n_bytes)
            head = seen.getvalue()
            if wav.subtype is not None:
                part = _LinearPart(file, wav, None if n_bytes is None else n_bytes - wav.head_bytes)
                return SoundFile(name, iter([part]), close)
        if not is_pipe:
            return SoundFile(name, _coded_parts(file, container, start, path), close)
        stack = contextlib.ExitStack()
        stack.callback(close)
        spooled = stack.enter_context(_spool(head, file))
        return SoundFile(name, _coded_parts(spooled, container, 0, None), stack.close)
    except SoundFileError as error:
        raise SoundFileError(f"{name}: not an audio file that can be read: {error}") from None


def _wav_header(head: bytes, file: BinaryIO, seen: io.BytesIO, file_bytes: int | None) -> WavHeader:
    """The header. The bytes read from a pipe are also written to `seen`, because a pipe cannot seek back."""

    def read(n_bytes: int) -> bytes:
        nonlocal head
        data, head = head[:n_bytes], head[n_bytes:]
        data += _exactly(file, n_bytes - len(data))
        if file_bytes is None:
            if seen.tell() + len(data) > _MAX_HEAD_BYTES:
                raise SoundFileError(f"its header is longer than {_MAX_HEAD_BYTES} bytes")
            seen.write(data)
        return data

    return read_header(read, file_bytes)


def _exactly(file: BinaryIO, n_bytes: int) -> bytes:
    """`n_bytes` bytes, fewer at the end of the file."""
    data = b""
    while len(data) < n_bytes and (more := file.read(n_bytes - len(data))):
        data += more
    return data


def _spool(head: bytes, pipe: BinaryIO) -> BinaryIO:
    spooled = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - the sound file closes it
    try:
        spooled.write(head)
        while block := pipe.read(_READ_BYTES):
            if spooled.tell() + len(block) > _MAX_PIPED_BYTES:
                raise SoundFileError(f"more than {_MAX_PIPED_BYTES // 2**30} GiB from a pipe")
            spooled.write(block)
        spooled.seek(0)
    except BaseException:
        spooled.close()
        raise
    return spooled


class _ReadError(Exception):
    """Reading failed after `samples`, which may be empty."""

    def __init__(self, text: str, samples: Samples) -> None:
        super().__init__(text)
        self.samples = samples


class _Part(Protocol):
    """A part of a file with one format."""

    channels: int
    sample_rate: int
    subtype: str
    n_frames: int | None

    def read(self, n_frames: int, dtype: str) -> Samples: ...

    def close(self) -> None: ...


def _check(channels: int, sample_rate: int) -> None:
    if not 1 <= channels <= _MAX_CHANNELS:
        raise SoundFileError(f"channels must be 1..{_MAX_CHANNELS}, got {channels}")
    if not 1 <= sample_rate <= _MAX_RATE:
        raise SoundFileError(f"the sample rate must be 1..{_MAX_RATE} Hz, got {sample_rate}")


class _LinearPart:
    """The linear samples of a WAV file, read as they arrive, also from a pipe."""

    def __init__(self, file: BinaryIO, header: WavHeader, available_bytes: int | None) -> None:
        assert header.subtype is not None
        _check(header.channels, header.sample_rate)
        self.channels, self.sample_rate, self.subtype = header.channels, header.sample_rate, header.subtype
        self._endian = "BIG" if header.is_big_endian else "LITTLE"
        # read1 returns the bytes that are there; read would wait for a full block, which a live pipe delivers late.
        self._read = cast(Callable[[int], bytes], getattr(file, "read1", file.read))
        self._frame_bytes = header.frame_bytes
        self._claimed_bytes = self._left_bytes = header.claimed_bytes
        self._rest = b""
        self.n_frames = None
        if available_bytes is not None:
            claimed_bytes = available_bytes if header.claimed_bytes is None else header.claimed_bytes
            self.n_frames = claimed_bytes // header.frame_bytes

    def read(self, n_frames: int, dtype: str) -> Samples:
        data = self._rest
        wanted_bytes = n_frames * self._frame_bytes
        while len(data) < self._frame_bytes:
            n_bytes = wanted_bytes - len(data)
            if self._left_bytes is not None:
                n_bytes = min(n_bytes, self._left_bytes)
            more = self._read(n_bytes) if n_bytes else b""
            if not more:
                if self._left_bytes and self._left_bytes > 0:
                    raise _ReadError("it breaks off there", self._decode(b"", dtype))
                return self._decode(b"", dtype)
            data += more
            if self._left_bytes is not None:
                self._left_bytes -= len(more)
        n_whole = len(data) - len(data) % self._frame_bytes
        self._rest = data[n_whole:]
        return self._decode(data[:n_whole], dtype)

    def _decode(self, data: bytes, dtype: str) -> Samples:
        if not data:
            return np.empty((0, self.channels), dtype)
        samples, _ = soundfile.read(
            io.BytesIO(data),
            dtype=dtype,
            always_2d=True,
            samplerate=self.sample_rate,
            channels=self.channels,
            format="RAW",
            subtype=self.subtype,
            endian=self._endian,
        )
        return cast(Samples, samples)

    def close(self) -> None:
        pass


class _Decoder(soundfile.SoundFile):  # type: ignore[misc]
    """Reads without seeking. soundfile seeks after each read if it can; at the end of a file whose header claims too
    much, that fails and loses the samples just decoded.
    """

    def seekable(self) -> bool:
        return False


class _CodedPart:
    """A part that libsndfile decodes. `claimed_frames`: libsndfile's number of frames -> that of the header, None when
    the header does not know it.
    """

    def __init__(self, source: bytes | Window, claimed_frames: Callable[[int], int | None]) -> None:
        try:
            self._decoder = decoder = _Decoder(source)
        except (soundfile.LibsndfileError, TypeError) as error:
            # TypeError: raw formats, for which soundfile wants parameters
            raise SoundFileError(_first_line(error)) from None
        self.channels, self.sample_rate, self.subtype = decoder.channels, decoder.samplerate, decoder.subtype
        try:
            _check(self.channels, self.sample_rate)
        except SoundFileError:
            decoder.close()
            raise
        self.n_frames = claimed_frames(decoder.frames)
        self._n_read = 0

    def read(self, n_frames: int, dtype: str) -> Samples:
        samples = np.empty((n_frames, self.channels), dtype)
        try:
            n_read = len(self._decoder.read(out=samples))
        except soundfile.LibsndfileError as error:
            n_read = min(max(0, self._decoder.tell() - self._n_read), n_frames)
            raise _ReadError(_first_line(error), samples[:n_read]) from None
        self._n_read += n_read
        if not n_read and self.n_frames is not None and self._n_read < self.n_frames:
            raise _ReadError("it breaks off there", samples[:0])
        return samples[:n_read]

    def close(self) -> None:
        with contextlib.suppress(soundfile.LibsndfileError):
            self._decoder.close()


class _UntaggedMp3(_CodedPart):
    """MPEG audio without a number of frames in its header. libsndfile estimates it from the length of the file and the
    first frame, and stops there.
    """

    def __init__(self, window: Window) -> None:
        super().__init__(window, lambda _: None)
        self._window = window

    def read(self, n_frames: int, dtype: str) -> Samples:
        samples = super().read(n_frames, dtype)
        if not len(samples) and self._n_read >= self._decoder.frames and self._window.left_bytes > _READ_BYTES // 4:
            raise _ReadError("more follows, but its header does not say how much: convert it first", samples)
        return samples


def _coded_parts(file: BinaryIO, container: str | None, start: int, path: bytes | None) -> Iterator[_Part]:
    n_bytes = file.seek(0, os.SEEK_END) - start

    def plausible(n_frames: int) -> int | None:
        return n_frames if n_frames <= n_bytes * _MAX_FRAMES_PER_BYTE else None

    if container == "Ogg":
        links, is_complete = find_links(file, start)
        for begin, length_bytes in links:
            is_only = len(links) == 1
            part = _CodedPart(Window(file, begin, length_bytes), plausible if is_only else lambda _: None)
            yield part
            part.close()
        if not is_complete:
            raise SoundFileError("it breaks off there")
        return
    if container == "FLAC":
        file.seek(start)
        head = _exactly(file, _FLAC_TOTAL_AT + 5)
        if len(head) == _FLAC_TOTAL_AT + 5:
            total = head[_FLAC_TOTAL_AT] % 16 << 32 | int.from_bytes(head[_FLAC_TOTAL_AT + 1 :], "big")
            # Without a total, libFLAC reads to the end of the file.
            patch = (_FLAC_TOTAL_AT, bytes([head[_FLAC_TOTAL_AT] & 0xF0, 0, 0, 0, 0]))
            yield _CodedPart(Window(file, start, n_bytes, patch), lambda _: plausible(total) if total else None)
            return
    # libsndfile recognises formats without a header by the extension of their path.
    part = _CodedPart(path if path is not None else Window(file, start, n_bytes), plausible)
    if part.subtype.startswith("MPEG"):
        file.seek(start)
        head = file.read(_TAGGED_BYTES)
        if not any(tag in head for tag in (b"Xing", b"Info", b"VBRI")):
            part.close()
            part = _UntaggedMp3(Window(file, start, n_bytes))
    yield part


def _first_line(error: Exception) -> str:
    # The text of a LibsndfileError names the file too, possibly as the repr of an object.
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return (text.strip() or type(error).__name__).splitlines()[0]
