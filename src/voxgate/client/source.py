"""Audio sources: files, arrays, raw PCM. Each becomes a format and an iterator of PCM bytes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import queue
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from voxgate.audio.files import SoundFileError
from voxgate.errors import InvalidStart
from voxgate.protocol.formats import AUTO, MAX_RATE, AudioFormat, ContainerFormat, Format, check_container, check_format
from voxgate.runtime import tasks

from .as_is import HEAD_BYTES, FileBlocks, PrefixedFile, head_of, is_for_the_server, may_be_for_the_server
from .errors import SourceError
from .microphone import Microphone

if TYPE_CHECKING:
    import numpy.typing as npt

    from voxgate.audio.files import SoundFile

__all__ = ["AudioSource", "Source", "off_loop", "open_source"]

Source: TypeAlias = (
    str
    | os.PathLike[str]
    | BinaryIO
    | tuple["npt.NDArray[Any]", int]
    | bytes
    | bytearray
    | memoryview
    | Iterable[bytes]
    | AsyncIterable[bytes]
    | Microphone
)
"""A sound file (path or open binary file), an array and its rate, a microphone, or raw PCM or a container: bytes, an
iterable or async iterable.
"""

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 65_536
_MAX_BLOCK_BYTES = 2**20
MAX_CHANNELS = 256
"""Of a source. A server accepts fewer and reports its limit."""


@dataclass
class AudioSource:
    """The input of `stream`: `blocks` of bytes of any length, PCM or a container; `duration_s` is None when unknown."""

    format: Format
    duration_s: float | None
    blocks: Iterator[bytes | memoryview] | AsyncIterator[bytes | memoryview]
    n_bytes: int | None = None
    """Of a container; None when unknown."""

    @property
    def bytes_per_s(self) -> float | None:
        """Of a container, on average. None: unknown."""
        if isinstance(self.format, AudioFormat):
            return self.format.frame_bytes * self.format.sample_rate
        return self.n_bytes / self.duration_s if self.n_bytes and self.duration_s else None


def open_source(source: Source, format: Format | None, chunk_bytes: int, as_is: bool = False) -> AudioSource:
    """The source with its format. Files and arrays are sent as s16 (floats as f32) unless `format` is given. Files that
    only a server can decode are sent as they are, and so are others with `as_is` or a ContainerFormat.

    Files are read in blocks while they are sent, at least `chunk_bytes` at a time. Raises FileNotFoundError or another
    OSError, SourceError (not a sound file), ValueError or TypeError (wrong or missing arguments).
    """
    if as_is and format is None:
        format = ContainerFormat(AUTO)
    if isinstance(format, ContainerFormat):
        return _container(source, format)
    if as_is:
        raise ValueError("as_is: expected no format of PCM with it")
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if format is None and (is_for_the_server(head_of(path)) or find_spec("soundfile") is None):
            return _container(path, ContainerFormat(AUTO))
        try:
            return _sound_file(path, format, chunk_bytes)
        except SourceError:
            if format is None and may_be_for_the_server(path):
                return _container(path, ContainerFormat(AUTO))
            raise
    if isinstance(source, tuple):
        samples, sample_rate = source
        return _array(samples, sample_rate, format, chunk_bytes)
    if isinstance(source, Microphone):
        if format not in (None, source.format):
            raise ValueError("format: expected none, as a microphone has its own")
        return AudioSource(source.format, None, iter(source))
    if isinstance(source, bytes | bytearray | memoryview):
        format = _raw_format(format)
        whole = memoryview(source).cast("B")
        return AudioSource(format, len(whole) / (format.frame_bytes * format.sample_rate), iter([whole]))
    if hasattr(source, "read"):
        if format is None:
            return _file(source, chunk_bytes)
        return AudioSource(_raw_format(format), None, _raw_file(source))
    if isinstance(source, AsyncIterable):
        return AudioSource(_raw_format(format), None, aiter(source))
    if isinstance(source, Iterable):
        return AudioSource(_raw_format(format), None, iter(source))
    kind = type(source).__name__
    raise TypeError(f"source: expected a path, (samples, rate), bytes or an iterable of bytes, got {kind}")


def _file(file: Any, chunk_bytes: int) -> AudioSource:
    """An open file, which soundfile reads, or else a server."""
    is_pipe = not file.seekable()
    head = b""
    while len(head) < HEAD_BYTES and (more := file.read(HEAD_BYTES - len(head))):
        head += more
    if is_pipe:
        file = PrefixedFile(head, file)
    else:
        file.seek(-len(head), os.SEEK_CUR)
    if is_for_the_server(head) or find_spec("soundfile") is None:
        return _container(file, ContainerFormat(AUTO))
    return _sound_file(file, None, chunk_bytes)


def _open_sound_file(file: Any) -> SoundFile:
    """Raises SoundFileError, and OSError. Raises SourceError when a library for it is missing."""
    try:
        from voxgate.audio.files import open_sound_file
    except ImportError as error:
        raise SourceError(
            f"reading sound files needs {error.name or 'soundfile'}: pip install 'voxgate-client[files]'"
        ) from None
    return open_sound_file(file)


def _container(source: Source, format: ContainerFormat) -> AudioSource:
    """A file, or the bytes of one, as it is."""
    try:
        check_container(format)
    except InvalidStart as error:
        raise ValueError(str(error)) from None
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        duration_s = None
        if os.path.isfile(path):  # nothing may be taken from a pipe
            with contextlib.suppress(SoundFileError, SourceError):
                duration_s = (sound := _open_sound_file(path)).duration_s
                sound.close()
        blocks = FileBlocks(path)
        return AudioSource(format, duration_s, blocks, blocks.n_bytes)
    if isinstance(source, bytes | bytearray | memoryview):
        whole = memoryview(source).cast("B")
        return AudioSource(format, None, iter([whole]), len(whole))
    if hasattr(source, "read"):
        return AudioSource(format, None, _raw_file(source))
    if isinstance(source, tuple | Microphone):
        raise ValueError("format: a container is for files and their bytes; arrays and microphones are PCM")
    return AudioSource(format, None, aiter(source) if isinstance(source, AsyncIterable) else iter(source))


def _raw_format(format: AudioFormat | None) -> AudioFormat:
    if format is None:
        raise ValueError("raw PCM needs format=AudioFormat(channels, sample_rate, bit_depth, is_float)")
    try:
        check_format(format, MAX_CHANNELS, 1, MAX_RATE)
    except InvalidStart as error:
        raise ValueError(str(error)) from None
    return format


def _linear_format(format: AudioFormat | None, channels: int, sample_rate: int, is_float: bool) -> AudioFormat:
    """The format to send samples in. `format` may choose between s16 and f32 and must otherwise match the source."""
    own = AudioFormat(channels, sample_rate, 32 if is_float else 16, is_float)
    if format is None:
        return own
    if (format.channels, format.sample_rate) != (channels, sample_rate):
        raise ValueError(
            f"format says {format.channels} channels at {format.sample_rate} Hz, "
            f"the source has {channels} at {sample_rate} Hz"
        )
    if _raw_format(format).pcm_encoding not in ("s16", "f32"):
        raise ValueError(f"files and arrays are sent as s16 or f32, not {format.pcm_encoding}: give raw bytes instead")
    return format


def _encode(samples: npt.NDArray[Any], encoding: str) -> bytes:
    """Samples (frames, channels), int16 or float, as wire bytes in s16 or f32."""
    import numpy as np

    if encoding == "f32":
        if samples.dtype == np.int16:
            return (samples.astype("<f4") / np.float32(32_768)).tobytes()
        return samples.astype("<f4").tobytes()
    if samples.dtype == np.int16:
        return samples.astype("<i2").tobytes()
    scaled = np.where(np.isfinite(samples), samples, 0).astype(np.float64) * 32_768  # as the server: see protocol.md
    return np.clip(np.rint(scaled), -32_768, 32_767).astype("<i2").tobytes()


class _Loudness:
    """Warns once about floats beyond full scale, which the server clips."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._has_warned = False

    def take(self, samples: npt.NDArray[Any]) -> None:
        if self._has_warned or not samples.size:
            return
        import numpy as np

        # Not the maximum of abs(samples), which would be a copy; fmax and fmin ignore NaN.
        peak = max(float(np.fmax.reduce(samples, axis=None)), -float(np.fmin.reduce(samples, axis=None)))
        if peak > 1:
            self._has_warned = True
            hint = "; they look like integers, divide them by 32768" if 1024 < peak <= 32_768 else ""
            logger.warning(
                "%s: floats reach %g, beyond full scale (-1..1), and the server clips them%s", self._name, peak, hint
            )


def _block_frames(format: AudioFormat, chunk_bytes: int) -> int:
    return -(-min(max(_BLOCK_BYTES, chunk_bytes), _MAX_BLOCK_BYTES) // format.frame_bytes)


def _recut(blocks: Generator[bytes, None, None], chunk_bytes: int) -> Generator[memoryview, None, None]:
    """The same bytes in blocks of whole multiples of `chunk_bytes`, so that every message but the last is full."""
    rest = b""
    try:
        for block in blocks:
            data = rest + block
            n_whole = len(data) - len(data) % chunk_bytes
            rest = data[n_whole:]
            if n_whole:
                yield memoryview(data)[:n_whole]
        if rest:
            yield memoryview(rest)
    finally:
        blocks.close()


def _sound_file(file: Any, format: AudioFormat | None, chunk_bytes: int) -> AudioSource:
    try:
        sound = _open_sound_file(file)
    except SoundFileError as error:
        raise SourceError(str(error)) from None
    # Compressed formats decode to floats, which are rounded and clipped here, so that none wraps around.
    read_as = "int16" if sound.is_integer else "float32"
    try:
        chosen = _linear_format(format, sound.channels, sound.sample_rate, sound.is_float)
    except ValueError:
        sound.close()
        raise
    n_frames = _block_frames(chosen, chunk_bytes)
    loudness = _Loudness(sound.name) if sound.is_float else None

    def blocks() -> Generator[bytes, None, None]:
        try:
            for samples in sound.blocks(n_frames, read_as):
                if loudness is not None:
                    loudness.take(samples)
                yield _encode(samples, chosen.pcm_encoding)
        except SoundFileError as error:
            raise SourceError(str(error)) from None

    return AudioSource(chosen, sound.duration_s, _recut(blocks(), chunk_bytes))


def _array(samples: npt.NDArray[Any], sample_rate: int, format: AudioFormat | None, chunk_bytes: int) -> AudioSource:
    import numpy as np

    samples = np.asarray(samples)
    if samples.dtype != np.int16 and not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"samples: expected float (-1..1) or int16, got {samples.dtype}")
    planes = samples[np.newaxis] if samples.ndim == 1 else samples
    if planes.ndim != 2 or planes.shape[0] > max(planes.shape[1], 8):
        raise ValueError(f"samples: expected shape (n,) or (channels, n), got {samples.shape}")
    chosen = _linear_format(format, planes.shape[0], int(sample_rate), samples.dtype != np.int16)
    n_frames = _block_frames(chosen, chunk_bytes)
    if samples.dtype != np.int16:
        _Loudness("samples").take(samples)

    def blocks() -> Generator[bytes, None, None]:
        for start in range(0, planes.shape[1], n_frames):
            yield _encode(planes[:, start : start + n_frames].T, chosen.pcm_encoding)

    return AudioSource(chosen, planes.shape[1] / chosen.sample_rate, _recut(blocks(), chunk_bytes))


def _raw_file(file: Any) -> Iterator[bytes]:
    # read1 returns what is available; read would wait for a full block, which a live pipe fills late.
    read = getattr(file, "read1", file.read)
    while block := read(_BLOCK_BYTES):
        yield block


async def off_loop(blocks: Iterator[bytes | memoryview]) -> AsyncIterator[bytes | memoryview]:
    """The blocks of an iterator that may block. A daemon thread reads each one when it is requested.

    Closing this generator does not wait for a thread that is blocked in a read.
    """
    loop = asyncio.get_running_loop()
    requests: queue.SimpleQueue[asyncio.Future[bytes | memoryview | None] | None] = queue.SimpleQueue()

    def settle(
        future: asyncio.Future[bytes | memoryview | None], block: bytes | memoryview | None, error: Exception | None
    ) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(block)

    def work() -> None:
        while (future := requests.get()) is not None:
            block: bytes | memoryview | None = None
            failure: Exception | None = None
            try:
                block = next(blocks, None)
            except Exception as error:
                failure = error
            try:
                loop.call_soon_threadsafe(settle, future, block, failure)
            except RuntimeError:
                break  # the loop is closed
        if isinstance(blocks, Generator):
            blocks.close()

    tasks.spawn_thread(work, "voxgate-client-source", daemon=True, subsystem="client")
    try:
        while True:
            future: asyncio.Future[bytes | memoryview | None] = loop.create_future()
            requests.put(future)
            block = await future
            if block is None:
                return
            yield block
    finally:
        requests.put(None)
